local ARGS_NO_TOKEN = ('\0'):rep(8)
local function args_integer(text, name, least, most)
  local number = not text:find('%D') and tonumber(text)
  most = most or 35184372088831
  if not number or number < least or number > most then
    error('cloakroom: ' .. name .. ' is no integer from ' .. least .. ' to ' .. most)
  end
  return number
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
if #KEYS ~= 1 or #ARGV ~= 3 then return redis.error_reply('ERR cloakroom nodes: 1 KEYS and 3 ARGV') end
local nodes_key = KEYS[1]
local now = clock_now(ARGV[1])
local from = args_integer(ARGV[2], 'from_ms', 0)
local to = args_choice(ARGV[3], 'want', 'all', 'lapsed') and '+inf' or now
local page = typed_call('ZRANGEBYSCORE', nodes_key, from, to, 'WITHSCORES', 'LIMIT', 0, 1000)
if page.err then return { 'corrupt', 'nodes' } end
local reply = { 'ok', now }
for at = 1, #page, 2 do
  reply[#reply + 1] = page[at]
  reply[#reply + 1] = tonumber(page[at + 1])
end
return reply
