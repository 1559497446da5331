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
local function lease_read(key, now)
  local raw = typed_call('GET', key)
  if not raw then return nil, nil, false, false end
  if type(raw) == 'table' or #raw ~= 24 then return nil, nil, false, true end
  local id, deadline, length = struct.unpack('>c8I8I8', raw)
  return id, deadline, deadline > now and deadline - now <= length, false
end
local member_count = (#KEYS - 1) / 1
if member_count % 1 ~= 0 or member_count < 0 or member_count > 500
  or #ARGV ~= 1 + member_count * 1 then
  return redis.error_reply('ERR cloakroom nodes: 1 KEYS and 1 ARGV, and 1 of each per listed, at most 500')
end
local nodes_key = KEYS[1]
local now = clock_now(ARGV[1])
if #KEYS == 1 then return { 'ok' } end
local ends = typed_call('ZMSCORE', nodes_key, unpack(ARGV, 2))
if ends.err then return { 'corrupt', 'nodes' } end
local reply = { 'ok' }
for at, ended in ipairs(ends) do
  local lease_key, node = KEYS[at + 1], ARGV[at + 1]
  local _, deadline, held, foreign = lease_read(lease_key, now)
  if foreign then return { 'corrupt', 'listed_lease', node } end
  deadline = deadline or ended and tonumber(ended)
  if deadline then
    reply[#reply + 1] = node
    reply[#reply + 1] = deadline
    reply[#reply + 1] = held and 'held' or 'lapsed'
  end
end
return reply
