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
local function args_token(text, name)
  if #text ~= 8 or text == ARGS_NO_TOKEN then error('cloakroom: ' .. name .. ' is no 8 bytes, or zeros') end
  return text
end
local function args_name(text)
  if #text > 256 then error('cloakroom: a user, connection or node is longer than 256 bytes') end
  return text
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
local function index_foreign(key)
  local kind = redis.call('TYPE', key).ok
  return kind ~= 'zset' and kind ~= 'none'
end
local function index_keep(key, ttl, grace, fresh)
  if fresh or redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl + grace) end
end
local function lease_read(key, now)
  local raw = typed_call('GET', key)
  if not raw then return nil, nil, false, false end
  if type(raw) == 'table' or #raw ~= 24 then return nil, nil, false, true end
  local id, deadline, length = struct.unpack('>c8I8I8', raw)
  return id, deadline, deadline > now and deadline - now <= length, false
end
local function lease_store(key, id, deadline, length, ttl)
  redis.call('SET', key, struct.pack('>c8I8I8', id, deadline, length), 'PX', ttl)
end
if #KEYS ~= 2 or #ARGV ~= 6 then return redis.error_reply('ERR cloakroom heartbeat: 2 KEYS and 6 ARGV') end
local nodes_key, lease_key = unpack(KEYS)
local now = clock_now(ARGV[1])
local lease, node = args_token(ARGV[2], 'lease_id'), args_name(ARGV[3])
local length, keep = args_integer(ARGV[4], 'lease_ms', 1), args_integer(ARGV[5], 'keep_ms', 1)
local want = args_word(ARGV[6], 'want', { register = 'register', renew = 'renew', release = 'release' })
local holder, deadline, held, foreign = lease_read(lease_key, now)
if foreign then return { 'corrupt', 'lease' } end
if index_foreign(nodes_key) then return { 'corrupt', 'nodes' } end
if want == 'register' then
  if held and holder ~= lease then return { 'taken', deadline } end
  if holder == lease and not held then return { 'missing' } end
elseif holder ~= lease or (want == 'renew' and not held) then
  return { 'missing' }
end
deadline = want == 'release' and math.min(deadline, now) or now + length
local ttl = math.max(deadline + keep - now, 1)
do local may, key = redis.acl_check_cmd, KEYS[1] if may and not (may('PEXPIRE', key) and may('PTTL', key) and may('SET', key) and may('ZADD', key) and may('ZREMRANGEBYSCORE', key)) then for _, command in ipairs({ 'PEXPIRE', 'PTTL', 'SET', 'ZADD', 'ZREMRANGEBYSCORE' }) do if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end end end end
redis.call('ZREMRANGEBYSCORE', nodes_key, '-inf', now - keep)
redis.call('ZADD', nodes_key, deadline, node)
index_keep(nodes_key, ttl, keep)
lease_store(lease_key, lease, deadline, length, ttl)
return { 'ok', deadline }
