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
local count = (#KEYS - 1) / 4
local events = #ARGV ~= #KEYS * 2 + 3
if events then count = (#KEYS - 3) / 5 end
if count % 1 ~= 0 or count < 0 or count > 100 or events and #ARGV ~= count * 8 + 6 then
  return redis.error_reply('ERR cloakroom create_many: 1 KEYS and 5 ARGV, and 4 KEYS and 8 ARGV a session, at most 100')
end
local expiry_key, stream_at = KEYS[1], count * 4 + 3
local tell, untold, streams = event_teller(events and stream_at - 1, 0)
if untold then return untold end
local now_ms, bound_ms, lifetime_ms, grace_ms, tombstone_ms = unpack(ARGV, 1, 5)
if count > 0 and (now_ms .. bound_ms .. lifetime_ms .. grace_ms .. tombstone_ms):find('^%d*$')
  and lifetime_ms ~= '' and grace_ms ~= '' and tombstone_ms ~= '' then
  local lifetime, grace, tombstone = lifetime_ms + 0, grace_ms + 0, tombstone_ms + 0
  local now, bound = tonumber(now_ms), tonumber(bound_ms)
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
  end
  local ordinary = lifetime <= 35184372088831 and grace >= 1 and grace <= 35184372088831 and tombstone >= 1
    and tombstone <= 35184372088831 and now <= 35184372088831 and (not bound or bound <= 35184372088831 and now - bound < tombstone)
  local unpack, find, pack_fields, unpack_fields = unpack, string.find, struct.pack, struct.unpack
  local keys, arguments = KEYS, ARGV
  local vacant, seen, sessions, owners, owned, expiries, longest = {}, {}, {}, {}, {}, {}, 0
  local earlier_ttl, expires_at, rest, times
  for place = 1, count do
    local record_key, user_key, connection_key, node_key = unpack(keys, place * 4 - 2, place * 4 + 1)
    local id, user, connection, node, op_id, status, ttl_ms, entries = unpack(arguments, place * 8 - 2, place * 8 + 5)
    if ttl_ms ~= earlier_ttl then
      local ttl = not find(ttl_ms, '%D') and tonumber(ttl_ms) or 0
      ordinary = ordinary and ttl >= 1 and ttl <= 315360000000
      local ends_at, deadline = now + ttl, 0
      if lifetime > 0 then deadline = now + lifetime end
      if lifetime > 0 and ends_at > deadline then ends_at = deadline end
      earlier_ttl, expires_at, rest = ttl_ms, ('%.0f'):format(ends_at), ends_at + grace - now
      if rest > longest then longest = rest end
      times = pack_fields('>I6I2I2I2I6I6I5I6I6I6I6', now, 65535, 65535, 65535, 1, now, ttl,
        deadline, now, ends_at, ends_at + grace)
    end
    local position, size, listed = 1, #entries, 0
    while position + 5 <= size + 1 do
      local kind, key_size, value_size = unpack_fields('>BBI3', entries, position)
      if kind < 1 or kind > 2 or value_size == 0 then break end
      position, listed = position + 5 + key_size + value_size, listed + 1
    end
    ordinary = ordinary and position == size + 1 and size <= 15728640 and listed < 65535 and #op_id == 8
      and op_id ~= '\0\0\0\0\0\0\0\0' and (status == 'active' or status == 'suspended') and id ~= '' and #id <= 128
      and #user <= 256 and #connection <= 256 and #node <= 256 and not find(id .. user .. connection .. node, '[\128-\255]')
      and not seen[record_key] and (connection == '' or not seen[connection_key])
      and not (tell and streams[keys[stream_at + place]] == 'foreign')
    if not ordinary then break end
    local session = { id, rest, record_key, pack_fields('>BBBI2I2I2I3I3I2', 2, 1,
      status == 'active' and 1 or 2, #user, #connection, #node, size, size, listed)
      .. op_id .. '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' .. times .. user .. connection .. node .. entries }
    seen[record_key], vacant[#vacant + 1] = true, record_key
    if connection ~= '' then
      seen[connection_key], vacant[#vacant + 1], session[5] = true, connection_key, connection_key
    end
    if user ~= '' then owners[#owners + 1], owned[#owned + 1] = user_key, session end
    if node ~= '' then owners[#owners + 1], owned[#owned + 1] = node_key, session end
    sessions[place], expiries[place * 2 - 1], expiries[place * 2] = session, expires_at, id
  end
  if ordinary and redis.call('EXISTS', unpack(vacant)) == 0 then
    local kind, lives = redis.call('TYPE', expiry_key).ok, {}
    local are_fresh = not owners[1] or redis.call('EXISTS', unpack(owners)) == 0
    for _, owner in ipairs(owners) do
      if are_fresh then
        lives[owner] = 0
      elseif not lives[owner] and (kind == 'zset' or kind == 'none') then
        kind, lives[owner] = redis.call('TYPE', owner).ok, redis.call('PTTL', owner)
      end
    end
    ordinary = kind == 'zset' or kind == 'none'
    local may, key = redis.acl_check_cmd, expiry_key
    if ordinary and (not may or may('PEXPIRE', key) and may('SET', key) and may('ZADD', key) and may('ZREM', key)) then
      redis.call('ZADD', expiry_key, unpack(expiries))
      local noted = now + longest - (now + longest) % grace + grace
      if redis.call('ZADD', expiry_key, 'GT', 'CH', noted, '') == 1
        and type(redis.pcall('PEXPIRE', expiry_key, noted - now)) ~= 'number' then
        redis.call('ZREM', expiry_key, '')
        redis.call('PEXPIRE', expiry_key, noted - now)
      end
      local created_at, earlier_rest, rest_text = ('%.0f'):format(now), nil, nil
      for at, owner in ipairs(owners) do
        local id, rest = unpack(owned[at], 1, 2)
        redis.call('ZADD', owner, created_at, id)
        if lives[owner] < rest then
          lives[owner] = rest + grace
          redis.call('PEXPIRE', owner, rest + grace)
        end
      end
      for place, session in ipairs(sessions) do
        local id, rest, record_key, record, connection_key = unpack(session, 1, 5)
        if tell then
          local _, user, connection, node = unpack(arguments, place * 8 - 2, place * 8 + 1)
          tell(stream_at + place, nil, 'created', '', id, user, connection, node, '1')
        end
        if rest ~= earlier_rest then earlier_rest, rest_text = rest, ('%.0f'):format(rest) end
        redis.call('SET', record_key, record, 'PX', rest_text)
        if connection_key then redis.call('SET', connection_key, id, 'PX', rest_text) end
      end
      return { 'ok', now }
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
local function args_stale(op_id, bound, tombstone, now)
  return op_id ~= '' and bound and now - bound >= tombstone
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
local function freeze_join(record, speaks_until)
  local freeze = record.freeze or { task = ARGS_NO_TOKEN, frozen_until = speaks_until, span = 0, status = record.status,
    direction = 3, place = '', node = '' }
  return struct.pack('>c8I6I6I6BBI2I2', freeze.task, freeze.frozen_until, freeze.span, record.copies_until, freeze.status,
    freeze.direction, #freeze.place, #freeze.node) .. freeze.place .. freeze.node .. record.body
end
local function record_status(word)
  return args_choice(word, 'status', 'active', 'suspended') and 1 or 2
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
local function record_set_entries(record, entries, listed)
  record.body, record.compacted, record.listed = entries, #entries, listed
end
local function record_new(status, user, connection, node, entries, listed, ttl, lifetime, op_id, now)
  local record = {
    kind = 1, status = status, user = user, connection = connection, node = node,
    op_ids = ('\0'):rep(4 * 8), changed_at = now,
    gap = 65535, second_gap = 65535, third_gap = 65535, version = 0, created_at = now, ttl = ttl,
    deadline = lifetime > 0 and now + lifetime or 0, last_active = now, stored_until = 0, copies_until = 0,
  }
  record_set_entries(record, entries, listed)
  record.expires_at = record_extended(record, now)
  record_change(record, op_id, now)
  return record
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
local function session_corrupt(keys, name)
  return { 'corrupt', (keys.prefix or '') .. name }
end
local function session_vacant(record_key, keys, node)
  local full, present = 2, nil
  if node == '' then
    present = redis.call('EXISTS', keys.user, record_key, record_key, keys.connection, keys.connection)
  else
    full = 4
    present = redis.call('EXISTS', keys.user, keys.node, keys.node, record_key, record_key, record_key, record_key,
      keys.connection, keys.connection, keys.connection, keys.connection)
  end
  return present < full, { user = present % 2 == 0, node = present % 4 < 2 }
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
local function session_make(record_key, keys, id, record, grace, now, fresh, tell, stream)
  record_keep(record, grace)
  local refusal = session_index(keys, id, record, grace, now, fresh)
  if refusal then return refusal end
  if tell then
    tell(stream, nil, 'created', '', id, record.user, record.connection, record.node, record.version)
  end
  record_store(record_key, record, now)
  if record.connection ~= '' then redis.call('SET', keys.connection, id, 'PX', record.stored_until - now) end
  return nil
end
local now, bound = clock_now(now_ms), args_optional_integer(bound_ms, 'bound_ms', 0)
local lifetime, grace = args_integer(lifetime_ms, 'lifetime_ms', 0), args_integer(grace_ms, 'grace_ms', 1)
local tombstone = args_integer(tombstone_ms, 'tombstone_ms', 1)
local sessions = {}
for place = 1, count do
  local record_key, user_key, connection_key, node_key = unpack(KEYS, place * 4 - 2, place * 4 + 1)
  local id, user, connection, node, op_id, status, ttl, entries = unpack(ARGV, place * 8 - 2, place * 8 + 5)
  id, user, connection, node = args_id(id), args_names(user, connection, node)
  args_stored(id, user, connection, node, 'id user connection node')
  ttl = args_integer(ttl, 'ttl_ms', 1, 315360000000)
  local _, listed = entries_argument(entries, 'entries')
  op_id = args_optional_token(op_id, 'op_id')
  sessions[place] = {
    id = id, record_key = record_key,
    keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key },
    record = record_new(record_status(status), user, connection, node, entries, listed, ttl,
      lifetime, op_id, now),
    stale = args_stale(op_id, bound, tombstone, now),
    foreign = tell and streams[KEYS[stream_at + place]] == 'foreign',
  }
end
do local may, key = redis.acl_check_cmd, KEYS[1] if may and not (may('EXISTS', key) and may('PEXPIRE', key) and may('PTTL', key) and may('SET', key) and may('ZADD', key) and may('ZREM', key)) then for _, command in ipairs({ 'EXISTS', 'PEXPIRE', 'PTTL', 'SET', 'ZADD', 'ZREM' }) do if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end end end end
local reply = { 'ok', now }
for place, session in ipairs(sessions) do
  local record_key, keys, id, record = session.record_key, session.keys, session.id, session.record
  local vacant, fresh = session_vacant(record_key, keys, record.node)
  if not vacant or session.stale or session.foreign
    or session_make(record_key, keys, id, record, grace, now, fresh, tell, stream_at + place) then
    reply[#reply + 1] = place
  end
end
return reply
