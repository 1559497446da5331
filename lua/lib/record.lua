-- record: the stored form of a session. docs/internals.md has the layout; src/stored/record.rs is the same in
-- Rust.

local RECORD_FORMAT = 2
-- Times are 6 bytes: enough until the year 10889. A ttl is 5, because the longest is 315,360,000,000 ms, less than
-- 2^40. The lengths of a body are 3: see ENTRIES_MOST.
local RECORD_HEADER = '>BBBI2I2I2I3I3I2c32I6I2I2I2I6I6I5I6I6I6I6'
local RECORD_BEFORE_OP_IDS, RECORD_BEHIND_OP_IDS = '>BBBI2I2I2I3I3I2', '>I6I2I2I2I6I6I5I6I6I6I6' -- the same in parts
local RECORD_HEADER_SIZE = 102
local RECORD_HEADER_END = '101' -- as a command takes it: a number would be made a text anew at each call
local RECORD_ROUTING_SIZES, RECORD_ROUTING_SIZES_OFFSET = '>I2I2I2', 3
local RECORD_ROUTING_END = '869' -- of the longest user, connection and node
-- For a session, everything except its entries, with a freeze of the longest place and node; for other
-- records, everything.
local RECORD_HEAD_SIZE = 1414
local RECORD_HEAD_END = '1413'
local RECORD_NUMBERS, RECORD_NUMBERS_OFFSET = '>I6I6I5I6I6I6I6', 61 -- version to stored_until
local RECORD_TIMES = '>I6I6I6' -- last_active, expires_at, stored_until: all that a refresh rewrites
local RECORD_TIMES_OFFSET = 84
local RECORD_TIMES_START = '84'
-- What a patch rewrites: body_size, listed, the new operation id and three of the others, changed_at, gaps, version.
local RECORD_CHANGED = '>I3I2c8c24I6I2I2I2I6'
local RECORD_CHANGED_OFFSET = 12
local RECORD_CHANGED_START = '12'
local RECORD_LISTED_MOST = 65535 -- so many changes in the body, or more
local RECORD_OP_IDS = 4
local RECORD_OP_ID_SIZE = 8
-- If there was only one change.
local RECORD_OTHERS_NONE = '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'
local RECORD_GAP_NONE = 65535 -- there was no change before
local RECORD_GAP_MOST = 65534
local RECORD_LIVE, RECORD_MOVED, RECORD_DELETED, RECORD_DEPARTED = 1, 2, 3, 4
local RECORD_ACTIVE, RECORD_SUSPENDED, RECORD_MIGRATING = 1, 2, 3

-- A status that a caller may set.
local function record_status(word)
  return args_choice(word, 'status', 'active', 'suspended') and RECORD_ACTIVE or RECORD_SUSPENDED
end

-- A record, or its beginning, in the current format; nil: not ours, by its first three bytes. Only this function
-- knows other formats. A release that reads another format has its header as RECORD_<format>_HEADER, and converts
-- such a record here; the next write of the session stores the converted one.
local function record_current(raw)
  local format, kind, status = raw:byte(1, 3)
  local is_ours = #raw >= RECORD_HEADER_SIZE and format == RECORD_FORMAT and kind >= RECORD_LIVE
    and kind <= RECORD_DEPARTED and status >= RECORD_ACTIVE and status <= RECORD_MIGRATING
  return is_ours and raw or nil
end

-- A session's record is kept at least until the session expires: a rewrite passes the remaining time to SET.
local function record_outlives(kind, expires_at, stored_until)
  return kind ~= RECORD_LIVE or stored_until >= expires_at
end

-- The fields that a refresh needs; it does not read the rest. Nil: not a header of ours.
local function record_decode_numbers(raw)
  local current = record_current(raw)
  if not current then return nil end
  local _, kind, status = current:byte(1, 3)
  local version, _, ttl, deadline, last_active, expires_at, stored_until =
    struct.unpack(RECORD_NUMBERS, current, RECORD_NUMBERS_OFFSET + 1)
  if not record_outlives(kind, expires_at, stored_until) then return nil end
  return {
    kind = kind, status = status, version = version, ttl = ttl, deadline = deadline, last_active = last_active,
    expires_at = expires_at, stored_until = stored_until, is_stale = current ~= raw,
  }
end

