-- limit: the session limit per user.

local LIMIT_MOST = 500  -- sessions a user may be allowed: a scan full of live ones is always above it
local LIMIT_SCAN = 1000 -- index entries looked at in one call
local LIMIT_BATCH = 200 -- sessions one call removes

local function limit_first(ids, count)
  local first = {}
  for i = 1, math.min(#ids, count) do first[i] = ids[i] end
  return first
end

local function limit_need(what, ids)
  return { 'need', what, unpack(limit_first(ids, LIMIT_BATCH)) }
end

-- Finds room for one more session of a user, whose index is `name` in the header: the ids of the oldest live sessions
-- to evict, usually none; or nil and the reply. Expired sessions do not count. If a user has more than LIMIT_SCAN
-- entries, batches are removed first: of expired sessions if there are any, otherwise of sessions that any count would
-- evict. The session itself does not count. It has an entry already if an earlier attempt was refused a command.
local function limit_victims(name, user_key, expiry_key, own_id, limit, evict, now)
  local stored = typed_call('ZCARD', user_key)
  if type(stored) == 'table' then return nil, { 'corrupt', name } end
  if stored < limit then return {} end
  local ids = redis.call('ZRANGE', user_key, 0, LIMIT_SCAN - 1)
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
  if excess > LIMIT_BATCH then return nil, limit_need('remove', live) end
  return limit_first(live, excess)
end

-- The sessions that the caller declared for eviction, in order and by id: record, connection and node key from
-- KEYS[key_at] on, id, connection and node from ARGV[arg_at] on, the streams of their nodes from KEYS[stream_at] on.
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

-- The sessions to evict for one more session of a user, all checked; or nil and the reply. Without a limit or a
-- user: none. Corrupt sessions do not prevent a login.
local function limit_admit(declared, name, user_key, expiry_key, user, own_id, limit, evict, now)
  if limit == 0 or user == '' then return {} end
  local victims, refusal = limit_victims(name, user_key, expiry_key, own_id, limit, evict, now)
  if refusal then return nil, refusal end
  local freed = 0
  for _, id in ipairs(victims) do
    local victim = declared[id]
    if not victim then return nil, limit_need('evict', victims) end
    local record, pointer = session_read_head(victim.record_key, victim.keys.connection, victim.connection, now)
    -- A record that was lost, cannot be read or was made again for another user leaves a dead entry in this
    -- user's index.
    if record and record.kind == RECORD_LIVE and record.user == user then
      if session_need(record, user, victim.connection, victim.node) then return nil, limit_need('evict', victims) end
      if bulk_full(freed, record.size, BULK_FREED) then return nil, limit_need('remove', victims) end
      freed = freed + record.size
      victim.live, victim.pointer = record, pointer
    end
  end
  return victims
end

-- Evicts the victims, writes their events, and appends their ids to the reply. A dead entry is only dropped.
local function limit_evict(victims, declared, op_id, tombstone, now, reply, tell)
  for _, id in ipairs(victims) do
    local victim = declared[id]
    if victim.live then
      session_try(victim.record_key)
      session_clear(victim.keys, id, victim.live, victim.pointer, now)
      session_tell(tell, victim.stream, 'ended', 'evicted', id, victim.live, victim.live.version + 1)
      record_leave(victim.record_key, victim.live, op_id, RECORD_DELETED, '', tombstone, now)
      reply[#reply + 1] = id
    else
      redis.call('ZREM', victim.keys.user, id)
    end
  end
  return reply
end

-- The same reply for a repeated call: the sessions that it evicted the first time.
local function limit_evicted(declared, op_id, now, reply)
  for _, id in ipairs(declared) do
    local record = record_read_head(declared[id].record_key, now)
    if record and record.kind == RECORD_DELETED and record_version_of(record, op_id) then reply[#reply + 1] = id end
  end
  return reply
end
