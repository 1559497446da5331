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
local function args_op_ids(text)
  if #text ~= 32 then error('cloakroom: operations is no 32 bytes') end
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
local function freeze_status(record)
  return record.freeze and record.freeze.status or record.status
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
local function record_change(record, op_id, now)
  if op_id == '' then op_id = ('\0'):rep(8) end
  record.op_ids = op_id .. record.op_ids:sub(1, (4 - 1) * 8)
  record.version = record.version + 1
  local changed_at = math.max(record.changed_at, now)
  local gap = record.version > 1 and math.min(changed_at - record.changed_at, 65534) or 65535
  record.changed_at, record.gap, record.second_gap, record.third_gap = changed_at, gap, record.gap, record.second_gap
end
local function record_note_import(record, op_id)
  if op_id == '' then op_id = ('\0'):rep(8) end
  local op_ids, second = record.op_ids, 8 + 1
  record.op_ids = op_ids:sub(1, second - 1) .. op_id .. op_ids:sub(second + 8)
end
local function record_arrive(record, now)
  record.changed_at, record.gap, record.second_gap, record.third_gap = now, 0, 0, 0
end
local function record_same(record, other)
  for _, field in ipairs({ 'version', 'created_at', 'status', 'ttl', 'deadline', 'user', 'connection', 'node' }) do
    if record[field] ~= other[field] then return false end
  end
  return true
end
local function record_set_entries(record, entries, listed)
  record.body, record.compacted, record.listed = entries, #entries, listed
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
local function record_speak(record, time)
  if record.copies_until <= time then record.copies_until = 0 end
  record.speaks_until, record.stored_until = time, math.max(time, record.copies_until)
end
local function record_strip(record, kind, body)
  record.compacted, record.listed = 0, 0
  record.kind, record.body, record.user, record.connection, record.node = kind, body, '', '', ''
end
local function record_leave(key, record, op_id, kind, body, ttl, now)
  record_change(record, op_id, now)
  if record.freeze and record.freeze.direction == 2 then
    ttl = math.max(ttl, record.stored_until - now)
  elseif record.freeze then
    freeze_return(record)
  end
  record_speak(record, now + ttl)
  record_strip(record, kind, body)
  record_store(key, record, now)
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
local function entries_same(entries, others)
  local one, other = entries_none(), entries_none()
  if not (entries_make(one, entries) and entries_make(other, others)) or one.count ~= other.count then return false end
  for name, place in pairs(one.places) do
    local found = other.places[name]
    if not found or other.parts[found] ~= one.parts[place] then return false end
  end
  return true
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
local function session_index(keys, id, record, grace, now, fresh)
  local ttl = record.stored_until - now
  local user, node = record.user ~= '', record.node ~= ''
  if user and type(typed_call('ZADD', keys.user, record.created_at, id)) == 'table' then
    return session_corrupt(keys, 'user')
  end
  if node and type(typed_call('ZADD', keys.node, record.created_at, id)) == 'table' then
    if user then redis.call('ZREM', keys.user, id) end
    return session_corrupt(keys, 'node')
  end
  if index_expiry(keys.expiry, id, record, grace, now, true) then
    if user then redis.call('ZREM', keys.user, id) end
    if node then redis.call('ZREM', keys.node, id) end
    return { 'corrupt', 'expiry' }
  end
  if user then index_keep(keys.user, ttl, grace, fresh.user) end
  if node then index_keep(keys.node, ttl, grace, fresh.node) end
  return nil
end
local function session_unindex_undo(key, id, score, ttl)
  redis.call('ZADD', key, score, id)
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, ttl) end
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
local function session_clear(keys, id, record, pointer, now)
  typed_call('ZREM', keys.expiry, id)
  if record.user ~= '' then typed_call('ZREM', keys.user, id) end
  if record.node ~= '' then typed_call('ZREM', keys.node, id) end
  if record.connection ~= '' and pointer == id then session_delete(keys, id, record, now, keys.connection) end
end
local function session_need(record, user, connection, node)
  if record.user == user and record.connection == connection and record.node == node then return nil end
  return { 'need', 'routing', record.user, record.connection, record.node }
