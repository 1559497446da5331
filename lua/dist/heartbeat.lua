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
local function args_is_utf8(text)
  local rest = text:gsub('[\194-\223][\128-\191]', '.'):gsub('[\225-\236\238\239][\128-\191][\128-\191]', '.')
  if not rest:find('[\128-\255]') then return true end
  rest = rest:gsub('\224[\160-\191][\128-\191]', '.'):gsub('\237[\128-\159][\128-\191]', '.')
  rest = rest:gsub('\240[\144-\191][\128-\191][\128-\191]', '.'):gsub('\244[\128-\143][\128-\191][\128-\191]', '.')
  return not rest:gsub('[\241-\243][\128-\191][\128-\191][\128-\191]', '.'):find('[\128-\255]')
end
local function args_are_utf8(one, two, three, four)
  return not (one .. two .. three .. four):find('[\128-\255]')
    or (args_is_utf8(one) and args_is_utf8(two) and args_is_utf8(three) and args_is_utf8(four))
end
local function args_stored(one, two, three, four, names)
  if args_are_utf8(one, two, three, four) then return end
  local texts, at = { one, two, three, four }, 0
  for name in names:gmatch('%S+') do
    at = at + 1
    if not args_is_utf8(texts[at]) then error('cloakroom: ' .. name .. ' is no UTF-8') end
  end
end
local function args_name(text, name)
  if #text > 256 then error('cloakroom: ' .. name .. ' is no text of up to 256 bytes') end
  return text
end
local function args_required(text, name)
  if text == '' then error('cloakroom: ' .. name .. ' is no text of 1 to 256 bytes') end
  return args_name(text, name)
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
if #KEYS ~= 3 or #ARGV ~= 6 then return redis.error_reply('ERR cloakroom heartbeat: 3 KEYS and 6 ARGV') end
local nodes_key, lease_key, kept_key = unpack(KEYS)
local now = clock_now(ARGV[1])
local lease, node = args_token(ARGV[2], 'lease_id'), args_required(ARGV[3], 'node')
args_stored(node, '', '', '', 'node')
local length, keep = args_integer(ARGV[4], 'lease_ms', 1), args_integer(ARGV[5], 'keep_ms', 1)
local want = args_word(ARGV[6], 'want', { register = 'register', renew = 'renew', release = 'release' })
local holder, deadline, held, foreign = lease_read(lease_key, now)
if foreign then return { 'corrupt', 'lease' } end
if index_foreign(nodes_key) then return { 'corrupt', 'nodes' } end
local over = typed_call('ZRANGEBYSCORE', kept_key, '-inf', now, 'LIMIT', '0', '100')
if over.err then return { 'corrupt', 'kept' } end
if want == 'register' then
  if held and holder ~= lease then return { 'leased', deadline } end
  if holder == lease and not held then return { 'lapsed' } end
elseif holder ~= lease or (want == 'renew' and not held) then
  return { 'lapsed' }
end
deadline = want == 'release' and math.min(deadline, now) or now + length
local ttl = math.max(deadline + keep - now, 1)
do local may, key = redis.acl_check_cmd, KEYS[1] if may and not (may('PEXPIRE', key) and may('PTTL', key) and may('SET', key) and may('ZADD', key) and may('ZREM', key)) then for _, command in ipairs({ 'PEXPIRE', 'PTTL', 'SET', 'ZADD', 'ZREM' }) do if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end end end end
if #over > 0 then
  redis.call('ZREM', nodes_key, unpack(over))
  redis.call('ZREM', kept_key, unpack(over))
end
redis.call('ZADD', nodes_key, deadline, node)
redis.call('ZADD', kept_key, deadline + keep, node)
index_keep(nodes_key, ttl, keep)
index_keep(kept_key, ttl, keep)
lease_store(lease_key, lease, deadline, length, ttl)
return { 'ok', deadline }
