--[[
  delete: remove a live session with every index entry and leave a tombstone.

  KEYS[1]  record        string  {ns:p}:session:<id>
  KEYS[2]  expiry        zset    {ns:p}:expiry
  KEYS[3]  user          zset    {ns:p}:user:<user>:sessions
  KEYS[4]  connection    string  {ns:p}:connection:<connection>:session
  KEYS[5]  node          zset    {ns:p}:node:<node>:sessions
  ARGV[1]  now_ms        integer, empty for the server's clock
  ARGV[2]  op_id         8 bytes, may be empty
  ARGV[3]  id            text
  ARGV[4]  user          text, may be empty
  ARGV[5]  connection    text, may be empty
  ARGV[6]  node          text, may be empty
  ARGV[7]  tombstone_ms  integer

  Replies
    {"ok", version}    the version of the tombstone
    {"missing"}        no live session; an expired one is left to the reaper
    {"moved", new_id}
    {"need", "routing", user, connection, node}
    {"corrupt", key}
  Writes: all of the keys, or nothing.
  Again:  same op_id → same reply, while the tombstone lasts.
  Uses:   args, clock, typed, record, index, session
]]

if #KEYS ~= 5 or #ARGV ~= 7 then return redis.error_reply('ERR cloakroom delete: 5 KEYS and 7 ARGV') end
local record_key, expiry_key, user_key, connection_key, node_key = unpack(KEYS)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local now = clock_now(ARGV[1])
local op_id, id = args_op_id(ARGV[2]), args_id(ARGV[3])
local user, connection, node = args_names(ARGV[4], ARGV[5], ARGV[6])
local tombstone = args_integer(ARGV[7], 'tombstone_ms', 1)

local record, pointer, foreign = session_read(record_key, connection_key, connection)
local first = record and record.kind == RECORD_DELETED and record_version_of(record, op_id)
if first then return { 'ok', first } end
-- A logout that comes with the id from before the login is a logout all the same.
if record and record.kind == RECORD_DELETED and record.body ~= '' then return { 'moved', record.body } end
local refusal = record_refusal(record, foreign == 'record', now) or session_need(record, user, connection, node)
if refusal then return refusal end
if foreign then return { 'corrupt', foreign } end
refusal = session_remove(keys, id, record, pointer, now)
if refusal then return refusal end
record_leave(record_key, record, op_id, RECORD_DELETED, '', tombstone)
return { 'ok', record.version }
