local ARGS_NO_TOKEN = ('\0'):rep(8)
local function args_integer(text, name, least, most)
  local number = not text:find('%D') and tonumber(text)
  most = most or 35184372088831
  if not number or number < least or number > most then
    error('cloakroom: ' .. name .. ' is no integer from ' .. least .. ' to ' .. most)
  end
  return number
end
local function args_optional_integer(text, name, least, most)
  if text == '' then return nil end
  return args_integer(text, name, least, most)
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
if #KEYS ~= 1 or #ARGV ~= 4 then return redis.error_reply('ERR cloakroom expired: 1 KEYS and 4 ARGV') end
local expiry_key = KEYS[1]
local now = clock_now(ARGV[1])
local before = math.min(args_optional_integer(ARGV[2], 'before_ms', 0) or now, now)
local skip, limit = args_integer(ARGV[3], 'skip', 0), args_integer(ARGV[4], 'limit', 1, 1000)
local page = typed_call('ZRANGEBYSCORE', expiry_key, '-inf', before, 'WITHSCORES', 'LIMIT', skip, limit)
if page.err then return { 'corrupt', 'expiry' } end
local reply = { 'ok' }
for at = 1, #page, 2 do
  if page[at] ~= '' then
    reply[#reply + 1] = page[at]
    reply[#reply + 1] = tonumber(page[at + 1])
  end
end
return reply
