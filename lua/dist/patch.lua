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
local events = #ARGV == 20
if #ARGV ~= 19 and not events or #KEYS ~= (events and 9 or 6) then
  return redis.error_reply('ERR cloakroom patch: 6 KEYS and 19 ARGV')
end
local tell, untold = event_teller(events and 7)
if untold then return untold end
local record_key, expiry_key, user_key, connection_key, node_key, as_lease_key = unpack(KEYS)
local now_ms, op_id, bound_ms, id, user, connection, node, version, status, ttl_ms, new_lifetime_ms, threshold, touch_ms,
  grace_ms, entries_bytes, entries_most, as_node, lease_id, changes = unpack(ARGV)
local most_bytes, most, bound, grace = tonumber(entries_bytes), tonumber(entries_most), tonumber(bound_ms),
  tonumber(grace_ms)
local share, touch = tonumber(threshold), tonumber(touch_ms)
if status .. ttl_ms .. new_lifetime_ms .. as_node .. lease_id == '' and #op_id == 8 and op_id ~= '\0\0\0\0\0\0\0\0'
  and not (now_ms .. bound_ms .. version .. threshold .. touch_ms .. grace_ms .. entries_bytes .. entries_most):find('%D')
  and share and share >= 1 and share <= 1000 and touch and touch <= 35184372088831
  and most_bytes and most_bytes <= 15728640 and most and most <= 35184372088831
  and grace and grace >= 1 and grace <= 35184372088831
  and (not bound or bound <= 35184372088831)
  and id ~= '' and #id <= 128 and #user <= 256 and #connection <= 256 and #node <= 256 then
  local now = tonumber(now_ms)
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
  end
  local unpack_fields, position, size, count = struct.unpack, 1, #changes, 0
  while position + 5 <= size + 1 do
    local kind, key_size, value_size = unpack_fields('>BBI3', changes, position)
    if kind < 1 or kind > 2 then break end
    position, count = position + 5 + key_size + value_size, count + 1
  end
  local raw = redis.pcall('GETRANGE', record_key, '0', '1413')
  if count > 0 and count <= most and position == size + 1 and type(raw) == 'string' and #raw >= 102 then
    local format, kind, state, user_size, connection_size, node_size, compacted, body_size, listed, op_ids, changed_at, gap,
      second_gap, third_gap, at_version, _, ttl, deadline, last_active, expires_at, stored_until = unpack_fields('>BBBI2I2I2I3I3I2c32I6I2I2I2I6I6I5I6I6I6I6', raw)
    local record_size = 102 + user_size + connection_size + node_size + body_size
    body_size, listed = body_size + size, listed + count
    local left, idle, used = expires_at - now, now - last_active, raw:sub(84 + 1, 102)
    local is_used, extended = idle >= touch or left <= touch, now + ttl
    if deadline > 0 and extended > deadline then extended = deadline end
    if is_used then used, last_active = struct.pack('>I6I6I6', now, expires_at, stored_until), now end
    if format == 2 and kind == 1 and state >= 1 and state < 3
      and expires_at > now and stored_until >= expires_at and (version == '' or tonumber(version) == at_version)
      and idle >= 0 and (not is_used or left * 1000 >= ttl * share or extended <= expires_at)
      and (third_gap == 65535 or bound and now - bound < 100) and not op_ids:find(op_id, 1, true)
      and (body_size < compacted + 512 or body_size * 2 < compacted * 3)
      and body_size <= most_bytes and listed <= most and listed < 65535
      and (record_size == #raw or record_size > 1414 and redis.call('STRLEN', record_key) == record_size) then
      local since = 0
      if now > changed_at then since, changed_at = now - changed_at, now end
      if since > 65534 then since = 65534 end
      at_version = at_version + 1
      local written = struct.pack('>I3I2c8c24I6I2I2I2I6', body_size, listed, op_id, op_ids, changed_at, since, gap, second_gap,
        at_version)
      written = written .. raw:sub(12 + #written + 1, 84) .. used
      if record_size == #raw then
        redis.call('SET', record_key,
          raw:sub(1, 12) .. written .. raw:sub(12 + #written + 1) .. changes, 'KEEPTTL')
      else
        redis.call('SETRANGE', record_key, record_size, changes)
        redis.call('SETRANGE', record_key, '12', written)
      end
      return { 'ok', at_version, last_active, expires_at }
    end
  end
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
local function args_optional_integer(text, name, least, most)
  if text == '' then return nil end
  return args_integer(text, name, least, most)
end
local function args_choice(text, name, yes, no)
  if text ~= yes and text ~= no then error('cloakroom: ' .. name .. ' is no word of the contract') end
  return text == yes
end
local function args_token(text, name)
  if #text ~= 8 or text == ARGS_NO_TOKEN then error('cloakroom: ' .. name .. ' is no 8 bytes, or zeros') end
  return text
end
local function args_optional_token(text, name)
  if text == '' then return '' end
  return args_token(text, name)
end
local function args_operation(op_id, bound)
  return args_optional_token(op_id, 'op_id'), args_optional_integer(bound, 'bound_ms', 0)
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
local function record_status(word)
  return args_choice(word, 'status', 'active', 'suspended') and 1 or 2
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
local function record_refusal(record, corrupt, now)
  if corrupt then return { 'corrupt', 'record' } end
  if record and record.kind == 3 and record.body ~= '' then return { 'rotated' } end
  if not record or record.kind == 3 then return { 'missing' } end
  if record.kind == 2 then return { 'moved', record.body } end
  if record.kind == 4 then return { 'departed', record.body:sub(8 + 1) } end
  if record.expires_at <= now then return { 'missing' } end
  return nil
end
local function record_version_of(record, op_id)
  if op_id == '' then return nil end
  for age = 0, 4 - 1 do
    local start = age * 8 + 1
    if record.op_ids:sub(start, start + 8 - 1) == op_id then return record.version - age end
  end
  return nil
end
local function record_unsure(record, op_id, bound, now)
  if op_id == '' or record.third_gap == 65535 then return nil end
  if bound then
    local oldest = record.changed_at - record.gap - record.second_gap - record.third_gap
    if oldest < bound or now - bound < 100 then return nil end
  end
  return { 'unsure', now }
end
local function record_for_change(key, op_id, bound, now)
  local record, corrupt = record_read(key, now)
  local first = record and record_version_of(record, op_id)
  if first then return nil, nil, first, record end
  local refusal = record and record_unsure(record, op_id, bound, now) or record_refusal(record, corrupt, now)
  if refusal then return nil, refusal end
  return record
end
local function record_moved_to(record)
  return record.kind == 2 and record.body or nil
end
local function record_change(record, op_id, now)
  if op_id == '' then op_id = ('\0'):rep(8) end
  record.op_ids = op_id .. record.op_ids:sub(1, (4 - 1) * 8)
  record.version = record.version + 1
  local changed_at = math.max(record.changed_at, now)
  local gap = record.version > 1 and math.min(changed_at - record.changed_at, 65534) or 65535
  record.changed_at, record.gap, record.second_gap, record.third_gap = changed_at, gap, record.gap, record.second_gap
end
local function record_extended(record, now)
  local expires_at = now + record.ttl
  if record.deadline > 0 and expires_at > record.deadline then expires_at = record.deadline end
  return expires_at
end
local function record_begin(record, ttl, lifetime, now)
  local least = ttl and 0 or record.expires_at
  if lifetime then record.deadline = lifetime > 0 and now + lifetime or 0 end
  record.ttl, record.last_active = ttl or record.ttl, now
  record.expires_at = math.max(record_extended(record, now), least)
  if record.deadline > 0 then record.expires_at = math.min(record.expires_at, record.deadline) end
end
local function record_use(record, threshold, touch, grace, now)
  local left, idle = record.expires_at - now, now - record.last_active
  if math.abs(idle) < touch and left > touch then return false, false end
  record.last_active = now
  local expires_at = record_extended(record, now)
  if left * 1000 >= record.ttl * threshold or expires_at <= record.expires_at then return false, false end
  record.expires_at = expires_at
  return true, record.stored_until < math.max(expires_at + grace / 2, record.copies_until)
end
local function record_keep(record, grace)
  local stored_until, copies_until = record.stored_until, record.copies_until or 0
  if stored_until >= record.expires_at + grace / 2 and stored_until >= copies_until then return false end
  record.stored_until = math.max(record.expires_at + grace, copies_until)
  return true
end
local function record_store(key, record, now)
  redis.call('SET', key, record_encode(record), 'PX', record.stored_until - now)
end
local function entries_next(entries, position)
  if position > #entries then return nil end
  local key_start = position + 5
  if key_start - 1 > #entries then return false end
  local kind, key_size, value_size = struct.unpack('>BBI3', entries, position)
  local value_start = key_start + key_size
  local next_position = value_start + value_size
  if next_position - 1 > #entries or kind < 1 or kind > 2 then return false end
  return next_position, kind .. entries:sub(key_start, value_start - 1), value_size
end
local function entries_argument(text, name, may_be_empty, most)
  if not may_be_empty and #text > 15728640 then
    error('cloakroom: ' .. name .. ' are more than ' .. 15728640 .. ' bytes')
  end
  local position, count = 1, 0
  while position <= #text do
    local next_position, _, value_size = entries_next(text, position)
    if not next_position then error('cloakroom: ' .. name .. ' is no list of entries') end
    if value_size == 0 and not may_be_empty then error('cloakroom: a value of ' .. name .. ' is empty') end
    position, count = next_position, count + 1
  end
  if most and count > most then error('cloakroom: ' .. name .. ' are more than ' .. most) end
  return text, count
end
local function entries_none()
  return { count = 0, size = 0, parts = {}, places = {} }
end
local function entries_make(made, changes)
  local parts, places, position = made.parts, made.places, 1
  while true do
    local next_position, name, value_size = entries_next(changes, position)
    if not next_position then return next_position == nil end
    local place = places[name]
    if place then
      made.size, made.count = made.size - #parts[place], made.count - 1
      parts[place] = ''
    end
    if value_size > 0 then
      place = place or #parts + 1
      parts[place], places[name] = changes:sub(position, next_position - 1), place
      made.size, made.count = made.size + next_position - position, made.count + 1
    else
      places[name] = nil
    end
    position = next_position
  end
end
local function entries_change(record, changes, count, most_bytes, most)
  local body, compacted, listed = record.body .. changes, record.compacted, record.listed + count
  local is_grown = #body >= compacted + 512 and #body * 2 >= compacted * 3
  if is_grown or #body > most_bytes or listed > most or listed >= 65535 then
    local made = entries_none()
    if not entries_make(made, record.body) then return nil end
    local size, many = made.size, made.count
    entries_make(made, changes)
    if (made.size > most_bytes and made.size > size) or (made.count > most and made.count > many) then
      return false, made.size, made.count
    end
    body, compacted, listed = table.concat(made.parts), made.size, made.count
  end
  record.body, record.compacted, record.listed = body, compacted, listed
  return record
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
local function session_corrupt(keys, name)
  return { 'corrupt', (keys.prefix or '') .. name }
end
local function session_need(record, user, connection, node)
  if record.user == user and record.connection == connection and record.node == node then return nil end
  return { 'need', 'routing', record.user, record.connection, record.node }
end
local function session_foreign(keys, record)
  if index_foreign(keys.expiry) then return { 'corrupt', 'expiry' } end
  if record.user ~= '' and index_foreign(keys.user) then return session_corrupt(keys, 'user') end
  if record.node ~= '' and index_foreign(keys.node) then return session_corrupt(keys, 'node') end
  if record.connection == '' then return nil end
  local _, foreign = index_pointer(keys.connection)
  return foreign and session_corrupt(keys, 'connection') or nil
end
local function session_keep(keys, record, grace, now)
  local ttl = record.stored_until - now
  if record.user ~= '' then index_keep(keys.user, ttl, grace) end
  if record.connection ~= '' then index_keep(keys.connection, ttl, grace) end
  if record.node ~= '' then index_keep(keys.node, ttl, grace) end
end
local function session_reschedule(keys, id, record, grace, now)
  record.stored_until = math.min(record.stored_until, record.expires_at + grace)
  local keep = record_keep(record, grace)
  index_expiry(keys.expiry, id, record, grace, now, keep)
  if keep then session_keep(keys, record, grace, now) end
end
local function lease_read(key, now)
  local raw = typed_call('GET', key)
  if not raw then return nil, nil, false, false end
  if type(raw) == 'table' or #raw ~= 24 then return nil, nil, false, true end
  local id, deadline, length = struct.unpack('>c8I8I8', raw)
  return id, deadline, deadline > now and deadline - now <= length, false
end
local function lease_fence(key, as_node, id, node, now)
  if as_node == '' then return nil end
  local holder, _, held, foreign = lease_read(key, now)
  if foreign then return { 'corrupt', 'as_lease' } end
  if not held or holder ~= id or node ~= as_node then return { 'fenced' } end
  return nil
end
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local now = clock_now(now_ms)
local op_id, bound = args_operation(op_id, bound_ms)
args_id(id)
args_names(user, connection, node)
local expected = args_optional_integer(version, 'version', 1)
local wanted = status ~= '' and record_status(status) or nil
local ttl = args_optional_integer(ttl_ms, 'ttl_ms', 1, 315360000000)
local lifetime = args_optional_integer(new_lifetime_ms, 'new_lifetime_ms', 0)
local threshold, touch = args_integer(threshold, 'threshold', 1, 1000), args_integer(touch_ms, 'touch_ms', 0)
local grace, most_bytes = args_integer(grace_ms, 'grace_ms', 1), args_integer(entries_bytes, 'entries_bytes', 0, 15728640)
local most = args_integer(entries_most, 'entries_most', 0)
args_name(as_node, 'as_node')
args_optional_token(lease_id, 'lease_id')
local _, count = entries_argument(changes, 'changes', true, most)
local record, refusal, first, noted = record_for_change(record_key, op_id, bound, now)
if first then return { 'ok', first, noted.last_active, noted.expires_at, record_moved_to(noted) } end
if not record then return refusal end
refusal = lease_fence(as_lease_key, as_node, lease_id, record.node, now)
if refusal then return refusal end
if record.status == 3 then return { 'frozen' } end
if expected and expected ~= record.version then return { 'conflict', record.version } end
local new_ttl = ttl and ttl ~= record.ttl
if count == 0 and (wanted or record.status) == record.status and not new_ttl and not lifetime then
  return { 'unchanged', record.version, record.last_active, record.expires_at }
end
local changed, bytes, entries = entries_change(record, changes, count, most_bytes, most)
if changed == nil then return { 'corrupt', 'record' } end
if not changed then return { 'large', bytes, entries } end
local differs = tell and wanted and wanted ~= record.status
local begins = new_ttl or lifetime
local extends, keeps
if not begins then extends, keeps = record_use(record, threshold, touch, grace, now) end
if begins or keeps or differs then refusal = session_need(record, user, connection, node) end
if not refusal and (begins or keeps) then
  refusal = session_foreign(keys, record)
elseif not refusal and extends and index_foreign(expiry_key) then
  refusal = { 'corrupt', 'expiry' }
end
if refusal then return refusal end
record.status = wanted or record.status
record_change(record, op_id, now)
if begins then record_begin(record, new_ttl and ttl, lifetime, now) end
if begins or extends then
  do local may, key = redis.acl_check_cmd, KEYS[1] if may and not (may('PEXPIRE', key) and may('PTTL', key) and may('SET', key) and may('ZADD', key) and may('ZREM', key)) then for _, command in ipairs({ 'PEXPIRE', 'PTTL', 'SET', 'ZADD', 'ZREM' }) do if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end end end end
  session_reschedule(keys, id, record, grace, now)
end
if differs then tell(9, nil, 'updated', '', id, user, connection, node, record.version) end
record_store(record_key, record, now)
return { 'ok', record.version, record.last_active, record.expires_at }
