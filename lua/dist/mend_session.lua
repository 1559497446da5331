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
local function args_choice(text, name, yes, no)
  if text ~= yes and text ~= no then error('cloakroom: ' .. name .. ' is no word of the contract') end
  return text == yes
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
local function record_decode(raw)
  local record = record_fields(raw)
  if not record or record.size ~= #record.raw then return nil end
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
local function record_read(key, now)
  local raw = typed_call('GET', key)
  if not raw then return nil, false, 0 end
  if type(raw) == 'table' then return nil, true, 0 end
  local record = record_decode(raw)
  local found, copies_until = record_unless_over(record, now)
  return found, record == nil, copies_until
end
local function record_find_head(key)
  local raw = typed_call('GETRANGE', key, '0', '1413')
  if type(raw) == 'table' then return nil, true end
  if raw == '' then return nil, redis.call('EXISTS', key) == 1 end
  local record = record_decode_head(raw)
  return record, record == nil
end
local function record_change(record, op_id, now)
  if op_id == '' then op_id = ('\0'):rep(8) end
  record.op_ids = op_id .. record.op_ids:sub(1, (4 - 1) * 8)
  record.version = record.version + 1
  local changed_at = math.max(record.changed_at, now)
  local gap = record.version > 1 and math.min(changed_at - record.changed_at, 65534) or 65535
  record.changed_at, record.gap, record.second_gap, record.third_gap = changed_at, gap, record.gap, record.second_gap
end
local function record_store(key, record, now)
  redis.call('SET', key, record_encode(record), 'PX', record.stored_until - now)
end
local function index_foreign(key)
  local kind = redis.call('TYPE', key).ok
  return kind ~= 'zset' and kind ~= 'none'
end
local function index_keep(key, ttl, grace, fresh)
  if fresh or redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl + grace) end
end
local function index_expiry(key, id, record, grace, now, is_kept_longer)
  local entered = typed_call('ZADD', key, record.expires_at, id)
  if type(entered) == 'table' then return entered end
  if entered == 0 and not is_kept_longer then return nil end
  local deadline = (math.floor(record.stored_until / grace) + 1) * grace
  if redis.call('ZADD', key, 'GT', 'CH', deadline, '') == 0 then return nil end
  if type(redis.pcall('PEXPIRE', key, deadline - now)) == 'number' then return nil end
  redis.call('ZREM', key, '')
  redis.call('PEXPIRE', key, deadline - now)
end
local function index_pointer(key)
  local id = typed_call('GET', key)
  if type(id) == 'table' then return nil, true end
  return id or nil, false
end
local function session_tell(tell, stream, what, why, id, record, version, new_id)
  if tell then tell(stream, nil, what, why, id, record.user, record.connection, record.node, version, new_id) end
end
local function session_need(record, user, connection, node)
  if record.user == user and record.connection == connection and record.node == node then return nil end
  return { 'need', 'routing', record.user, record.connection, record.node }
end
local function session_detach(record_key, node_key, id, record, op_id, now, tell, stream, what)
  if record.node ~= '' then redis.call('ZREM', node_key, id) end
  session_tell(tell, stream, what, '', id, record, record.version + 1)
  record.connection, record.node, record.status = '', '', 2
  record_change(record, op_id, now)
  record_store(record_key, record, now)
end
local function migration_departed(record)
  if not record or record.kind ~= 4 then return nil end
  return record.body:sub(1, 8)
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
local events = #ARGV == 9
if #ARGV ~= 8 and not events or #KEYS ~= (events and 10 or 7) then
  return redis.error_reply('ERR cloakroom mend_session: 7 KEYS and 8 ARGV')
