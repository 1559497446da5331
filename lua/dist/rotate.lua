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
local victim_count = (#KEYS - 8) / 3
local events = #ARGV ~= #KEYS + 13
if events then victim_count = (#KEYS - 11) / 4 end
if victim_count % 1 ~= 0 or victim_count < 0 or victim_count > 200 or events and #ARGV ~= victim_count * 3 + 22 then
  return redis.error_reply('ERR cloakroom rotate: 8 KEYS and 21 ARGV, and 3 of each a victim, at most 200')
end
local stream_at = victim_count * 3 + 11
local tell, untold = event_teller(events and stream_at - 2, 1)
if untold then return untold end
local record_key, expiry_key, user_key, connection_key, node_key, new_record_key, new_user_key, as_lease_key =
  unpack(KEYS, 1, 8)
local now_ms, op_id, id, user, connection, node, new_id, new_user, grace_ms, rotation_grace_ms, tombstone_ms, limit, policy,
  as_node, lease_id, becomes, new_ttl_ms, new_lifetime_ms, entries_bytes, entries_most, changes = unpack(ARGV, 1, 21)
if victim_count == 0 and as_node .. lease_id .. becomes .. new_ttl_ms .. changes == '' and #op_id == 8 and op_id ~= '\0\0\0\0\0\0\0\0'
  and (new_user == '' or new_user == user) and (policy == 'reject' or policy == 'evict')
  and (now_ms .. grace_ms .. rotation_grace_ms .. tombstone_ms .. limit .. entries_bytes .. entries_most):find('^%d*$')
  and entries_bytes ~= '' and entries_bytes + 0 <= 15728640 and entries_most ~= '' and entries_most + 0 <= 35184372088831
  and (new_lifetime_ms == '' or new_lifetime_ms == '0') and grace_ms ~= '' and rotation_grace_ms ~= '' and tombstone_ms ~= '' and limit ~= '' and limit + 0 <= 500
  and id ~= '' and #id <= 128 and new_id ~= '' and #new_id <= 128
  and #user <= 256 and #connection <= 256 and #node <= 256
  and (new_id .. user .. connection .. node):find('^[^\128-\255]*$') then
  local grace, rotation_grace, tombstone, now = grace_ms + 0, rotation_grace_ms + 0, tombstone_ms + 0, tonumber(now_ms)
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
  end
  local may, key = redis.acl_check_cmd, record_key
  local raw, pointer
  if connection == '' then
    raw = redis.call('MGET', record_key)[1]
  else
    raw, pointer = unpack(redis.call('MGET', record_key, connection_key))
  end
  if raw and #raw >= 102 and (pointer or connection == '')
    and grace >= 1 and grace <= 35184372088831 and rotation_grace >= 1 and rotation_grace <= 35184372088831
    and tombstone >= 1 and tombstone <= 35184372088831 and now <= 35184372088831
    and redis.call('EXISTS', new_record_key) == 0 then
    local format, kind, state, user_size, connection_size, node_size, _, body_size, listed, op_ids, changed_at, gap,
      second_gap, _, version, created_at, ttl, deadline, last_active, expires_at, stored_until =
      struct.unpack('>BBBI2I2I2I3I3I2c32I6I2I2I2I6I6I5I6I6I6I6', raw)
    local body_start = 102 + user_size + connection_size + node_size + 1
    local position, size = body_start, #raw
    while position + 5 <= size + 1 do
      local entry_kind, key_size, value_size = struct.unpack('>BBI3', raw, position)
      if entry_kind < 1 or entry_kind > 2 then break end
      position = position + 5 + key_size + value_size
    end
    local lives_until = now + ttl
    if deadline > 0 and lives_until > deadline then lives_until = deadline end
    if lives_until < expires_at then lives_until = expires_at end
    if format == 2 and kind == 1 and state >= 1 and state < 3
      and expires_at > now and stored_until >= lives_until + grace / 2 and stored_until <= lives_until + grace
      and version >= 1 and (new_lifetime_ms == '' or deadline == 0)
      and body_start + body_size == size + 1 and position == size + 1
      and user_size == #user and connection_size == #connection and node_size == #node
      and raw:sub(102 + 1, body_start - 1) == user .. connection .. node
      and (not may or may('PEXPIRE', key) and may('PTTL', key) and may('SET', key) and may('ZADD', key) and may('ZREM', key))
    then
      local in_user = user == '' and 2 or redis.pcall('ZADD', new_user_key, created_at, new_id)
      local in_node = type(in_user) == 'number' and (node == '' and 2 or redis.pcall('ZADD', node_key, created_at, new_id))
      if type(in_node) == 'number' and type(redis.pcall('ZADD', expiry_key, lives_until, new_id)) == 'number' then
        local was_in = redis.call('ZREM', expiry_key, id)
        if user ~= '' then was_in = was_in * redis.call('ZREM', user_key, id) end
        if node ~= '' then was_in = was_in * redis.call('ZREM', node_key, id) end
        local rest = stored_until - now
        if was_in == 0 then
          local noted = stored_until - stored_until % grace + grace
          if redis.call('ZADD', expiry_key, 'GT', 'CH', noted, '') == 1
            and type(redis.pcall('PEXPIRE', expiry_key, noted - now)) ~= 'number' then
            redis.call('ZREM', expiry_key, '')
            redis.call('PEXPIRE', expiry_key, noted - now)
          end
          if user ~= '' and redis.call('PTTL', new_user_key) < rest then
            redis.call('PEXPIRE', new_user_key, rest + grace)
          end
          if node ~= '' and redis.call('PTTL', node_key) < rest then redis.call('PEXPIRE', node_key, rest + grace) end
        end
        local since = 0
        if now > changed_at then since, changed_at = now - changed_at, now end
        if since > 65534 then since = 65534 end
        version = version + 1
        local written = struct.pack('>I3I2c8c24I6I2I2I2I6', body_size, listed, op_id, op_ids, changed_at, since, gap, second_gap,
          version)
        local new = raw:sub(1, 12) .. written
          .. raw:sub(12 + #written + 1, 84)
          .. struct.pack('>I6I6I6', now, lives_until, stored_until) .. raw:sub(102 + 1)
        if tell then tell(stream_at, nil, 'rotated', '', id, user, connection, node, version, new_id) end
        redis.call('SET', new_record_key, new, 'PX', rest)
        if pointer == id then redis.call('SET', connection_key, new_id, 'PX', rest) end
        redis.call('SET', record_key, struct.pack('>BBBI2I2I2I3I3I2c32I6I2I2I2I6I6I5I6I6I6I6', 2, 2, state, 0, 0, 0, 0, #new_id, 0,
          op_id .. op_ids:sub(1, -8 - 1), changed_at, since, gap, second_gap, version, created_at, ttl,
          deadline, last_active, expires_at, now + rotation_grace) .. new_id, 'PX', rotation_grace)
        return { 'ok', new }
      end
      if in_user == 1 then redis.call('ZREM', new_user_key, new_id) end
      if in_node == 1 then redis.call('ZREM', node_key, new_id) end
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
local function args_word(text, name, words)
  local meaning = words[text]
  if meaning == nil then error('cloakroom: ' .. name .. ' is no word of the contract') end
  return meaning
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
local function entries_whole(entries)
  local position = 1
  while position do
    position = entries_next(entries, position)
  end
  return position == nil
end
local function entries_told(record)
  return args_are_utf8(record.user, record.connection, record.node, '') and entries_whole(record.body)
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
local function session_read(record_key, connection_key, connection, now)
  local raw, pointer
  if connection == '' then
    raw = redis.call('MGET', record_key)[1]
  else
    raw, pointer = unpack(redis.call('MGET', record_key, connection_key))
  end
  local record = raw and record_decode(raw) or nil
  if not record and (raw or redis.call('TYPE', record_key).ok ~= 'none') then return nil, nil, 'record' end
  record = record_unless_over(record, now)
  if pointer == false and redis.call('TYPE', connection_key).ok ~= 'none' then
    return record, nil, 'connection'
  end
  return record, pointer or nil, nil
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
local function session_foreign(keys, record)
  if index_foreign(keys.expiry) then return { 'corrupt', 'expiry' } end
  if record.user ~= '' and index_foreign(keys.user) then return session_corrupt(keys, 'user') end
  if record.node ~= '' and index_foreign(keys.node) then return session_corrupt(keys, 'node') end
  if record.connection == '' then return nil end
  local _, foreign = index_pointer(keys.connection)
  return foreign and session_corrupt(keys, 'connection') or nil
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
local now = clock_now(now_ms)
args_optional_token(op_id, 'op_id')
args_id(id)
args_names(user, connection, node)
args_id(new_id, 'new_id')
args_name(new_user, 'new_user')
args_stored(new_id, new_user, '', '', 'new_id new_user')
local grace, rotation_grace = args_integer(grace_ms, 'grace_ms', 1), args_integer(rotation_grace_ms, 'rotation_grace_ms', 1)
local tombstone = args_integer(tombstone_ms, 'tombstone_ms', 1)
local limit = args_integer(limit, 'limit', 0, 500)
local evict = args_choice(policy, 'policy', 'evict', 'reject')
args_name(as_node, 'as_node')
args_optional_token(lease_id, 'lease_id')
local anonymous = args_word(becomes, 'becomes', { [''] = false, anonymous = true })
if anonymous then new_user = '' end
local ttl = args_optional_integer(new_ttl_ms, 'new_ttl_ms', 1, 315360000000)
local lifetime = args_optional_integer(new_lifetime_ms, 'new_lifetime_ms', 0)
local most_bytes = args_integer(entries_bytes, 'entries_bytes', 0, 15728640)
local most = args_integer(entries_most, 'entries_most', 0)
local _, count = entries_argument(changes, 'changes', true, most)
local declared = limit_declared(victim_count, 9, 22, stream_at + 1, new_user_key, expiry_key)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local new_keys = { expiry = expiry_key, user = new_user_key, connection = connection_key, node = node_key }
local record, pointer, foreign = session_read(record_key, connection_key, connection, now)
local rotated = record and record.kind ~= 1 and record.body == new_id and record_version_of(record, op_id)
local refusal = not rotated and record_refusal(record, foreign == 'record', now)
if refusal then return refusal end
local taken, corrupt, copies_until = record_read(new_record_key, now)
if corrupt then return { 'corrupt', 'new_record' } end
if rotated then
  if record_refusal(taken, false, now) or taken.version ~= rotated then return { 'unsure', now } end
  return limit_evicted(declared, op_id, now, { 'again', taken.raw })
end
if not entries_told(record) then return { 'corrupt', 'record' } end
refusal = lease_fence(as_lease_key, as_node, lease_id, record.node, now)
if refusal then return refusal end
if taken then return { 'exists' } end
if record.status == 3 then return { 'frozen' } end
refusal = session_need(record, user, connection, node) or session_foreign(keys, record)
if refusal then return refusal end
local old = record_decode(record.raw)
local victims = {}
local login, logout = new_user ~= '' and new_user ~= user, anonymous and user ~= ''
if count > 0 then
  local changed, bytes, entries = entries_change(record, changes, count, most_bytes, most)
  if not changed then return { 'large', bytes, entries } end
end
if login or logout then record.user = new_user end
if login then
  victims, refusal = limit_admit(declared, 'new_user', new_user_key, expiry_key, new_user, new_id, limit, evict, now)
  if refusal then return refusal end
end
if #victims == 0 then do local may, key = redis.acl_check_cmd, KEYS[1] if may and not (may('PEXPIRE', key) and may('PTTL', key) and may('SET', key) and may('ZADD', key) and may('ZREM', key)) then for _, command in ipairs({ 'PEXPIRE', 'PTTL', 'SET', 'ZADD', 'ZREM' }) do if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end end end end else do local may, key = redis.acl_check_cmd, KEYS[1] if may and not (may('DEL', key) and may('PEXPIRE', key) and may('PTTL', key) and may('SET', key) and may('ZADD', key) and may('ZREM', key)) then for _, command in ipairs({ 'DEL', 'PEXPIRE', 'PTTL', 'SET', 'ZADD', 'ZREM' }) do if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end end end end end
record_change(record, op_id, now)
record_begin(record, ttl, lifetime, now)
record.copies_until, record.stored_until = copies_until, math.min(record.stored_until, record.expires_at + grace)
record_keep(record, grace)
if session_index(new_keys, new_id, record, grace, now, {}) then return { 'corrupt', 'new_user' } end
session_unindex(keys, id, old, now)
session_tell(tell, stream_at, 'rotated', login and 'login' or logout and 'logout' or '', id, record, record.version, new_id)
record_store(new_record_key, record, now)
if pointer == id then redis.call('SET', connection_key, new_id, 'PX', record.stored_until - now) end
record_leave(record_key, old, op_id, (login or logout) and 3 or 2, new_id, rotation_grace, now)
return limit_evict(victims, declared, op_id, tombstone, now, { 'ok', record_encode(record) }, tell)
