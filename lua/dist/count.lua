local ARGS_NO_TOKEN = ('\0'):rep(8)
local function args_integer(text, name, least, most)
  local number = not text:find('%D') and tonumber(text)
  most = most or 35184372088831
  if not number or number < least or number > most then
    error('cloakroom: ' .. name .. ' is no integer from ' .. least .. ' to ' .. most)
  end
  return number
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
local member_count = (#KEYS - 2) / 1
if member_count % 1 ~= 0 or member_count < 0 or member_count > 100
  or #ARGV ~= 2 + member_count * 1 then
  return redis.error_reply('ERR cloakroom count: 2 KEYS and 2 ARGV, and 1 of each per suspect, at most 100')
end
local owner_key, expiry_key = unpack(KEYS, 1, 2)
local now = clock_now(ARGV[1])
local start, span = args_integer(ARGV[2], 'start', 0), 1000
local ids = typed_call('ZRANGE', owner_key, start, start + span - 1)
if ids.err then return { 'corrupt', 'owner' } end
if #ids == 0 and #KEYS == 2 then return { 'ok', 0, 0 } end
local expiries = #ids > 0 and typed_call('ZMSCORE', expiry_key, unpack(ids)) or {}
if expiries.err then return { 'corrupt', 'expiry' } end
local reply, live = { 'ok', 0, #ids == span and start + span or 0 }, 0
for at, expires_at in ipairs(expiries) do
  if expires_at and tonumber(expires_at) > now then live = live + 1 end
  if not expires_at and #reply < 103 then reply[#reply + 1] = ids[at] end
end
reply[2] = live
for at = 3, #KEYS do
  if redis.call('EXISTS', KEYS[at]) == 0 then redis.call('ZREM', owner_key, ARGV[at]) end
end
return reply
