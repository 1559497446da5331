local function event_teller(first, own)
  if not first then return end
  local keep, partition, expiry = ARGV[#ARGV], KEYS[first], KEYS[first + 1]
  if not keep:find('^[1-9]%d*$') or #keep > 9 then error('cloakroom: events is no integer from 1 to 999999999') end
  local lives, is_due = { [expiry] = 'no stream' }, false
  for at = first, #KEYS do
    local stream = KEYS[at]
    if not lives[stream] then
      local kind = redis.call('TYPE', stream).ok
      if kind == 'stream' then
        lives[stream] = redis.call('PTTL', stream)
      elseif kind == 'none' then
        lives[stream] = -2
      elseif at <= first + 1 + (own or #KEYS) then
        return nil, { 'corrupt', ({ 'events', 'expiry', 'node_events', 'new_node_events' })[at - first + 1] }
      else
        lives[stream] = 'foreign'
      end
      is_due = is_due or kind == 'none' or kind == 'stream' and lives[stream] < 604800000
    end
  end
  local may, lacks = redis.acl_check_cmd, nil
  if may then
    lacks = not (may('XADD', partition) and may('SET', partition))
      or is_due and not (may('PEXPIRE', partition) and may('ZADD', partition))
  else
    local tried = redis.pcall('XADD', partition, 'x', '', '').err
    if not tried:find('OOM ', 1, true) then
      tried = tried .. redis.pcall('SET', partition, '', 'x').err
      if is_due then tried = tried .. redis.pcall('PEXPIRE', partition, 'x').err .. redis.pcall('ZADD', expiry, 'x', '').err end
      lacks = tried:find('executing the script', 1, true) or tried:find('ACL failure', 1, true) or tried:find('NOPERM', 1, true)
    end
  end
  if lacks then
    local told = 'NOPERM cloakroom: the user may not run XADD, SET, PEXPIRE or ZADD'
    error(may and { err = told } or '-' .. told)
  end
  return function(at, other, what, why, id, user, connection, node, version, new_id)
    local here, before = at and KEYS[at] or partition, other and KEYS[other] or partition
    local stream = partition
    repeat
      local left = lives[stream]
      if left == -2 then
        redis.call('XADD', stream, '*', 'what', 'begun', 'why', '', 'id', '', 'user', '', 'connection', '', 'node', '',
          'version', '0')
      end
      if left ~= 'foreign' and new_id then
        redis.call('XADD', stream, 'MAXLEN', '~', keep, '*', 'what', what, 'why', why, 'id', id, 'user', user,
          'connection', connection, 'node', node, 'version', version, 'new_id', new_id)
      elseif left ~= 'foreign' then
        redis.call('XADD', stream, 'MAXLEN', '~', keep, '*', 'what', what, 'why', why, 'id', id, 'user', user,
          'connection', connection, 'node', node, 'version', version)
      end
      if left ~= 'foreign' and left < 604800000 then
        redis.call('PEXPIRE', stream, 1209600000)
        lives[stream] = 1209600000
        local ends_at = stream == partition and (tonumber(ARGV[1]) or redis.call('TIME')[1] * 1000) + 1209600000
        if ends_at and redis.pcall('ZADD', expiry, 'GT', 'CH', ends_at, '') == 1 then
          redis.call('PEXPIRE', expiry, 1209600000)
        end
      end
      if stream == partition and here ~= partition then
        stream = here
      elseif stream ~= before and before ~= partition then
        stream = before
      else
        stream = nil
      end
    until not stream
  end, nil, lives
end
local ARGS_NO_TOKEN = ('\0'):rep(8)
local function args_integer(text, name, least, most)
  local number = not text:find('%D') and tonumber(text)
  most = most or 35184372088831
  if not number or number < least or number > most then
    error('cloakroom: ' .. name .. ' is no integer from ' .. least .. ' to ' .. most)
  end
  return number
end
local function args_token(text, name)
  if #text ~= 8 or text == ARGS_NO_TOKEN then error('cloakroom: ' .. name .. ' is no 8 bytes, or zeros') end
  return text
end
local function args_id(text, name)
  if #text < 1 or #text > 128 then error('cloakroom: ' .. (name or 'id') .. ' is no text of 1 to 128 bytes') end
  return text
end
local function args_name(text, name)
  if #text > 256 then error('cloakroom: ' .. name .. ' is no text of up to 256 bytes') end
  return text
end
local function args_names(user, connection, node, prefix)
  if #user > 256 or #connection > 256 or #node > 256 then
    prefix = prefix or ''
    args_name(user, prefix .. 'user')
    args_name(connection, prefix .. 'connection')
    args_name(node, prefix .. 'node')
  end
  return user, connection, node
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
local function freeze_split(record)
  if #record.body < 32 then return false end
  local task, frozen_until, span, copies_until, status, direction,
    place_size, node_size = struct.unpack('>c8I6I6I6BBI2I2', record.body)
  local place_end = 32 + place_size
  local node_end = place_end + node_size
  if node_end > #record.body or status < 1 or status > 2 then return false end
  if direction < 1 or direction > 3 then return false end
  record.copies_until = copies_until
  if direction == 3 then
    record.status, record.speaks_until = status, frozen_until
  else
    record.freeze = {
      task = task, frozen_until = frozen_until, span = span, status = status, direction = direction,
      place = record.body:sub(32 + 1, place_end), node = record.body:sub(place_end + 1, node_end),
    }
  end
  record.body = record.body:sub(node_end + 1)
  return true
end
local function freeze_join(record, speaks_until)
  local freeze = record.freeze or { task = ARGS_NO_TOKEN, frozen_until = speaks_until, span = 0, status = record.status,
    direction = 3, place = '', node = '' }
  return struct.pack('>c8I6I6I6BBI2I2', freeze.task, freeze.frozen_until, freeze.span, record.copies_until, freeze.status,
    freeze.direction, #freeze.place, #freeze.node) .. freeze.place .. freeze.node .. record.body
end
local function freeze_end(record)
  record.status, record.freeze = record.freeze.status, nil
end
local function freeze_return(record)
  freeze_end(record)
  record.copies_until = math.max(record.copies_until, record.stored_until)
end
local function freeze_lapsed(freeze, now)
  return freeze.direction == 1 and (freeze.frozen_until <= now or freeze.frozen_until - now > freeze.span)
end
local function record_current(raw)
  local format, kind, status = raw:byte(1, 3)
  local is_ours = #raw >= 102 and format == 2 and kind >= 1
    and kind <= 4 and status >= 1 and status <= 3
  return is_ours and raw or nil
end
local function record_outlives(kind, expires_at, stored_until)
  return kind ~= 1 or stored_until >= expires_at
end
local function record_fields(stored)
  local raw = record_current(stored)
  if not raw then return nil end
  local format, kind, status, user_size, connection_size, node_size, compacted, body_size, listed, op_ids, changed_at, gap,
    second_gap, third_gap, version, created_at, ttl, deadline, last_active, expires_at, stored_until = struct.unpack('>BBBI2I2I2I3I3I2c32I6I2I2I2I6I6I5I6I6I6I6', raw)
  local user_end = 102 + user_size
  local connection_end = user_end + connection_size
  local node_end = connection_end + node_size
  if node_end > #raw or not record_outlives(kind, expires_at, stored_until) then return nil end
  local record = {
    kind = kind, status = status, compacted = compacted, listed = listed, op_ids = op_ids, changed_at = changed_at,
    gap = gap, second_gap = second_gap, third_gap = third_gap, version = version, created_at = created_at, ttl = ttl, deadline = deadline,
    last_active = last_active, expires_at = expires_at, stored_until = stored_until,
    user = raw:sub(102 + 1, user_end), connection = raw:sub(user_end + 1, connection_end),
    node = raw:sub(connection_end + 1, node_end), body = raw:sub(node_end + 1), size = node_end + body_size,
    copies_until = 0, speaks_until = stored_until, raw = raw, is_stale = raw ~= stored,
  }
  if status == 3 and not freeze_split(record) then return nil end
  return record
end
local function record_decode_head(raw)
  local record = record_fields(raw)
  if not record or (record.kind ~= 1 and record.size ~= #record.raw) then return nil end
  record.partial = record.size ~= #record.raw
  return record
end
local function record_encode(record)
  local status, body = record.status, record.body
  if record.freeze or record.copies_until > 0 then
    status = 3
    body = freeze_join(record, record.kind == 1 and 0 or record.speaks_until)
  end
  return struct.pack('>BBBI2I2I2I3I3I2c32I6I2I2I2I6I6I5I6I6I6I6', 2, record.kind, status, #record.user, #record.connection,
    #record.node, record.compacted, #body, math.min(record.listed, 65535), record.op_ids, record.changed_at,
    record.gap, record.second_gap, record.third_gap, record.version, record.created_at, record.ttl, record.deadline,
    record.last_active, record.expires_at, record.stored_until)
    .. record.user .. record.connection .. record.node .. body
end
local function record_unless_over(record, now)
  if not record then return nil, 0 end
  local lapsed = record.freeze and record.kind == 1 and freeze_lapsed(record.freeze, now)
  local forgotten = record.copies_until > 0 and record.copies_until <= now
  if forgotten then record.copies_until = 0 end
  if record.kind ~= 1 and record.speaks_until <= now then return nil, record.copies_until end
  if lapsed then
    record.lapsed = record.freeze
    freeze_return(record)
  end
  if lapsed or forgotten then record.is_stale, record.raw = true, record_encode(record) end
  return record, record.copies_until
end
local function record_find_head(key)
  local raw = typed_call('GETRANGE', key, '0', '1413')
  if type(raw) == 'table' then return nil, true end
  if raw == '' then return nil, redis.call('EXISTS', key) == 1 end
  local record = record_decode_head(raw)
  return record, record == nil
end
local function record_read_head(key, now)
  local record, corrupt = record_find_head(key)
  return record_unless_over(record, now), corrupt
end
local function record_refusal(record, corrupt, now)
  if corrupt then return { 'corrupt', 'record' } end
  if record and record.kind == 3 and record.body ~= '' then return { 'rotated' } end
  if not record or record.kind == 3 then return { 'missing' } end
  if record.kind == 2 then return { 'moved', record.body } end
  if record.kind == 4 then return { 'departed', record.body:sub(8 + 1) } end
  if record.expires_at <= now then return { 'missing' } end
  return nil
end
local function record_store(key, record, now)
  redis.call('SET', key, record_encode(record), 'PX', record.stored_until - now)
end
local function record_strip(record, kind, body)
  record.compacted, record.listed = 0, 0
  record.kind, record.body, record.user, record.connection, record.node = kind, body, '', '', ''
end
local function index_pointer(key)
  local id = typed_call('GET', key)
  if type(id) == 'table' then return nil, true end
  return id or nil, false
end
local function session_unindex_undo(key, id, score, ttl)
  redis.call('ZADD', key, score, id)
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, ttl) end
end
local function session_unindex(keys, id, record, now)
  local ttl = math.max(record.stored_until - now, 1)
  local expiry = typed_call('ZREM', keys.expiry, id)
  if type(expiry) == 'table' then return { 'corrupt', 'expiry' } end
  local user = record.user ~= '' and typed_call('ZREM', keys.user, id)
  if type(user) == 'table' then
    if expiry == 1 then session_unindex_undo(keys.expiry, id, record.expires_at, ttl) end
    return { 'corrupt', 'user' }
  end
  local node = record.node ~= '' and typed_call('ZREM', keys.node, id)
  if type(node) == 'table' then
    if expiry == 1 then session_unindex_undo(keys.expiry, id, record.expires_at, ttl) end
    if user == 1 then session_unindex_undo(keys.user, id, record.created_at, ttl) end
    return { 'corrupt', 'node' }
  end
  return nil
end
local function session_read_head(record_key, connection_key, connection, now)
  local record, corrupt = record_read_head(record_key, now)
  if corrupt then return nil, nil, 'record' end
  if connection == '' then return record, nil, nil end
  local pointer, foreign = index_pointer(connection_key)
  return record, pointer, foreign and 'connection' or nil
end
local function session_delete(keys, id, record, now, ...)
  if type(redis.pcall('DEL', ...)) == 'number' then return end
  local ttl = math.max(record.stored_until - now, 1)
  session_unindex_undo(keys.expiry, id, record.expires_at, ttl)
  if record.user ~= '' then session_unindex_undo(keys.user, id, record.created_at, ttl) end
  if record.node ~= '' then session_unindex_undo(keys.node, id, record.created_at, ttl) end
  redis.call('DEL', ...)
end
local function session_try(record_key)
  if redis.acl_check_cmd then return end
  local tried = redis.pcall('SET', record_key, '', 'NX')
  if tried and tried.err and not tried.err:find('-OOM', 1, true) then redis.call('SET', record_key, '', 'NX') end
end
local function session_tell(tell, stream, what, why, id, record, version, new_id)
  if tell then tell(stream, nil, what, why, id, record.user, record.connection, record.node, version, new_id) end
end
local function session_remove(record_key, keys, id, record, pointer, now)
  session_try(record_key)
  local refusal = session_unindex(keys, id, record, now)
  if not refusal and record.connection ~= '' and pointer == id then
    session_delete(keys, id, record, now, keys.connection)
  end
  return refusal
end
local function session_need(record, user, connection, node)
  if record.user == user and record.connection == connection and record.node == node then return nil end
  return { 'need', 'routing', record.user, record.connection, record.node }
end
local function migration_is(record, direction, task)
  local freeze = record and record.freeze
  return freeze and freeze.direction == direction and freeze.task == task or false
end
local function migration_departed(record)
  if not record or record.kind ~= 4 then return nil end
  return record.body:sub(1, 8)
end
local function migration_depart(record_key, record, now)
  local freeze = record.freeze
  freeze_end(record)
  record_strip(record, 4, freeze.task .. freeze.place)
  record.speaks_until = record.stored_until
  record_store(record_key, record, now)
end
local events = #ARGV == 8
if #ARGV ~= 7 and not events or #KEYS ~= (events and 8 or 5) then
  return redis.error_reply('ERR cloakroom depart: 5 KEYS and 7 ARGV')
end
local tell, untold = event_teller(events and 6)
if untold then return untold end
local record_key, expiry_key, user_key, connection_key, node_key = unpack(KEYS)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local now = clock_now(ARGV[1])
local task, frozen_until, id = args_token(ARGV[2], 'task'), args_integer(ARGV[3], 'until_ms', 0), args_id(ARGV[4])
local user, connection, node = args_names(ARGV[5], ARGV[6], ARGV[7])
local record, pointer, foreign = session_read_head(record_key, connection_key, connection, now)
if migration_departed(record) == task then return { 'ok', record.version } end
local refusal = record_refusal(record, foreign == 'record', now)
if refusal then return refusal end
if not migration_is(record, 1, task) or record.freeze.frozen_until ~= frozen_until then
  return { 'conflict', record.version }
end
refusal = session_need(record, user, connection, node)
if refusal then return refusal end
if foreign then return { 'corrupt', foreign } end
do local may, key = redis.acl_check_cmd, KEYS[1] if may and not (may('DEL', key) and may('SET', key) and may('ZREM', key)) then for _, command in ipairs({ 'DEL', 'SET', 'ZREM' }) do if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end end end end
refusal = session_remove(record_key, keys, id, record, pointer, now)
if refusal then return refusal end
session_tell(tell, 8, 'departed', '', id, record, record.version)
migration_depart(record_key, record, now)
return { 'ok', record.version }
