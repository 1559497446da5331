if #KEYS ~= 6 or #ARGV ~= 11 then return redis.error_reply('ERR cloakroom refresh: 6 KEYS and 11 ARGV') end
local record_key, expiry_key, user_key, connection_key, node_key, as_lease_key = unpack(KEYS)
local now_ms, id, user, connection, node, threshold, touch_ms, grace_ms, want, as_node, lease_id = unpack(ARGV)
local may, now, share, touch, grace = redis.acl_check_cmd, tonumber(now_ms), tonumber(threshold), tonumber(touch_ms),
  tonumber(grace_ms)
if as_node .. lease_id == '' and not (now_ms .. threshold .. touch_ms .. grace_ms):find('%D')
  and (not now or now <= 35184372088831) and share and share >= 1 and share <= 1000 and touch and touch <= 35184372088831
  and grace and grace >= 1 and grace <= 35184372088831 and (want == 'times' or want == 'record')
  and id ~= '' and #id <= 128 and #user <= 256 and #connection <= 256 and #node <= 256 then
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
  end
  local raw = redis.pcall('GETRANGE', record_key, '0', want == 'record' and '-1' or '101')
  if type(raw) == 'string' and #raw >= 102 then
    local format, kind, state = raw:byte(1, 3)
    local version, _, ttl, deadline, last_active, expires_at, stored_until =
      struct.unpack('>I6I6I5I6I6I6I6', raw, 61 + 1)
    local is_plain = format == 2 and kind == 1 and state >= 1
      and state < 3 and expires_at > now and stored_until >= expires_at and last_active <= now
    if is_plain and want == 'record' then
      local _, _, _, user_size, connection_size, node_size, _, body_size = struct.unpack('>BBBI2I2I2I3I3I2c32I6I2I2I2I6I6I5I6I6I6I6', raw)
      local position, size = 102 + user_size + connection_size + node_size + 1, #raw
      is_plain = position + body_size == size + 1
        and not raw:sub(102 + 1, position - 1):find('[\128-\255]')
      while position + 5 <= size + 1 do
        local entry, key_size, value_size = struct.unpack('>BBI3', raw, position)
        if entry < 1 or entry > 2 then break end
        position = position + 5 + key_size + value_size
      end
      is_plain = is_plain and position == size + 1
    end
    if is_plain and now - last_active < touch and expires_at - now > touch then
      return { 'unchanged', version, last_active, expires_at, want == 'record' and raw or nil }
    end
    local extended = now + ttl
    if deadline > 0 and extended > deadline then extended = deadline end
    local extends = extended > expires_at and (expires_at - now) * 1000 < ttl * share
    if is_plain and extended >= expires_at and (not extends or stored_until >= extended + grace / 2
      and (not may or may('SETRANGE', record_key))
      and redis.pcall('ZADD', expiry_key, 'XX', 'CH', extended, id) == 1) then
      if extends then expires_at = extended end
      local times = struct.pack('>I6I6I6', now, expires_at, stored_until)
      redis.call('SETRANGE', record_key, '84', times)
      return { 'ok', version, now, expires_at,
        want == 'record' and raw:sub(1, 84) .. times .. raw:sub(102 + 1) or nil }
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
local function record_decode_numbers(raw)
  local current = record_current(raw)
  if not current then return nil end
  local _, kind, status = current:byte(1, 3)
  local version, _, ttl, deadline, last_active, expires_at, stored_until =
    struct.unpack('>I6I6I5I6I6I6I6', current, 61 + 1)
  if not record_outlives(kind, expires_at, stored_until) then return nil end
  return {
    kind = kind, status = status, version = version, ttl = ttl, deadline = deadline, last_active = last_active,
    expires_at = expires_at, stored_until = stored_until, is_stale = current ~= raw,
  }
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
local function record_read_routing(record, key)
  local raw = redis.call('GETRANGE', key, '0', '869')
  local user_size, connection_size, node_size = struct.unpack('>I2I2I2', raw, 3 + 1)
  local user_end = 102 + user_size
  local connection_end = user_end + connection_size
  record.user, record.connection = raw:sub(102 + 1, user_end), raw:sub(user_end + 1, connection_end)
  record.node = raw:sub(connection_end + 1, connection_end + node_size)
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
local function record_extended(record, now)
  local expires_at = now + record.ttl
  if record.deadline > 0 and expires_at > record.deadline then expires_at = record.deadline end
  return expires_at
