-- record: the stored form of a session. ARCHITECTURE.md has the layout, src/record.rs the same in Rust.

local RECORD_FORMAT = 1
local RECORD_HEADER = '>BBBI2I2I2I4c32I8I8I8I8I8I8I8'
local RECORD_HEADER_SIZE = 101
local RECORD_TIMES = '>I8I8I8' -- last_active, expires_at, stored_until: all that a refresh rewrites
local RECORD_TIMES_OFFSET = 77
local RECORD_OP_IDS = 4
local RECORD_OP_ID_SIZE = 8
local RECORD_LIVE, RECORD_MOVED, RECORD_DELETED = 1, 2, 3
local RECORD_STATUS = { active = 1, suspended = 2 } -- what a caller may set
local RECORD_MIGRATING = 3

-- The header alone serves a refresh, which does not read the rest. Nil: not a header of ours.
local function record_decode_header(raw)
  if #raw < RECORD_HEADER_SIZE then return nil end
  local format, kind, status, user_size, connection_size, node_size, body_size, op_ids, version,
    created_at, ttl, deadline, last_active, expires_at, stored_until = struct.unpack(RECORD_HEADER, raw)
  if format ~= RECORD_FORMAT or kind < RECORD_LIVE or kind > RECORD_DELETED or status < 1 or status > RECORD_MIGRATING then
    return nil
  end
  local user_end = RECORD_HEADER_SIZE + user_size
  local connection_end = user_end + connection_size
  local node_end = connection_end + node_size
  return {
    kind = kind, status = status, op_ids = op_ids, version = version, created_at = created_at, ttl = ttl,
    deadline = deadline, last_active = last_active, expires_at = expires_at, stored_until = stored_until,
    user_end = user_end, connection_end = connection_end, node_end = node_end, size = node_end + body_size,
  }
end

local function record_decode_routing(record, raw)
  record.user = raw:sub(RECORD_HEADER_SIZE + 1, record.user_end)
  record.connection = raw:sub(record.user_end + 1, record.connection_end)
  record.node = raw:sub(record.connection_end + 1, record.node_end)
end

-- The body holds the entries of a live record and the new id of a moved one. That of a deleted one is empty, or the
-- new id where a login left it, which only a delete follows.
local function record_decode(raw)
  local record = record_decode_header(raw)
  if not record or record.size ~= #raw then return nil end
  record_decode_routing(record, raw)
  record.body = raw:sub(record.node_end + 1)
  record.raw = raw
  return record
end

local function record_encode(record)
  return struct.pack(RECORD_HEADER, RECORD_FORMAT, record.kind, record.status, #record.user, #record.connection,
    #record.node, #record.body, record.op_ids, record.version, record.created_at, record.ttl, record.deadline,
    record.last_active, record.expires_at, record.stored_until)
    .. record.user .. record.connection .. record.node .. record.body
end

-- Absent: nil. A foreign type or no record of ours: nil and true.
local function record_read(key)
  local raw = typed_call('GET', key)
  if not raw then return nil, false end
  if type(raw) == 'table' then return nil, true end
  local record = record_decode(raw)
  return record, record == nil
end

-- Why a record is no live session, as the reply to give; nil when it is one.
local function record_refusal(record, corrupt, now)
  if corrupt then return { 'corrupt', 'record' } end
  if not record or record.kind == RECORD_DELETED then return { 'missing' } end
  if record.kind == RECORD_MOVED then return { 'moved', record.body } end
  if record.expires_at <= now then return { 'missing' } end
  return nil
end

-- The live session at a key, or nil and the reply to give.
local function record_live(key, now)
  local record, corrupt = record_read(key)
  local refusal = record_refusal(record, corrupt, now)
  if refusal then return nil, refusal end
  return record
end

-- The version that an operation made, if it is one of the last four changes: the call came twice.
local function record_version_of(record, op_id)
  if op_id == '' then return nil end
  for age = 0, RECORD_OP_IDS - 1 do
    local start = age * RECORD_OP_ID_SIZE + 1
    if record.op_ids:sub(start, start + RECORD_OP_ID_SIZE - 1) == op_id then return record.version - age end
  end
  return nil
end

-- Counts a change. Every change goes through here: that each version has its operation id is what
-- record_version_of rests on.
local function record_change(record, op_id)
  if op_id == '' then op_id = ('\0'):rep(RECORD_OP_ID_SIZE) end
  record.op_ids = op_id .. record.op_ids:sub(1, (RECORD_OP_IDS - 1) * RECORD_OP_ID_SIZE)
  record.version = record.version + 1
end

-- A full idle time from now, but never past the deadline.
local function record_extended(record, now)
  local expires_at = now + record.ttl
  if record.deadline > 0 and expires_at > record.deadline then expires_at = record.deadline end
  return expires_at
end

-- A new ttl starts a new idle time.
local function record_set_ttl(record, ttl, now)
  record.ttl = ttl
  record.last_active = math.max(record.last_active, now)
  record.expires_at = record_extended(record, now)
end

-- The key must outlive the session by a grace, for the reaper to read it. It is kept that long anew only
-- when less than half of the grace is left. True: the key's TTL and those of its indexes have to follow.
local function record_keep(record, grace)
  if record.stored_until >= record.expires_at + grace / 2 then return false end
  record.stored_until = record.expires_at + grace
  return true
end

local function record_store(key, record, now)
  redis.call('SET', key, record_encode(record), 'PX', record.stored_until - now)
end

-- What stays under an id that was deleted or rotated away: late calls read it as gone or moved.
local function record_leave(key, record, op_id, kind, body, ttl)
  record_change(record, op_id)
  record.kind, record.body, record.user, record.connection, record.node = kind, body, '', '', ''
  redis.call('SET', key, record_encode(record), 'PX', ttl)
end
