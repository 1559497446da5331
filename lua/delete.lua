--[[
  delete: remove a live session with every index entry and leave a tombstone.

  KEYS[1]  record        string  {ns:p}:session:<id>
  KEYS[2]  expiry        zset    {ns:p}:expiry
  KEYS[3]  user          zset    {ns:p}:user:<user>:sessions
  KEYS[4]  connection    string  {ns:p}:connection:<connection>:session
  KEYS[5]  node          zset    {ns:p}:node:<node>:sessions
  KEYS[6]  as_lease      string  {ns:p}:node:<as_node>:lease
  ARGV[1]  now_ms        integer; empty: the server's clock
  ARGV[2]  op_id         8 bytes; empty: none
  ARGV[3]  id            text
  ARGV[4]  user          text; empty: none
  ARGV[5]  connection    text; empty: none
  ARGV[6]  node          text; empty: none
  ARGV[7]  tombstone_ms  integer; default: 30000
  ARGV[8]  as_node       text; empty: none; the node that writes as the owner
  ARGV[9]  lease_id      8 bytes; empty: none; its lease

  Replies
    {"ok", version}    the version of the tombstone
    {"missing"}        no live session; an expired one is left to the reaper
    {"moved", new_id}  call again with it, once
    {"taken"}          as_node does not hold its lease, or not the session
    {"departed", place}  it has gone to that place
    {"need", "routing", user, connection, node}
    {"corrupt", key}
  Writes: all of the keys, or nothing.
  Again:  same op_id → same reply, while the tombstone lasts.
  Uses:   args, clock, permission, typed, freeze, record, index, session, lease
]]

if #KEYS ~= 6 or #ARGV ~= 9 then return redis.error_reply('ERR cloakroom delete: 6 KEYS and 9 ARGV') end
local record_key, expiry_key, user_key, connection_key, node_key, as_lease_key = unpack(KEYS)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local now = clock_now(ARGV[1])
local op_id, id = args_optional_token(ARGV[2], 'op_id'), args_id(ARGV[3])
local user, connection, node = args_names(ARGV[4], ARGV[5], ARGV[6])
local tombstone = args_integer(ARGV[7], 'tombstone_ms', 1)
local as_node, lease = args_name(ARGV[8]), args_optional_token(ARGV[9], 'lease_id')

local record, pointer, foreign = session_read_head(record_key, connection_key, connection, now)
local first = record and record.kind == RECORD_DELETED and record_version_of(record, op_id)
if first then return { 'ok', first } end
-- A logout that comes with the id from before the login is a logout all the same.
if record and record.kind == RECORD_DELETED and record.body ~= '' then return { 'moved', record.body } end
local refusal = record_refusal(record, foreign == 'record', now)
  or lease_fence(as_lease_key, as_node, lease, record.node, now) or session_need(record, user, connection, node)
if refusal then return refusal end
if foreign then return { 'corrupt', foreign } end
permission_ask(session_unindex_undo)
refusal = session_remove(record_key, keys, id, record, pointer, now)
if refusal then return refusal end
record_leave(record_key, record, op_id, RECORD_DELETED, '', tombstone, now)
return { 'ok', record.version }
