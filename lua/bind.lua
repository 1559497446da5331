--[[
  bind: attach a connection, and the node that holds it, to a live session, and make it active.

  KEYS[1]   record          string  {ns:p}:session:<id>
  KEYS[2]   connection      string  {ns:p}:connection:<connection>:session
  KEYS[3]   node            zset    {ns:p}:node:<node>:sessions
  KEYS[4]   new_connection  string  {ns:p}:connection:<new_connection>:session
  KEYS[5]   new_node        zset    {ns:p}:node:<new_node>:sessions
  KEYS[6]   holder_record   string  {ns:p}:session:<holder_id|id>
  KEYS[7]   holder_node     zset    {ns:p}:node:<holder_node>:sessions
  KEYS[8]   as_lease        string  {ns:p}:node:<as_node>:lease
  KEYS[9]   expiry          zset    {ns:p}:expiry
  KEYS[10]  user            zset    {ns:p}:user:<user>:sessions
  ARGV[1]   now_ms          integer from 0; empty: the server's clock
  ARGV[2]   op_id           8 bytes; empty: none
  ARGV[3]   bound_ms        integer from 0; empty: none; a time of the server from before the call began
  ARGV[4]   id              text of 1 to 128 bytes
  ARGV[5]   connection      text of up to 256 bytes; empty: none
  ARGV[6]   node            text of up to 256 bytes; empty: none
  ARGV[7]   new_connection  utf-8 of 1 to 256 bytes
  ARGV[8]   new_node        utf-8 of up to 256 bytes; empty: none
  ARGV[9]   holder_id       text; empty: none
  ARGV[10]  holder_node     text; empty: none
  ARGV[11]  policy          word: refuse, takeover; default: refuse
  ARGV[12]  user            text of up to 256 bytes; empty: none
  ARGV[13]  threshold       integer from 1 to 1000; default: 500; thousandths of ttl: extend when less is left
  ARGV[14]  touch_ms        integer from 0; default: 0; record no use if the last one is less than this ago
  ARGV[15]  grace_ms        integer from 1; default: 3600000
  ARGV[16]  as_node         text of up to 256 bytes; empty: none; the node that makes the call
  ARGV[17]  lease_id        8 bytes; empty: none; its lease

  Replies
    {"ok", version, connection, node, holder_id}              what the session had before, and who lost the connection
    {"again", version, connection, node, holder_id, new_id?}  it happened before; the new id if it was rotated since
    {"unchanged", version, connection, node, holder_id}       it had it already and nobody lost it; nothing was written
    {"unsure", now}                                           unknown whether it has happened; nothing was written now
    {"missing"}
    {"rotated"}                                               a login gave it a newer id, which is not revealed
    {"moved", new_id}                                         call again with it, once
    {"departed", place}                                       it has departed to that place
    {"frozen"}                                                the session or the holder is frozen
    {"fenced"}                                                as_node lacks its lease, or new_node is another one
    {"taken", holder_id}                                      another live session has the connection: this one
    {"need", "routing", user, connection, node}               the user only if its index must live longer
    {"need", "holder", holder_id, holder_node}                the connection points to this session
    {"need", "reap", id}                                      run reap for it: it has expired and is in the way
    {"corrupt", key}
  Writes: record, connection, node, new_connection, new_node; rarely expiry, user, holder_record, holder_node.
  Events: taken_over, of the session that lost the connection; bound.
  Again:  same op_id → again, with the version that it made and with what this call declares as the session's before,
          while its change is one of the session's last four; then unsure.
  Uses:   event, args, clock, permission, typed, freeze, record, index, session, lease, change
]]

local stream_at, tell = event_call()
local record_key, connection_key, node_key, new_connection_key, new_node_key, holder_key, holder_node_key,
  as_lease_key, expiry_key, user_key = unpack(KEYS)
