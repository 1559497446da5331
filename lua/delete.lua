--[[
  delete: remove a live session with every index entry and leave a tombstone.

  KEYS[1]   record        string  {ns:p}:session:<id>
  KEYS[2]   expiry        zset    {ns:p}:expiry
  KEYS[3]   user          zset    {ns:p}:user:<user>:sessions
  KEYS[4]   connection    string  {ns:p}:connection:<connection>:session
  KEYS[5]   node          zset    {ns:p}:node:<node>:sessions
  KEYS[6]   as_lease      string  {ns:p}:node:<as_node>:lease
  ARGV[1]   now_ms        integer from 0; empty: the server's clock
  ARGV[2]   op_id         8 bytes; empty: none
  ARGV[3]   id            text of 1 to 128 bytes
  ARGV[4]   user          text of up to 256 bytes; empty: none
  ARGV[5]   connection    text of up to 256 bytes; empty: none
  ARGV[6]   node          text of up to 256 bytes; empty: none
  ARGV[7]   tombstone_ms  integer from 1; default: 30000
  ARGV[8]   version       integer from 0; empty: any; only at this version, and unless it is frozen
  ARGV[9]   new_id        utf-8 of 1 to 128 bytes; empty: none; its id from now on: the tombstone leads a
                          later logout there
  ARGV[10]  as_node       text of up to 256 bytes; empty: none; the node that makes the call
  ARGV[11]  lease_id      8 bytes; empty: none; its lease

  Replies
    {"ok", version}        the version of the tombstone
    {"missing"}            no live session; an expired one is left to the reaper
    {"rotated"}            a new_id was named, but another login gave it a newer id
    {"moved", new_id}      call again with it, once
    {"conflict", version}  it is at another version than the one that was named
    {"frozen"}             a migration has frozen it, and a version was named
    {"fenced"}             as_node lacks its lease, or the session is another node's
    {"departed", place}    it has departed to that place
    {"need", "routing", user, connection, node}
    {"corrupt", key}
  Writes: record, expiry, user, connection, node.
  Events: ended (deleted); or (login), with the new id.
  Again:  same op_id → same reply, while the tombstone lasts; then missing.
  Uses:   event, args, clock, permission, typed, freeze, record, index, session, lease
]]

local stream_at, tell = event_call()
local record_key, expiry_key, user_key, connection_key, node_key, as_lease_key = unpack(KEYS)
local now_ms, op_id, id, user, connection, node, tombstone_ms, version_wanted, new_id, as_node, lease_id = unpack(ARGV)