end
local tell, untold = event_teller(events and 8)
if untold then return untold end
local record_key, expiry_key, user_key, connection_key, node_key, migrations_key, holder_key = unpack(KEYS)
local now, mend = clock_now(ARGV[1]), args_choice(ARGV[2], 'want', 'mend', 'tell')
local id = args_id(ARGV[3])
local user, connection, node = args_names(ARGV[4], ARGV[5], ARGV[6])
local holder_id, grace = ARGV[7], args_integer(ARGV[8], 'grace_ms', 1)
local record, corrupt = record_find_head(record_key)
if corrupt then return { 'corrupt', 'record' } end
local live = record and record.kind == 1 and record or nil
local departed = migration_departed(record)
local is_under_way = record and record.freeze or departed and departed ~= ARGS_NO_TOKEN
local pointer, foreign
if connection ~= '' then pointer, foreign = index_pointer(connection_key) end
if foreign then return { 'corrupt', 'connection' } end
if index_foreign(expiry_key) then return { 'corrupt', 'expiry' } end
if user ~= '' and index_foreign(user_key) then return { 'corrupt', 'user' } end
if node ~= '' and index_foreign(node_key) then return { 'corrupt', 'node' } end
if is_under_way and index_foreign(migrations_key) then return { 'corrupt', 'migrations' } end
local wrong = { 'ok' }
local function note(name, what)
  if not what then return end
  wrong[#wrong + 1] = name .. '_' .. what
  wrong[name] = what
end
local rest = record and math.max(record.stored_until - now, 1) or 0
local kept = record and redis.call('PTTL', record_key) or -1
if kept >= 0 and kept + 60000 < rest then
  note('record', 'short')
  kept = rest
end
local needed = math.min(rest, kept)
note('expiry', wrong_index(expiry_key, id, live and live.expires_at, needed))
if live and not wrong.expiry then
  local own_note = redis.call('ZSCORE', expiry_key, '')
  if not own_note or tonumber(own_note) < live.expires_at then note('expiry', 'note') end
end
if user ~= '' then
  note('user', wrong_index(user_key, id, live and live.user == user and live.created_at or nil, needed))
end
if node ~= '' then
  note('node', wrong_index(node_key, id, live and live.node == node and live.created_at or nil, needed))
end
if is_under_way then
  note('migrations', wrong_index(migrations_key, id, record.freeze and record.freeze.frozen_until or true, needed))
end
if connection ~= '' and not (live and live.connection == connection) then
  if pointer == id then note('connection', 'stray') end
elseif connection ~= '' and pointer == id then
  if wrong_goes_before(connection_key, needed) then note('connection', 'short') end
elseif connection ~= '' and not pointer then
  note('connection', 'missing')
elseif connection ~= '' then
  if pointer ~= holder_id then return { 'need', 'holder', pointer } end
  local holder, unread = record_find_head(holder_key)
  if unread then return { 'corrupt', 'holder_record' } end
  local has_it = holder and holder.kind == 1 and holder.connection == connection
  local keeps_it = has_it and (holder.expires_at > now or live.expires_at <= now)
  note('connection', keeps_it and 'held' or 'elsewhere')
end
if not mend or #wrong == 1 then return wrong end
local detached
if wrong.connection == 'held' then
  detached = record_read(record_key, now)
  if not detached then return { 'corrupt', 'record' } end
  if detached.status == 3 then return { 'frozen' } end
  local refusal = session_need(detached, detached.user, connection, node)
  if refusal then return refusal end
  detached.stored_until = now + rest
end
do local may, key = redis.acl_check_cmd, KEYS[1] if may and not (may('DEL', key) and may('PEXPIRE', key) and may('PTTL', key) and may('SET', key) and may('ZADD', key) and may('ZREM', key) and may('ZSCORE', key)) then for _, command in ipairs({ 'DEL', 'PEXPIRE', 'PTTL', 'SET', 'ZADD', 'ZREM', 'ZSCORE' }) do if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end end end end
if wrong.record then redis.call('PEXPIRE', record_key, rest) end
if wrong.expiry == 'stray' then
  redis.call('ZREM', expiry_key, id)
  if tell and not record then tell(nil, nil, 'ended', 'lost', id, '', '', '', '0') end
elseif wrong.expiry then
  index_expiry(expiry_key, id, live, grace, now, true)
  local deadline = tonumber(redis.call('ZSCORE', expiry_key, ''))
  if wrong_goes_before(expiry_key, deadline - now) then redis.call('PEXPIRE', expiry_key, deadline - now) end
end
for name, key in pairs({ user = user_key, node = node_key }) do
  if wrong[name] == 'stray' then
    redis.call('ZREM', key, id)
  elseif wrong[name] then
    redis.call('ZADD', key, live.created_at, id)
    index_keep(key, rest, grace)
  end
end
if wrong.migrations then
  redis.call('ZADD', migrations_key, record.freeze and record.freeze.frozen_until or now, id)
  index_keep(migrations_key, rest, grace)
end
if wrong.connection == 'stray' then
  redis.call('DEL', connection_key)
elseif wrong.connection == 'short' then
  index_keep(connection_key, rest, grace)
elseif detached then
  session_detach(record_key, node_key, id, detached, '', now, tell, 10, 'taken_over')
elseif wrong.connection then
  redis.call('SET', connection_key, id, 'PX', rest)
end
return wrong