end
local function record_keep(record, grace)
  local stored_until, copies_until = record.stored_until, record.copies_until or 0
  if stored_until >= record.expires_at + grace / 2 and stored_until >= copies_until then return false end
  record.stored_until = math.max(record.expires_at + grace, copies_until)
  return true
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
local function session_need(record, user, connection, node)
  if record.user == user and record.connection == connection and record.node == node then return nil end
  return { 'need', 'routing', record.user, record.connection, record.node }
end
local function session_routing_need(record_key, record, user, connection, node)
  if not record.user then record_read_routing(record, record_key) end
  return session_need(record, user, connection, node)
end
local function session_keep(keys, record, grace, now)
  local ttl = record.stored_until - now
  if record.user ~= '' then index_keep(keys.user, ttl, grace) end
  if record.connection ~= '' then index_keep(keys.connection, ttl, grace) end
  if record.node ~= '' then index_keep(keys.node, ttl, grace) end
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
args_id(id)
args_names(user, connection, node)
local threshold, touch = args_integer(threshold, 'threshold', 1, 1000), args_integer(touch_ms, 'touch_ms', 0)
local grace = args_integer(grace_ms, 'grace_ms', 1)
local wanted = args_choice(want, 'want', 'record', 'times')
args_name(as_node, 'as_node')
args_optional_token(lease_id, 'lease_id')
local raw = typed_call('GETRANGE', record_key, '0', wanted and '-1' or '101')
if type(raw) == 'table' then return { 'corrupt', 'record' } end
if raw == '' and redis.call('EXISTS', record_key) == 1 then return { 'corrupt', 'record' } end
local record
if raw ~= '' then record = wanted and record_decode(raw) or not wanted and record_decode_numbers(raw) end
local corrupt = raw ~= '' and not record
if record and (record.kind ~= 1 or record.status == 3 or record.is_stale
  or wanted and record.copies_until > 0) then
  record, corrupt = record_read(record_key, now)
  raw = record and record.raw
end
local refusal = record_refusal(record, corrupt, now)
if refusal then return refusal end
if wanted and not entries_told(record) then return { 'corrupt', 'record' } end
if as_node ~= '' then
  if not record.node then record_read_routing(record, record_key) end
  refusal = lease_fence(as_lease_key, as_node, lease_id, record.node, now)
  if refusal then return refusal end
end
if record.status == 3 then return { 'frozen' } end
local left, idle = record.expires_at - now, now - record.last_active
local is_ahead = idle < 0
local word = (is_ahead and -idle or idle) < touch and left > touch and 'unchanged' or 'ok'
if word == 'ok' then
  record.last_active = now
  local expires_at, stored_until = record_extended(record, now), record.stored_until
  local shortens = record.expires_at > expires_at and (is_ahead or record.status == 1)
  if shortens or left * 1000 < record.ttl * threshold and expires_at > record.expires_at then
    record.expires_at = expires_at
    if shortens then record.stored_until = math.min(stored_until, expires_at + grace) end
    local keep = record_keep(record, grace)
    if keep then
      refusal = session_routing_need(record_key, record, user, connection, node)
      if refusal then return refusal end
    end
    do local may, key = redis.acl_check_cmd, KEYS[1] if may and not (may('PEXPIRE', key) and may('PTTL', key) and may('SET', key) and may('SETRANGE', key) and may('ZADD', key) and may('ZREM', key)) then for _, command in ipairs({ 'PEXPIRE', 'PTTL', 'SET', 'SETRANGE', 'ZADD', 'ZREM' }) do if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end end end end
    if index_expiry(expiry_key, id, record, grace, now, keep) then return { 'corrupt', 'expiry' } end
    if keep then
      session_keep({ user = user_key, connection = connection_key, node = node_key }, record, grace, now)
    end
    if record.stored_until ~= stored_until then redis.call('PEXPIRE', record_key, record.stored_until - now) end
  end
end
local times = struct.pack('>I6I6I6', record.last_active, record.expires_at, record.stored_until)
if word == 'ok' and record.is_stale then
  redis.call('SET', record_key, record_encode(record), 'PX', record.stored_until - now)
elseif word == 'ok' then
  redis.call('SETRANGE', record_key, '84', times)
end
if not wanted then return { word, record.version, record.last_active, record.expires_at } end
return { word, record.version, record.last_active, record.expires_at,
  raw:sub(1, 84) .. times .. raw:sub(84 + #times + 1) }