-- Ordinarily: a live session that no migration has touched. Uncertain cases, and arguments that are not plainly
-- right, are left to the form below; nothing is written by then.
local may, now, tombstone = redis.acl_check_cmd, tonumber(now_ms), tonumber(tombstone_ms)
if may and version_wanted .. new_id .. as_node .. lease_id == '' and #op_id == ARGS_TOKEN_SIZE
  and op_id ~= '\0\0\0\0\0\0\0\0'
  and not (now_ms .. tombstone_ms):find('%D') and (not now or now <= ARGS_MOST)
  and tombstone and tombstone <= ARGS_MOST and tombstone_ms:byte() > 48 -- no zeros before it: so SET takes it
  and id ~= '' and #id <= 128 and #user <= 256 and #connection <= 256 and #node <= 256 then
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
  end
  -- The header, and names of usual length.
  local raw = redis.pcall('GETRANGE', record_key, '0', '255')
  local pointer = connection ~= '' and redis.pcall('GET', connection_key)
  if type(raw) == 'string' and #raw >= RECORD_HEADER_SIZE and type(pointer) ~= 'table' then
    local format, kind, state, user_size, connection_size, node_size, _, _, _, op_ids, changed_at, gap, second_gap, _,
      version, created_at, ttl, deadline, last_active, expires_at, stored_until = struct.unpack(RECORD_HEADER, raw)
    local names, found = user .. connection .. node, user_size + connection_size + node_size
    local is_plain = format == RECORD_FORMAT and kind == RECORD_LIVE and state >= RECORD_ACTIVE
      and state < RECORD_MIGRATING and expires_at > now and stored_until >= expires_at
      and RECORD_HEADER_SIZE + found <= #raw
    local is_named = user_size == #user and connection_size == #connection and node_size == #node
      and raw:sub(RECORD_HEADER_SIZE + 1, RECORD_HEADER_SIZE + found) == names
    if is_plain and not is_named then
      local user_end = RECORD_HEADER_SIZE + user_size
      local connection_end = user_end + connection_size
      return { 'need', 'routing', raw:sub(RECORD_HEADER_SIZE + 1, user_end), raw:sub(user_end + 1, connection_end),
        raw:sub(connection_end + 1, connection_end + node_size) }
    end
    -- Redis does not undo earlier writes when it refuses a command, and 6.2 cannot be asked. If it refuses ZREM, there
    -- is nothing to undo.
    if is_plain and may('DEL', record_key) and may('SET', record_key) then
      local expiry = redis.pcall('ZREM', expiry_key, id)
      local member = type(expiry) ~= 'table' and (user == '' or redis.pcall('ZREM', user_key, id))
      local placed = member and type(member) ~= 'table' and (node == '' or redis.pcall('ZREM', node_key, id))
      if placed and type(placed) ~= 'table' then
        if pointer == id then redis.call('DEL', connection_key) end
        local since = 0
        if now > changed_at then since, changed_at = now - changed_at, now end
        if since > RECORD_GAP_MOST then since = RECORD_GAP_MOST end
        if tell then tell(stream_at + 2, nil, 'ended', 'deleted', id, user, connection, node, version + 1) end
        redis.call('SET', record_key, struct.pack(RECORD_HEADER, RECORD_FORMAT, RECORD_DELETED, state, 0, 0, 0, 0, 0, 0,
          op_id .. op_ids, changed_at, since, gap, second_gap, version + 1, created_at, ttl, deadline, last_active,
          expires_at, now + tombstone), 'PX', tombstone_ms)
        return { 'ok', version + 1 }
      end
      -- An index has a foreign type. Earlier indexes get the session back. The form below finds the foreign one again,
      -- and sets the TTL of an index whose last member this was.
      if expiry == 1 then redis.call('ZADD', expiry_key, expires_at, id) end
      if member == 1 then redis.call('ZADD', user_key, created_at, id) end
    end
  end
end

-- Otherwise:
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local now = clock_now(now_ms)
args_optional_token(op_id, 'op_id')
args_id(id)
args_names(user, connection, node)
local tombstone = args_integer(tombstone_ms, 'tombstone_ms', 1)
local wanted = args_optional_integer(version_wanted, 'version', 0)
if new_id ~= '' then args_stored(args_id(new_id, 'new_id'), '', '', '', 'new_id') end
args_name(as_node, 'as_node')
args_optional_token(lease_id, 'lease_id')

local record, pointer, foreign = session_read_head(record_key, connection_key, connection, now)
local first = record and record.kind == RECORD_DELETED and record_version_of(record, op_id)
if first then return { 'ok', first } end
-- A logout under the id from before the login counts too; another login does not.
if record and record.kind == RECORD_DELETED and record.body ~= '' and new_id == '' then
  return { 'moved', record.body }
end
local refusal = record_refusal(record, foreign == 'record', now)
  or lease_fence(as_lease_key, as_node, lease_id, record.node, now)
if refusal then return refusal end
if wanted and record.version ~= wanted then return { 'conflict', record.version } end
if wanted and record.status == RECORD_MIGRATING then return { 'frozen' } end
refusal = session_need(record, user, connection, node)
if refusal then return refusal end
if foreign then return { 'corrupt', foreign } end
permission_ask(session_unindex_undo)
refusal = session_remove(record_key, keys, id, record, pointer, now)
if refusal then return refusal end
session_tell(tell, stream_at + 2, 'ended', new_id == '' and 'deleted' or 'login', id, record, record.version + 1,
  new_id ~= '' and new_id or nil)
record_leave(record_key, record, op_id, RECORD_DELETED, new_id, tombstone, now)
return { 'ok', record.version }
