--[[
  depart: remove a frozen session whose copy is at the other place: from here on a migration can only go forward.

  KEYS[1]  record      string  {ns:p}:session:<id>
  KEYS[2]  expiry      zset    {ns:p}:expiry
  KEYS[3]  user        zset    {ns:p}:user:<user>:sessions
  KEYS[4]  connection  string  {ns:p}:connection:<connection>:session
  KEYS[5]  node        zset    {ns:p}:node:<node>:sessions
  ARGV[1]  now_ms      integer from 0; empty: the server's clock
  ARGV[2]  task        8 bytes; of the migration
  ARGV[3]  until_ms    integer from 0; the end of the freeze, as freeze replied it: or else the copy may be outdated
  ARGV[4]  id          text of 1 to 128 bytes
  ARGV[5]  user        text of up to 256 bytes; empty: none
  ARGV[6]  connection  text of up to 256 bytes; empty: none
  ARGV[7]  node        text of up to 256 bytes; empty: none

  Replies
    {"ok", version}      the version that it left at
    {"missing"}          it has expired or was deleted meanwhile
    {"rotated"}          a login gave it a newer id, which is not revealed
    {"moved", new_id}    it was thawed and rotated meanwhile
    {"departed", place}  by another task, or by one that has been cleaned up
    {"conflict", version}  that freeze is over, and the session may be changed
    {"need", "routing", user, connection, node}
    {"corrupt", key}
  Writes: record, expiry, user, connection, node.
  Events: departed.
  Again:  same task → same reply, until clean has run for it; then departed.
  Uses:   event, args, clock, permission, typed, freeze, record, index, session, migration
]]

local stream_at, tell = event_call()
local record_key, expiry_key, user_key, connection_key, node_key = unpack(KEYS)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local now = clock_now(ARGV[1])
local task, frozen_until, id = args_token(ARGV[2], 'task'), args_integer(ARGV[3], 'until_ms', 0), args_id(ARGV[4])
local user, connection, node = args_names(ARGV[5], ARGV[6], ARGV[7])

local record, pointer, foreign = session_read_head(record_key, connection_key, connection, now)
if migration_departed(record) == task then return { 'ok', record.version } end
local refusal = record_refusal(record, foreign == 'record', now)
if refusal then return refusal end
if not migration_is(record, FREEZE_OUTGOING, task) or record.freeze.frozen_until ~= frozen_until then
  return { 'conflict', record.version }
end
refusal = session_need(record, user, connection, node)
if refusal then return refusal end
if foreign then return { 'corrupt', foreign } end
permission_ask(session_unindex_undo)
refusal = session_remove(record_key, keys, id, record, pointer, now)
if refusal then return refusal end
session_tell(tell, stream_at + 2, 'departed', '', id, record, record.version)
migration_depart(record_key, record, now)
return { 'ok', record.version }