local now = clock_now(ARGV[1])
local op_id, bound = args_operation(ARGV[2], ARGV[3])
local id = args_id(ARGV[4])
local connection, node = args_name(ARGV[5], 'connection'), args_name(ARGV[6], 'node')
local new_connection, new_node = args_required(ARGV[7], 'new_connection'), args_name(ARGV[8], 'new_node')
args_stored(new_connection, new_node, '', '', 'new_connection new_node')
local holder_id, holder_node = ARGV[9], ARGV[10]
local takeover = args_choice(ARGV[11], 'policy', 'takeover', 'refuse')
local user, threshold = args_name(ARGV[12], 'user'), args_integer(ARGV[13], 'threshold', 1, 1000)
local touch, grace = args_integer(ARGV[14], 'touch_ms', 0), args_integer(ARGV[15], 'grace_ms', 1)
local as_node, lease = args_name(ARGV[16], 'as_node'), args_optional_token(ARGV[17], 'lease_id')
local keys = { user = user_key, connection = connection_key, node = node_key }
local new_keys = { user = user_key, connection = new_connection_key, node = new_node_key }

-- A client may come back at another node, so the session need not be the calling node's yet.
local record, refusal, first, noted =
  change_begin(record_key, op_id, bound, new_node, as_lease_key, as_node, lease, now)
if first then
  -- The declared holder may not have lost it: the pointer to it may have been stale.
  local lost = holder_id ~= '' and record_read(holder_key, now) or nil
  local has_lost = lost and record_version_of(lost, op_id)
  local unsure = lost and not has_lost and record_unsure(lost, op_id, bound, now)
  return unsure or { 'again', first, connection, node, has_lost and holder_id or '', record_moved_to(noted) }
end
if not record then return refusal end
refusal = session_need(record, record.user, connection, node)
if refusal then return refusal end
local holder
refusal, holder = session_holder('new_connection', new_connection_key, new_connection, id, holder_id, holder_key, now)
if refusal and not (holder and takeover) then return refusal end
if holder then
  if holder.status == RECORD_MIGRATING then return { 'frozen' } end
  if holder.node ~= holder_node then return { 'need', 'holder', holder_id, holder.node } end
end
if connection == new_connection and node == new_node and record.status == RECORD_ACTIVE
  and index_pointer(new_connection_key) == id then
  return { 'unchanged', record.version, connection, node, '' }
end
-- The session from which an earlier attempt took it, if a later command of that attempt was refused.
local lost = holder or holder_id ~= '' and record_read(holder_key, now)
if not holder and lost and not record_version_of(lost, op_id) then lost = nil end
local pointer, foreign
if connection ~= '' then pointer, foreign = index_pointer(connection_key) end
if foreign then return { 'corrupt', 'connection' } end
if node ~= '' and index_foreign(node_key) then return { 'corrupt', 'node' } end
if new_node ~= '' and index_foreign(new_node_key) then return { 'corrupt', 'new_node' } end
if holder and holder_node ~= '' and index_foreign(holder_node_key) then return { 'corrupt', 'holder_node' } end
local extends, keeps = record_use(record, threshold, touch, grace, now)
if keeps then
  refusal = session_need(record, user, connection, node)
  if refusal then return refusal end
  if user ~= '' and index_foreign(user_key) then return { 'corrupt', 'user' } end
end
if extends and index_foreign(expiry_key) then return { 'corrupt', 'expiry' } end

-- A lost pointer is written again.
local old = { user = record.user, connection = pointer == id and connection or '', node = node }
record.connection, record.node, record.status = new_connection, new_node, RECORD_ACTIVE
record_change(record, op_id, now)
permission_ask(index_pointer)
if holder then
  session_detach(holder_key, holder_node_key, holder_id, holder, op_id, now, tell, stream_at + 4, 'taken_over')
end
if keeps then record_keep(record, grace) end
if extends then index_expiry(expiry_key, id, record, grace, now, keeps) end
session_reroute(keys, new_keys, id, old, record, grace, now)
if keeps then session_keep(new_keys, record, grace, now) end
if tell then
  tell(stream_at + 3, stream_at + 2, 'bound', '', id, record.user, new_connection, new_node, record.version)
end
record_store(record_key, record, now)
return { 'ok', record.version, connection, node, lost and holder_id or '' }
