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
local function wrong_goes_before(key, needed)
  local ttl = redis.call('PTTL', key)
  return ttl >= 0 and ttl + 1000 < needed
end
local function wrong_entry(key, id, wanted)
  local score = redis.call('ZSCORE', key, id)
  if not wanted then return score and 'stray' or nil end
  if not score then return 'missing' end
  return wanted ~= true and tonumber(score) ~= wanted and 'score' or nil
end
local function wrong_index(key, id, wanted, needed)
  return wrong_entry(key, id, wanted) or (wanted and wrong_goes_before(key, needed) and 'short') or nil
end
if #KEYS ~= 3 or #ARGV ~= 4 then return redis.error_reply('ERR cloakroom mend_node: 3 KEYS and 4 ARGV') end
local nodes_key, lease_key, kept_key = unpack(KEYS)
local now, mend = clock_now(ARGV[1]), args_choice(ARGV[2], 'want', 'mend', 'tell')
local node, keep = args_required(ARGV[3], 'node'), args_integer(ARGV[4], 'keep_ms', 1)
local _, deadline, _, foreign = lease_read(lease_key, now)
if foreign then return { 'corrupt', 'lease' } end
if index_foreign(nodes_key) then return { 'corrupt', 'nodes' } end
if index_foreign(kept_key) then return { 'corrupt', 'kept' } end
local left = deadline and redis.call('PTTL', lease_key) or 0
if deadline and left >= 0 and left < 1000 then return { 'ok' } end
local listed = tonumber(redis.call('ZSCORE', nodes_key, node) or nil)
local in_nodes = deadline and wrong_index(nodes_key, node, deadline, left) or nil
local in_kept = wrong_index(kept_key, node, (deadline or listed) and true or nil, left)
local wrong = { 'ok' }
if in_nodes then wrong[#wrong + 1] = 'nodes_' .. in_nodes end
if in_kept then wrong[#wrong + 1] = 'kept_' .. in_kept end
if not mend or #wrong == 1 then return wrong end
local forgotten = math.max((deadline or listed or now) + keep, now + left)
do local may, key = redis.acl_check_cmd, KEYS[1] if may and not (may('PEXPIRE', key) and may('PTTL', key) and may('ZADD', key) and may('ZREM', key)) then for _, command in ipairs({ 'PEXPIRE', 'PTTL', 'ZADD', 'ZREM' }) do if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end end end end
if in_nodes then
  redis.call('ZADD', nodes_key, deadline, node)
  index_keep(nodes_key, forgotten - now, keep)
end
if in_kept == 'stray' then
  redis.call('ZREM', kept_key, node)
elseif in_kept == 'missing' then
  redis.call('ZADD', kept_key, forgotten, node)
end
if in_kept and in_kept ~= 'stray' then index_keep(kept_key, forgotten - now, keep) end
return wrong