end
local function session_holder(name, connection_key, connection, id, holder_id, holder_key, now)
  local pointer, foreign = index_pointer(connection_key)
  if foreign then return { 'corrupt', name } end
  if not pointer or pointer == id then return nil end
  if pointer ~= holder_id then return { 'need', 'holder', pointer, '' } end
  local holder, corrupt = record_read(holder_key, now)
  if corrupt then return { 'corrupt', 'holder_record' } end
  if not holder or holder.kind ~= 1 or holder.connection ~= connection then return nil end
  if holder.expires_at <= now then return { 'need', 'reap', pointer } end
  return { 'taken', pointer }, holder
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
local function session_move_entry(old_key, old_owner, new_key, new_owner, id, record, grace, now)
  if old_owner == new_owner then return end
  if old_owner ~= '' then redis.call('ZREM', old_key, id) end
  if new_owner ~= '' then
    redis.call('ZADD', new_key, record.created_at, id)
    index_keep(new_key, record.stored_until - now, grace)
  end
end
local function session_reroute(old_keys, new_keys, id, old, record, grace, now)
  session_move_entry(old_keys.user, old.user, new_keys.user, record.user, id, record, grace, now)
  session_move_entry(old_keys.node, old.node, new_keys.node, record.node, id, record, grace, now)
  if old.connection ~= '' and old.connection ~= record.connection and index_pointer(old_keys.connection) == id then
    redis.call('DEL', old_keys.connection)
  end
  if record.connection ~= '' and record.connection ~= old.connection then
    redis.call('SET', new_keys.connection, id, 'PX', record.stored_until - now)
  end
end
local function session_put(old_keys, new_keys, id, old, record, grace, now)
  if old then
    record.stored_until = old.stored_until
    session_reschedule(new_keys, id, record, grace, now)
    session_reroute(old_keys, new_keys, id, old, record, grace, now)
    return nil
  end
  record_keep(record, grace)
  local refusal = session_index(new_keys, id, record, grace, now, {})
  if refusal then return refusal end
  if record.connection ~= '' then redis.call('SET', new_keys.connection, id, 'PX', record.stored_until - now) end
  return nil
end
local function bulk_full(total, size, most)
  return total > 0 and total + size > most
