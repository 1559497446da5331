--[[
  delete_user: remove a batch of a user's sessions with every index entry, and leave tombstones.

  KEYS[1]   expiry        zset   {ns:p}:expiry
  KEYS[2]   user          zset   {ns:p}:user:<user>:sessions
  KEYS[3+]  session       group  record string {ns:p}:session:<id>,
                                 connection string {ns:p}:connection:<connection>:session,
                                 node zset {ns:p}:node:<node>:sessions; at most 200
  ARGV[1]   now_ms        integer from 0; empty: the server's clock
  ARGV[2]   op_id         8 bytes; empty: none
  ARGV[3]   user          text of 1 to 256 bytes
  ARGV[4]   tombstone_ms  integer from 1; default: 30000
  ARGV[5+]  session       group  id (text), connection (text; empty: none), node (text; empty: none)

  Replies
    {"ok", removed, stale, corrupt, left, removed*id, stale*id, corrupt*id}
      how many of each kind, then the ids by kind. Stale: the connection or node is another now.
      An entry without a session of this user is dropped and in no list. Left: this many at the end of
      the group were not looked at, because those before were large; call again for them.
    {"corrupt", key}
  Writes: expiry, user, session_record, session_connection, session_node.
  Events: ended (deleted).
  Again:  same op_id → the same ids as removed, while the tombstones last; then they are in none.
  Uses:   event, args, clock, permission, typed, freeze, record, index, session, bulk
]]

local member_count, stream_at, tell = event_call_members()
local expiry_key, user_key = unpack(KEYS, 1, 2)
local now = clock_now(ARGV[1])
local op_id, user = args_optional_token(ARGV[2], 'op_id'), args_required(ARGV[3], 'user')
local tombstone = args_integer(ARGV[4], 'tombstone_ms', 1)
if index_foreign(expiry_key) then return { 'corrupt', 'expiry' } end
if index_foreign(user_key) then return { 'corrupt', 'user' } end

permission_ask()
local removed, stale, corrupt, left, freed, seen = {}, {}, {}, 0, 0, {}
for place = 1, member_count do
  local at = place * 3
  local record_key, connection_key, node_key = unpack(KEYS, at, at + 2)
  local id, connection, node = unpack(ARGV, at + 2, at + 4)
  local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
  local record, pointer, foreign = session_read_head(record_key, connection_key, connection, now)
  local is_named_again = seen[id]
  seen[id] = true
  if is_named_again then
    -- Once is enough.
  elseif foreign then
    corrupt[#corrupt + 1] = id
  elseif record and record.kind == RECORD_DELETED and record_version_of(record, op_id) then
    removed[#removed + 1] = id
  elseif not record or record.kind ~= RECORD_LIVE or record.user ~= user then
    redis.call('ZREM', user_key, id)
  elseif session_need(record, user, connection, node) then
    stale[#stale + 1] = id
  elseif bulk_full(freed, record.size, BULK_FREED) then
    left = member_count - place + 1
    break
  elseif session_remove(record_key, keys, id, record, pointer, now) then
    corrupt[#corrupt + 1] = id
  else
    session_tell(tell, stream_at + 1 + place, 'ended', 'deleted', id, record, record.version + 1)
    record_leave(record_key, record, op_id, RECORD_DELETED, '', tombstone, now)
    removed[#removed + 1] = id
    freed = freed + record.size
  end
end
local reply = { 'ok', #removed, #stale, #corrupt, left }
for _, ids in ipairs({ removed, stale, corrupt }) do
  for _, id in ipairs(ids) do reply[#reply + 1] = id end
end
return reply
