--[[
  create_many: make many sessions at one instant, each as create makes it, if nothing is in its way.

  KEYS[1]   expiry       zset     {ns:p}:expiry
  KEYS[2+]  session      group    {ns:p}:session:<id> {ns:p}:user:<user>:sessions
                                  {ns:p}:connection:<connection>:session {ns:p}:node:<node>:sessions; at most 100
  ARGV[1]   now_ms        integer; empty: the server's clock
  ARGV[2]   bound_ms      integer; empty: none; a time of the server's from before the call began
  ARGV[3]   lifetime_ms   integer; 0: none; default: 0
  ARGV[4]   grace_ms      integer; default: 3600000
  ARGV[5]   tombstone_ms  integer; default: 30000
  ARGV[6+]  session       group    id (utf-8), user (utf-8; empty: none), connection (utf-8; empty: none),
                                  node (utf-8; empty: none), op_id (8 bytes; empty: none),
                                  status (word: active, suspended; default: active),
                                  ttl_ms (integer; default: 1800000), entries (entries; empty: none)

  Replies
    {"ok", created_at, place...}
      All are made, at version 1 and last used at created_at, but those at these places in the group, from 1 on:
      something is in their way, or foreign, or they are here already, or the call comes too late to tell. Run
      create for each of those, with its op_id, which answers what it is. A session expires its ttl after created_at, or its lifetime if that is shorter.
      How many sessions a user has is not looked at: where that has a limit, run create.
  Writes: all of the keys of each session that it makes.
  Again:  the same state; it names all that it made, and create knows those by op_id.
  Uses:   args, clock, permission, typed, freeze, record, entries, index, session
]]

if #KEYS % 4 ~= 1 or #KEYS > 401 or #ARGV ~= #KEYS * 2 + 3 then
  return redis.error_reply('ERR cloakroom create_many: 1 KEYS and 5 ARGV, and 4 KEYS and 8 ARGV a session, at most 100')
end
local expiry_key = KEYS[1]
local now, bound = clock_now(ARGV[1]), args_optional_integer(ARGV[2], 'bound_ms', 0)
local lifetime, grace = args_integer(ARGV[3], 'lifetime_ms', 0), args_integer(ARGV[4], 'grace_ms', 1)
local tombstone = args_integer(ARGV[5], 'tombstone_ms', 1)
local sessions = {}
for place = 1, (#KEYS - 1) / 4 do
  local record_key, user_key, connection_key, node_key = unpack(KEYS, place * 4 - 2, place * 4 + 1)
  local id, user, connection, node, op_id, status, ttl, entries = unpack(ARGV, place * 8 - 2, place * 8 + 5)
  id, user, connection, node = args_id(id), args_names(user, connection, node)
  args_stored(id, user, connection, node)
  ttl = args_integer(ttl, 'ttl_ms', 1)
  local _, listed = entries_argument(entries, 'entries')
  op_id = args_optional_token(op_id, 'op_id')
  sessions[place] = {
    id = id, record_key = record_key,
    keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key },
    record = record_new(record_status(status), user, connection, node, entries, listed, ttl,
      lifetime, op_id, now),
    stale = args_stale(op_id, bound, tombstone, now),
  }
end

-- All arguments are checked by now: what is foreign to one session is taken back, and nothing else can fail after a write.
permission_ask()
local reply = { 'ok', now }
for place, session in ipairs(sessions) do
  local record_key, keys, id, record = session.record_key, session.keys, session.id, session.record
  -- What an earlier one of the batch wrote is in the way too.
  local vacant, fresh = session_vacant(record_key, keys, record.node)
  if not vacant or session.stale or session_make(record_key, keys, id, record, grace, now, fresh) then reply[#reply + 1] = place end
end
return reply