end
local function limit_first(ids, count)
  local first = {}
  for i = 1, math.min(#ids, count) do first[i] = ids[i] end
  return first
end
local function limit_need(what, ids)
  return { 'need', what, unpack(limit_first(ids, 200)) }
end
local function limit_victims(name, user_key, expiry_key, own_id, limit, evict, now)
  local stored = typed_call('ZCARD', user_key)
  if type(stored) == 'table' then return nil, { 'corrupt', name } end
  if stored < limit then return {} end
  local ids = redis.call('ZRANGE', user_key, 0, 1000 - 1)
  local expiries = typed_call('ZMSCORE', expiry_key, unpack(ids))
  if expiries.err then return nil, { 'corrupt', 'expiry' } end
  local live, expired = {}, {}
  for i, id in ipairs(ids) do
    local expires_at = expiries[i] and tonumber(expiries[i])
    local side = expires_at and expires_at > now and live or expired
    if id ~= own_id then side[#side + 1] = id end
  end
  if #live >= limit and not evict then return nil, { 'limit', #live } end
  if stored > #ids then return nil, limit_need('remove', #expired > 0 and expired or live) end
  local excess = #live - limit + 1
  if excess > 200 then return nil, limit_need('remove', live) end
  return limit_first(live, excess)
end
local function limit_declared(count, key_at, arg_at, stream_at, user_key, expiry_key)
  local declared = {}
  for at = 0, count * 3 - 1, 3 do
    local id, connection, node = unpack(ARGV, arg_at + at, arg_at + at + 2)
    local record_key, connection_key, node_key = unpack(KEYS, key_at + at, key_at + at + 2)
    if not declared[id] then declared[#declared + 1] = id end
    declared[id] = {
      record_key = record_key, connection = connection, node = node, stream = stream_at + at / 3,
      keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key },
    }
  end
  return declared
end
local function limit_admit(declared, name, user_key, expiry_key, user, own_id, limit, evict, now)
  if limit == 0 or user == '' then return {} end
  local victims, refusal = limit_victims(name, user_key, expiry_key, own_id, limit, evict, now)
  if refusal then return nil, refusal end
  local freed = 0
  for _, id in ipairs(victims) do
    local victim = declared[id]
    if not victim then return nil, limit_need('evict', victims) end
    local record, pointer = session_read_head(victim.record_key, victim.keys.connection, victim.connection, now)
    if record and record.kind == 1 and record.user == user then
      if session_need(record, user, victim.connection, victim.node) then return nil, limit_need('evict', victims) end
      if bulk_full(freed, record.size, 33554432) then return nil, limit_need('remove', victims) end
      freed = freed + record.size
      victim.live, victim.pointer = record, pointer
    end
  end
  return victims
end
local function limit_evict(victims, declared, op_id, tombstone, now, reply, tell)
  for _, id in ipairs(victims) do
    local victim = declared[id]
    if victim.live then
      session_try(victim.record_key)
      session_clear(victim.keys, id, victim.live, victim.pointer, now)
      session_tell(tell, victim.stream, 'ended', 'evicted', id, victim.live, victim.live.version + 1)
      record_leave(victim.record_key, victim.live, op_id, 3, '', tombstone, now)
      reply[#reply + 1] = id
    else
      redis.call('ZREM', victim.keys.user, id)
    end
  end
  return reply
end
local function limit_evicted(declared, op_id, now, reply)
  for _, id in ipairs(declared) do
    local record = record_read_head(declared[id].record_key, now)
    if record and record.kind == 3 and record_version_of(record, op_id) then reply[#reply + 1] = id end
  end
  return reply
end
local function migration_freeze(record, direction, task, frozen_until, span, place, node)
  record.freeze = {
    task = task, frozen_until = frozen_until, span = span, status = record.status, direction = direction, place = place,
    node = node,
  }
  record.status = 3
end
local function migration_note(key, id, record, grace, now)
  redis.call('ZADD', key, record.freeze.frozen_until, id)
  index_keep(key, record.stored_until - now, grace)
end
local function migration_is(record, direction, task)
  local freeze = record and record.freeze
  return freeze and freeze.direction == direction and freeze.task == task or false
end
local function migration_departed(record)
  if not record or record.kind ~= 4 then return nil end
  return record.body:sub(1, 8)
end
local victim_count = (#KEYS - 10) / 3
local events = #ARGV ~= #KEYS + 19
if events then victim_count = (#KEYS - 14) / 4 end
if victim_count % 1 ~= 0 or victim_count < 0 or victim_count > 200 or events and #ARGV ~= victim_count * 3 + 30 then
  return redis.error_reply('ERR cloakroom import: 10 KEYS and 29 ARGV, and 3 of each a victim, at most 200')
end
local stream_at = victim_count * 3 + 13
local tell, untold = event_teller(events and stream_at - 2, 2)
if untold then return untold end
local record_key, expiry_key, user_key, connection_key, node_key, new_user_key, new_connection_key, new_node_key,
  holder_key, migrations_key = unpack(KEYS, 1, 10)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local new_keys = { expiry = expiry_key, user = new_user_key, connection = new_connection_key, node = new_node_key,
  prefix = 'new_' }
local now = clock_now(ARGV[1])
local op_id, bound = args_operation(ARGV[2], ARGV[3])
local id = args_id(ARGV[4])
local user, connection, node = args_names(ARGV[5], ARGV[6], ARGV[7])
local new = { kind = 1, version = args_integer(ARGV[8], 'version', 1), stored_until = 0 }
new.user, new.connection, new.node = args_names(ARGV[9], ARGV[10], ARGV[11], 'new_')
args_stored(id, new.user, new.connection, new.node, 'id new_user new_connection new_node')
local holder_id = ARGV[12]
new.status, new.created_at = record_status(ARGV[13]), args_integer(ARGV[14], 'created_at_ms', 0)
new.last_active, new.expires_at = args_integer(ARGV[15], 'last_active_ms', 0), args_integer(ARGV[16], 'expires_at_ms', 0)
new.deadline, new.ttl = args_integer(ARGV[17], 'deadline_ms', 0), args_integer(ARGV[18], 'ttl_ms', 1, 315360000000)
local operations, replaces = args_op_ids(ARGV[19]), args_optional_integer(ARGV[20], 'replaces', 0)
local grace = args_integer(ARGV[21], 'grace_ms', 1)
local entries, listed = entries_argument(ARGV[22], 'entries')
local task, frozen_until = args_optional_token(ARGV[23], 'task'), args_optional_integer(ARGV[24], 'until_ms', 0) or 0
local place, hand_over = args_name(ARGV[25], 'place'), args_choice(ARGV[26], 'hand_over', 'yes', 'no')
args_stored(place, '', '', '', 'place')
local limit, evict = args_integer(ARGV[27], 'login_limit', 0, 500), args_choice(ARGV[28], 'login_policy', 'evict', 'reject')
local tombstone = args_integer(ARGV[29], 'tombstone_ms', 1)
local declared = limit_declared(victim_count, 11, 30, stream_at + 2, new_user_key, expiry_key)
new.op_ids, new.copies_until = operations, 0
record_set_entries(new, entries, listed)
record_arrive(new, now)
if new.deadline > 0 and new.expires_at > new.deadline then error('cloakroom: expires_at_ms is past deadline_ms') end
if hand_over then
  if task == '' or new.node == '' or new.connection ~= '' then
    error('cloakroom: hand_over is by a task, to a node, without a connection')
  end
  new.status = 2
  record_change(new, '', now)
end
local old, corrupt, copies_until = record_read(record_key, now)
if old and record_version_of(old, op_id) then return limit_evicted(declared, op_id, now, { 'ok', new.version }) end
local again = task ~= '' and migration_is(old, 2, task)
if again and old.freeze.frozen_until == frozen_until then return { 'ok', new.version } end
local unsure = old and task == '' and record_unsure(old, op_id, bound, now)
if unsure then return unsure end
if new.expires_at <= now then return { 'expired' } end
if task ~= '' and migration_departed(old) == ARGS_NO_TOKEN then old = nil end
local refusal = record_refusal(old, corrupt, now)
if refusal and refusal[1] ~= 'missing' and refusal[1] ~= 'rotated' then return refusal end
if old and old.kind == 3 then return { 'gone' } end
if refusal then
  if replaces and replaces > 0 then return { 'missing' } end
  refusal = nil
elseif task ~= '' then
  if old.freeze and not again then return { 'frozen' } end
  if not again or old.freeze.frozen_until > frozen_until or old.created_at ~= new.created_at then
    return { 'conflict', old.version }
  end
  refusal = session_need(old, user, connection, node)
else
  if old.status == 3 then return { 'frozen' } end
  if record_same(old, new) and entries_same(old.body, entries) then return { 'unchanged', new.version } end
  if old.created_at ~= new.created_at or old.version >= new.version or (replaces or old.version) ~= old.version then
    return { 'conflict', old.version }
  end
  refusal = session_need(old, user, connection, node)
end
if not refusal and new.connection ~= '' and not (old and old.connection == new.connection) then
  refusal = session_holder('new_connection', new_connection_key, new.connection, id, holder_id, holder_key, now)
end
if not refusal and old and old.expires_at <= now then return { 'need', 'reap', id } end
if not refusal and old then refusal = session_foreign(keys, old) or session_foreign(new_keys, new) end
if refusal then return refusal end
local victims = {}
if not old or old.user ~= new.user then
  victims, refusal = limit_admit(declared, 'new_user', new_user_key, expiry_key, new.user, id, limit, evict, now)
  if refusal then return refusal end
end
if task ~= '' and index_foreign(migrations_key) then return { 'corrupt', 'migrations' } end
if task == '' then
  record_note_import(new, op_id)
else
  migration_freeze(new, 2, task, frozen_until, 0, place, '')
end
new.copies_until = copies_until
if #victims == 0 then do local may, key = redis.acl_check_cmd, KEYS[1] if may and not (may('DEL', key) and may('PEXPIRE', key) and may('PTTL', key) and may('SET', key) and may('ZADD', key) and may('ZREM', key)) then for _, command in ipairs({ 'DEL', 'PEXPIRE', 'PTTL', 'SET', 'ZADD', 'ZREM' }) do if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end end end end else do local may, key = redis.acl_check_cmd, KEYS[1] if may and not (may('DEL', key) and may('PEXPIRE', key) and may('PTTL', key) and may('SET', key) and may('ZADD', key) and may('ZREM', key)) then for _, command in ipairs({ 'DEL', 'PEXPIRE', 'PTTL', 'SET', 'ZADD', 'ZREM' }) do if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end end end end end
refusal = session_put(keys, new_keys, id, old, new, grace, now)
if refusal then return refusal end
if not old then
  session_tell(tell, stream_at + 1, 'arrived', '', id, new, new.version)
elseif tell and (old.user ~= new.user or old.connection ~= new.connection or old.node ~= new.node
  or freeze_status(old) ~= freeze_status(new)) then
  tell(stream_at + 1, stream_at, 'updated', '', id, new.user, new.connection, new.node, new.version)
end
record_store(record_key, new, now)
if task ~= '' then migration_note(migrations_key, id, new, grace, now) end
return limit_evict(victims, declared, op_id, tombstone, now, { 'ok', new.version }, tell)
