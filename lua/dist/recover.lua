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
local function record_keep(record, grace)
  local stored_until, copies_until = record.stored_until, record.copies_until or 0
  if stored_until >= record.expires_at + grace / 2 and stored_until >= copies_until then return false end
  record.stored_until = math.max(record.expires_at + grace, copies_until)
  return true
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
local function session_read_head(record_key, connection_key, connection, now)
  local record, corrupt = record_read_head(record_key, now)
  if corrupt then return nil, nil, 'record' end
  if connection == '' then return record, nil, nil end
  local pointer, foreign = index_pointer(connection_key)
  return record, pointer, foreign and 'connection' or nil
end
local function session_need(record, user, connection, node)
  if record.user == user and record.connection == connection and record.node == node then return nil end
  return { 'need', 'routing', record.user, record.connection, record.node }
end
local function session_prolong(keys, id, record, least, grace, now)
  if record.deadline > 0 then least = math.min(least, record.deadline) end
  if least <= record.expires_at then return end
  record.expires_at = least
  local keep = record_keep(record, grace)
  index_expiry(keys.expiry, id, record, grace, now, keep)
  if keep and record.user ~= '' then index_keep(keys.user, record.stored_until - now, grace) end
end
local function bulk_full(total, size, most)
  return total > 0 and total + size > most
end
local function lease_read(key, now)
  local raw = typed_call('GET', key)
  if not raw then return nil, nil, false, false end
  if type(raw) == 'table' or #raw ~= 24 then return nil, nil, false, true end
  local id, deadline, length = struct.unpack('>c8I8I8', raw)
  return id, deadline, deadline > now and deadline - now <= length, false
