local ARGS_NO_TOKEN = ('\0'):rep(8)
local function args_integer(text, name, least, most)
  local number = not text:find('%D') and tonumber(text)
  most = most or 35184372088831
  if not number or number < least or number > most then
    error('cloakroom: ' .. name .. ' is no integer from ' .. least .. ' to ' .. most)
  end
  return number
end
local function args_word(text, name, words)
  local meaning = words[text]
  if meaning == nil then error('cloakroom: ' .. name .. ' is no word of the contract') end
  return meaning
end
local function args_choice(text, name, yes, no)
  if text ~= yes and text ~= no then error('cloakroom: ' .. name .. ' is no word of the contract') end
  return text == yes
end
local function clock_now(override)
  if override ~= '' then return args_integer(override, 'now_ms', 0) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local function typed_call(...)
  local result = redis.pcall(...)
  if type(result) ~= 'table' or not result.err or result.err:find('WRONGTYPE', 1, true) then return result end
  local message = result.err .. ' (' .. (...) .. ')'
  error(redis.acl_check_cmd and { err = message } or message)
end
if #KEYS ~= 2 or #ARGV ~= 7 then return redis.error_reply('ERR cloakroom mend_key: 2 KEYS and 7 ARGV') end
local target_key, aside_key = unpack(KEYS)
local now, mend = clock_now(ARGV[1]), args_choice(ARGV[2], 'want', 'mend', 'tell')
local name = ARGV[3]
if name == '' then error('cloakroom: name is no text of at least 1 byte') end
local kind_wanted = args_word(ARGV[4], 'type', { string = 'string', zset = 'zset', stream = 'stream', any = 'any' })
local gone_at, found = args_integer(ARGV[5], 'until_ms', 0), ARGV[6]
local aside = args_integer(ARGV[7], 'aside_ms', 1)
local kind = redis.call('TYPE', target_key).ok
if kind == 'none' then return { 'ok' } end
local is_broken = kind_wanted ~= 'any' and kind ~= kind_wanted
if not is_broken and found ~= '' then is_broken = redis.sha1hex(typed_call('GET', target_key)) == found end
if not is_broken and redis.call('PTTL', target_key) ~= -1 then return { 'ok' } end
if not mend then return { 'ok', is_broken and 'value' or 'ttl' } end
do local may, key = redis.acl_check_cmd, KEYS[1] if may and not (may('PEXPIRE', key) and may('RENAME', key)) then for _, command in ipairs({ 'PEXPIRE', 'RENAME' }) do if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end end end end
if not is_broken then
  redis.call('PEXPIRE', target_key, math.max(gone_at - now, 1))
  return { 'ok', 'ttl' }
end
redis.call('RENAME', target_key, aside_key)
redis.call('PEXPIRE', aside_key, aside)
return { 'ok', 'value' }