-- The fields of a record, with its body as far as it was read; and its whole length. Nil: not ours. `raw` is the text
-- that they were read from, in the current format; `is_stale`: the stored text differs, so no write may keep a part of
-- it.
local function record_fields(stored)
  local raw = record_current(stored)
  if not raw then return nil end
  local format, kind, status, user_size, connection_size, node_size, compacted, body_size, listed, op_ids, changed_at,
    gap, second_gap, third_gap, version, created_at, ttl, deadline, last_active, expires_at,
    stored_until = struct.unpack(RECORD_HEADER, raw)
  local user_end = RECORD_HEADER_SIZE + user_size
  local connection_end = user_end + connection_size
  local node_end = connection_end + node_size
  if node_end > #raw or not record_outlives(kind, expires_at, stored_until) then return nil end
  local record = {
    kind = kind, status = status, compacted = compacted, listed = listed, op_ids = op_ids, changed_at = changed_at,
    gap = gap, second_gap = second_gap, third_gap = third_gap, version = version, created_at = created_at, ttl = ttl,
    deadline = deadline, last_active = last_active, expires_at = expires_at, stored_until = stored_until,
    user = raw:sub(RECORD_HEADER_SIZE + 1, user_end), connection = raw:sub(user_end + 1, connection_end),
    node = raw:sub(connection_end + 1, node_end), body = raw:sub(node_end + 1), size = node_end + body_size,
    copies_until = 0, speaks_until = stored_until, raw = raw, is_stale = raw ~= stored,
  }
  if status == RECORD_MIGRATING and not freeze_split(record) then return nil end
  return record
end

-- The whole record. Nil: not ours. The body of a live record is a list of changes, see entries.lua: `compacted` is
-- its length at the last compaction, `listed` the number of changes. The body of a moved record is the new id. The
-- body of a deleted one is empty; after a login it is the new id, which is never revealed and which only a delete
-- follows. The body of a departed one is a task and a place. Copies that were made under an earlier freeze may wait
-- elsewhere until `copies_until`; 0: none.
local function record_decode(raw)
  local record = record_fields(raw)
  if not record or record.size ~= #record.raw then return nil end
  return record
end