end
local count = (#KEYS - 7) / 3
local events = #ARGV ~= #KEYS + 2
if events then count = (#KEYS - 11) / 3 end
if count % 1 ~= 0 or count < 0 or count > 200 or events and #ARGV ~= count * 3 + 10 then
  return redis.error_reply('ERR cloakroom recover: 7 KEYS and 9 ARGV, and 3 of each a session, at most 200')
end
local stream_at = count * 3 + 10
local tell, untold = event_teller(events and stream_at - 2)
if untold then return untold end
local nodes_key, lease_key, new_lease_key, expiry_key, node_key, new_node_key, kept_key = unpack(KEYS, 1, 7)
local now = clock_now(ARGV[1])
local op_id, bound = args_operation(ARGV[2], ARGV[3])
local node, new_node = args_required(ARGV[4], 'node'), args_required(ARGV[5], 'new_node')
args_stored(new_node, '', '', '', 'new_node')
local own_lease = ARGV[6] ~= '' and args_token(ARGV[6], 'lease_id') or nil
local always = args_choice(ARGV[7], 'when', 'always', 'lapsed')
local reconnect, grace = args_integer(ARGV[8], 'reconnect_ms', 1), args_integer(ARGV[9], 'grace_ms', 1)
if node == new_node then error('cloakroom: new_node is no other node') end
local _, deadline, held, foreign = lease_read(lease_key, now)
if foreign then return { 'corrupt', 'lease' } end
local new_id, _, new_held, new_foreign = lease_read(new_lease_key, now)
if new_foreign then return { 'corrupt', 'new_lease' } end
local refusal
if held and not always then
  refusal = { 'leased', deadline }
elseif not new_held or new_id ~= (own_lease or new_id) then
  refusal = { 'lapsed' }
end
if index_foreign(nodes_key) then return { 'corrupt', 'nodes' } end
if index_foreign(expiry_key) then return { 'corrupt', 'expiry' } end
if index_foreign(node_key) then return { 'corrupt', 'node' } end
if index_foreign(new_node_key) then return { 'corrupt', 'new_node' } end
if index_foreign(kept_key) then return { 'corrupt', 'kept' } end
local claims, gone, recovered, stale, frozen, corrupt, unsure = {}, {}, {}, {}, {}, {}, nil
local left, written, seen = 0, 0, {}
for place = 1, count do
  local at = place * 3 + 5
  local record_key, user_key, connection_key = unpack(KEYS, at, at + 2)
  local id, user, connection = unpack(ARGV, at + 2, at + 4)
  local record, pointer, unread = session_read_head(record_key, connection_key, connection, now)
  local is_named_again = seen[id]
  seen[id] = true
  if is_named_again then
  elseif unread then
    corrupt[#corrupt + 1] = id
  elseif not record or record.kind ~= 1 or record.node ~= node then
    gone[#gone + 1] = id
    if record and record.kind == 1 and record.node == new_node then
      local version = record_version_of(record, op_id)
      if version then recovered[#recovered + 1], recovered[#recovered + 2] = id, version end
      unsure = unsure or not version and record_unsure(record, op_id, bound, now)
    end
  elseif record.expires_at > now then
    if record.status == 3 then
      frozen[#frozen + 1] = id
    elseif session_need(record, user, connection, node) then
      stale[#stale + 1] = id
    elseif bulk_full(written, record.size, 1048576) then
      left = count - place + 1
      break
    else
      written = written + record.size
      if record.partial then record = record_read(record_key, now) end
      if record then
        claims[#claims + 1] = { id = id, record = record, record_key = record_key, user_key = user_key,
          connection_key = pointer == id and connection_key }
      else
        corrupt[#corrupt + 1] = id
      end
    end
  end
end
if unsure then return unsure end
if refusal and #recovered == 0 then return refusal end
local moved, entries, pointers, longest = {}, {}, {}, 0
for _, claim in ipairs(claims) do
  local id, record = claim.id, claim.record
  if refusal then
    stale[#stale + 1] = id
  else
    record.connection, record.node, record.status = '', new_node, 2
    record_change(record, op_id, now)
    moved[#moved + 1] = claim
    gone[#gone + 1], entries[#entries + 1], entries[#entries + 2] = id, record.created_at, id
    recovered[#recovered + 1], recovered[#recovered + 2] = id, record.version
    if claim.connection_key then pointers[#pointers + 1] = claim.connection_key end
  end
end
do local may, key = redis.acl_check_cmd, KEYS[1] if may and not (may('DEL', key) and may('EXISTS', key) and may('PEXPIRE', key) and may('PTTL', key) and may('SET', key) and may('ZADD', key) and may('ZREM', key)) then for _, command in ipairs({ 'DEL', 'EXISTS', 'PEXPIRE', 'PTTL', 'SET', 'ZADD', 'ZREM' }) do if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end end end end
for _, claim in ipairs(moved) do
  local keys = { expiry = expiry_key, user = claim.user_key }
  session_prolong(keys, claim.id, claim.record, now + reconnect, grace, now)
  longest = math.max(longest, claim.record.stored_until)
end
if #entries > 0 then
  redis.call('ZADD', new_node_key, unpack(entries))
  index_keep(new_node_key, longest - now, grace)
end
if #pointers > 0 then redis.call('DEL', unpack(pointers)) end
for _, claim in ipairs(moved) do
  local record = claim.record
  if tell then tell(stream_at + 1, stream_at, 'recovered', '', claim.id, record.user, '', new_node, record.version) end
  record_store(claim.record_key, record, now)
end
if #gone > 0 then redis.call('ZREM', node_key, unpack(gone)) end
if not held and redis.call('EXISTS', node_key) == 0 then
  redis.call('ZREM', nodes_key, node)
  redis.call('ZREM', kept_key, node)
  redis.call('DEL', lease_key)
end
local reply = { 'ok', #recovered / 2, #stale, #frozen, #corrupt, left }
for _, texts in ipairs({ recovered, stale, frozen, corrupt }) do
  for _, text in ipairs(texts) do reply[#reply + 1] = text end
end
return reply