-- The same from the beginning of a record; for a record that is not a session, everything. `partial`: the entries
-- are not whole, or not all were read. To remove a session, a script does not need them.
local function record_decode_head(raw)
  local record = record_fields(raw)
  if not record or (record.kind ~= RECORD_LIVE and record.size ~= #record.raw) then return nil end
  record.partial = record.size ~= #record.raw
  return record
end

-- The user, connection and node of a record of which only the numbers were read.
local function record_read_routing(record, key)
  local raw = redis.call('GETRANGE', key, '0', RECORD_ROUTING_END)
  local user_size, connection_size, node_size =
    struct.unpack(RECORD_ROUTING_SIZES, raw, RECORD_ROUTING_SIZES_OFFSET + 1)
  local user_end = RECORD_HEADER_SIZE + user_size
  local connection_end = user_end + connection_size
  record.user, record.connection = raw:sub(RECORD_HEADER_SIZE + 1, user_end), raw:sub(user_end + 1, connection_end)
  record.node = raw:sub(connection_end + 1, connection_end + node_size)
end

local function record_encode(record)
  local status, body = record.status, record.body
  if record.freeze or record.copies_until > 0 then
    status = RECORD_MIGRATING
    body = freeze_join(record, record.kind == RECORD_LIVE and 0 or record.speaks_until)
  end
  return struct.pack(RECORD_HEADER, RECORD_FORMAT, record.kind, status, #record.user, #record.connection,
    #record.node, record.compacted, #body, math.min(record.listed, RECORD_LISTED_MOST), record.op_ids,
    record.changed_at, record.gap, record.second_gap, record.third_gap, record.version, record.created_at, record.ttl,
    record.deadline, record.last_active, record.expires_at, record.stored_until)
    .. record.user .. record.connection .. record.node .. body
end

-- A record without the parts that are over at this time, and until when copies of it may wait. A moved, deleted or
-- departed record whose time is over counts as absent; its key may still be there because of copies, or because its
-- TTL runs by the server's clock and a test's clock is ahead. A lapsed freeze counts as removed, and the next write
-- stores the record without it.
local function record_unless_over(record, now)
  if not record then return nil, 0 end
  local lapsed = record.freeze and record.kind == RECORD_LIVE and freeze_lapsed(record.freeze, now)
  local forgotten = record.copies_until > 0 and record.copies_until <= now
  if forgotten then record.copies_until = 0 end
  if record.kind ~= RECORD_LIVE and record.speaks_until <= now then return nil, record.copies_until end
  if lapsed then
    record.lapsed = record.freeze
    freeze_return(record)
  end
  if lapsed or forgotten then record.is_stale, record.raw = true, record_encode(record) end
  return record, record.copies_until
end

-- Absent: nil. A foreign type or not a record of ours: nil and true. The third value says until when copies of a former
-- session here may wait: a script that puts a session here keeps it.
local function record_read(key, now)
  local raw = typed_call('GET', key)
  if not raw then return nil, false, 0 end
  if type(raw) == 'table' then return nil, true, 0 end
  local record = record_decode(raw)
  local found, copies_until = record_unless_over(record, now)
  return found, record == nil, copies_until
end

-- The beginning of a record, however large it is. Absent: nil. A foreign type or not a record of ours: nil and
-- true.
local function record_find_head(key)
  local raw = typed_call('GETRANGE', key, '0', RECORD_HEAD_END)
  if type(raw) == 'table' then return nil, true end
  -- An absent key reads as an empty string, and so does an empty string.
  if raw == '' then return nil, redis.call('EXISTS', key) == 1 end
  local record = record_decode_head(raw)
  return record, record == nil
end

-- The same without the parts that are over.
local function record_read_head(key, now)
  local record, corrupt = record_find_head(key)
  return record_unless_over(record, now), corrupt
end

-- The reply that says why a record is not a live session; nil if it is one.
local function record_refusal(record, corrupt, now)
  if corrupt then return { 'corrupt', 'record' } end
  -- An attacker who planted an id before a login learns only that there is a newer one.
  if record and record.kind == RECORD_DELETED and record.body ~= '' then return { 'rotated' } end
  if not record or record.kind == RECORD_DELETED then return { 'missing' } end
  if record.kind == RECORD_MOVED then return { 'moved', record.body } end
  if record.kind == RECORD_DEPARTED then return { 'departed', record.body:sub(RECORD_OP_ID_SIZE + 1) } end
  if record.expires_at <= now then return { 'missing' } end
  return nil
end

-- The live session at a key, or nil and the reply.
local function record_live(key, now)
  local record, corrupt = record_read(key, now)
  local refusal = record_refusal(record, corrupt, now)
  if refusal then return nil, refusal end
  return record
end

-- The version that an operation made, if it is one of the last four changes: the call was repeated.
local function record_version_of(record, op_id)
  if op_id == '' then return nil end
  for age = 0, RECORD_OP_IDS - 1 do
    local start = age * RECORD_OP_ID_SIZE + 1
    if record.op_ids:sub(start, start + RECORD_OP_ID_SIZE - 1) == op_id then return record.version - age end
  end
  return nil
end

-- The reply if a record cannot prove whether a call that it does not note has happened: four changes have come since
-- the call began, and may have pushed it out. Nil: it did not happen. A call that comes soon after its beginning is a
-- first attempt, because no caller repeats one so soon.
local function record_unsure(record, op_id, bound, now)
  if op_id == '' or record.third_gap == RECORD_GAP_NONE then return nil end
  if bound then
    local oldest = record.changed_at - record.gap - record.second_gap - record.third_gap
    if oldest < bound or now - bound < ARGS_ALONE then return nil end
  end
  return { 'unsure', now }
end

-- The record at a key for a call that changes its session: the live session; or nil and the reply; or nil, nil, the
-- version that this call made the first time, and the stored record, live or not.
local function record_for_change(key, op_id, bound, now)
  local record, corrupt = record_read(key, now)
  local first = record and record_version_of(record, op_id)
  if first then return nil, nil, first, record end
  local refusal = record and record_unsure(record, op_id, bound, now) or record_refusal(record, corrupt, now)
  if refusal then return nil, refusal end
  return record
end

-- The id that a session was rotated to, if it was.
local function record_moved_to(record)
  return record.kind == RECORD_MOVED and record.body or nil
end

-- Counts a change. Every change goes through here: record_version_of and record_unsure rely on it that each version
-- has its operation id and a time, and that times never decrease.
local function record_change(record, op_id, now)
  if op_id == '' then op_id = ('\0'):rep(RECORD_OP_ID_SIZE) end
  record.op_ids = op_id .. record.op_ids:sub(1, (RECORD_OP_IDS - 1) * RECORD_OP_ID_SIZE)
  record.version = record.version + 1
  local changed_at = math.max(record.changed_at, now)
  local gap = record.version > 1 and math.min(changed_at - record.changed_at, RECORD_GAP_MOST) or RECORD_GAP_NONE
  record.changed_at, record.gap, record.second_gap, record.third_gap = changed_at, gap, record.gap, record.second_gap
end

-- Records an import among the changes that arrived with the session: it replaces the second newest. The newest
-- stays, because its client may not have its reply and may retry it at the new place. An import is not a change:
-- it makes no version, and the version of its position is not its own.
local function record_note_import(record, op_id)
  if op_id == '' then op_id = ('\0'):rep(RECORD_OP_ID_SIZE) end
  local op_ids, second = record.op_ids, RECORD_OP_ID_SIZE + 1
  record.op_ids = op_ids:sub(1, second - 1) .. op_id .. op_ids:sub(second + RECORD_OP_ID_SIZE)
end

-- The changes that arrive with a session count as four changes at its arrival: their times come from another clock,
-- and the import replaces one of them.
local function record_arrive(record, now)
  record.changed_at, record.gap, record.second_gap, record.third_gap = now, 0, 0, 0
end

-- Whether two records are of the same version of a session, apart from their entries and the times that a refresh
-- moves.
local function record_same(record, other)
  for _, field in ipairs({ 'version', 'created_at', 'status', 'ttl', 'deadline', 'user', 'connection', 'node' }) do
    if record[field] ~= other[field] then return false end
  end
  return true
end

-- A full idle time from now, but never past the deadline.
local function record_extended(record, now)
  local expires_at = now + record.ttl
  if record.deadline > 0 and expires_at > record.deadline then expires_at = record.deadline end
  return expires_at
end

-- Sets all entries of a session, and their number.
local function record_set_entries(record, entries, listed)
  record.body, record.compacted, record.listed = entries, #entries, listed
end

-- A session that begins now, with the change that made it. 0: no lifetime.
local function record_new(status, user, connection, node, entries, listed, ttl, lifetime, op_id, now)
  local record = {
    kind = RECORD_LIVE, status = status, user = user, connection = connection, node = node,
    op_ids = ('\0'):rep(RECORD_OP_IDS * RECORD_OP_ID_SIZE), changed_at = now,
    gap = RECORD_GAP_NONE, second_gap = RECORD_GAP_NONE, third_gap = RECORD_GAP_NONE, version = 0, created_at = now,
    ttl = ttl, deadline = lifetime > 0 and now + lifetime or 0, last_active = now, stored_until = 0, copies_until = 0,
  }
  record_set_entries(record, entries, listed)
  record.expires_at = record_extended(record, now)
  record_change(record, op_id, now)
  return record
end

-- Starts a new idle time, with another ttl and another lifetime if they are given; 0: no lifetime. It is never
-- shorter than the time that was left, unless the new ttl or lifetime makes it so.
local function record_begin(record, ttl, lifetime, now)
  local least = ttl and 0 or record.expires_at
  if lifetime then record.deadline = lifetime > 0 and now + lifetime or 0 end
  record.ttl, record.last_active = ttl or record.ttl, now
  record.expires_at = math.max(record_extended(record, now), least)
  if record.deadline > 0 then record.expires_at = math.min(record.expires_at, record.deadline) end
end

-- A change of a session is a use: records it as a refresh does. Returns whether the session lives longer, and
-- whether its keys must; the caller handles both.
local function record_use(record, threshold, touch, grace, now)
  local left, idle = record.expires_at - now, now - record.last_active
  if math.abs(idle) < touch and left > touch then return false, false end
  record.last_active = now
  local expires_at = record_extended(record, now)
  if left * 1000 >= record.ttl * threshold or expires_at <= record.expires_at then return false, false end
  record.expires_at = expires_at
  return true, record.stored_until < math.max(expires_at + grace / 2, record.copies_until)
end

-- The key must outlive the session by a grace, for a reaper to read it, and copies that may wait. It is extended
-- only when less than half of the grace is left. True: the key's TTL and those of its indexes must follow.
local function record_keep(record, grace)
  -- If only the numbers of a record were read, no copy waits.
  local stored_until, copies_until = record.stored_until, record.copies_until or 0
  if stored_until >= record.expires_at + grace / 2 and stored_until >= copies_until then return false end
  record.stored_until = math.max(record.expires_at + grace, copies_until)
  return true
end

local function record_store(key, record, now)
  redis.call('SET', key, record_encode(record), 'PX', record.stored_until - now)
end

-- Sets how long a leftover counts. It is stored longer if a copy may wait; then it only says that the id is
-- known.
local function record_speak(record, time)
  if record.copies_until <= time then record.copies_until = 0 end
  record.speaks_until, record.stored_until = time, math.max(time, record.copies_until)
end

local function record_strip(record, kind, body)
  record.compacted, record.listed = 0, 0
  record.kind, record.body, record.user, record.connection, record.node = kind, body, '', '', ''
end

-- Leaves a leftover under an id that was deleted or rotated: late calls read it as gone or moved. For an incoming
-- copy that was deleted it counts as long as the copy would have been stored, and keeps the freeze: a process that
-- continues the migration must see that the delete came first.
local function record_leave(key, record, op_id, kind, body, ttl, now)
  record_change(record, op_id, now)
  if record.freeze and record.freeze.direction == FREEZE_INCOMING then
    ttl = math.max(ttl, record.stored_until - now)
  elseif record.freeze then
    freeze_return(record)
  end
  record_speak(record, now + ttl)
  record_strip(record, kind, body)
  record_store(key, record, now)
end

-- Leaves a leftover that only says that the session was here.
local function record_leave_word(key, record, now)
  record_speak(record, now)
  record_strip(record, RECORD_DELETED, '')
  record_store(key, record, now)
end
