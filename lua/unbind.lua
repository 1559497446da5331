--[[
  unbind: detach a connection and its node from a live session, which is then suspended. Only if the session still
  has that connection: the late disconnect of an old one does nothing.

  KEYS[1]  record      string  {ns:p}:session:<id>
  KEYS[2]  connection  string  {ns:p}:connection:<connection>:session
  KEYS[3]  node        zset    {ns:p}:node:<node>:sessions
  KEYS[4]  as_lease    string  {ns:p}:node:<as_node>:lease
  ARGV[1]  now_ms      integer from 0; empty: the server's clock
  ARGV[2]  op_id       8 bytes; empty: none
  ARGV[3]  bound_ms    integer from 0; empty: none; a time of the server from before the call began
  ARGV[4]  id          text of 1 to 128 bytes
  ARGV[5]  connection  text of 1 to 256 bytes
  ARGV[6]  node        text of up to 256 bytes; empty: none
  ARGV[7]  as_node     text of up to 256 bytes; empty: none; the node that makes the call
  ARGV[8]  lease_id    8 bytes; empty: none; its lease

  Replies
    {"ok", version, new_id?}  the new id if it was rotated since this change
    {"unchanged", version}    the session has another connection, or none
    {"unsure", now}           unknown whether it has happened; nothing was written now
    {"missing"}
    {"rotated"}               a login gave it a newer id, which is not revealed
    {"moved", new_id}         call again with it, once
    {"departed", place}       it has departed to that place
    {"frozen"}
    {"fenced"}                as_node lacks its lease, or the session is another node's
    {"need", "routing", user, connection, node}
    {"corrupt", key}
  Writes: record, connection, node.
  Events: unbound.
  Again:  same op_id → ok, with the version that it made, while its change is one of the session's last four; then
          unsure.
  Uses:   event, args, clock, permission, typed, freeze, record, index, session, lease, change
]]

local stream_at, tell = event_call()
local record_key, connection_key, node_key, as_lease_key = unpack(KEYS)
local now = clock_now(ARGV[1])
local op_id, bound = args_operation(ARGV[2], ARGV[3])
local id = args_id(ARGV[4])
local connection, node = args_required(ARGV[5], 'connection'), args_name(ARGV[6], 'node')
local as_node, lease = args_name(ARGV[7], 'as_node'), args_optional_token(ARGV[8], 'lease_id')

local record, refusal, first, noted = record_for_change(record_key, op_id, bound, now)
if first then return { 'ok', first, record_moved_to(noted) } end
if not record then return refusal end
if record.connection ~= connection then return { 'unchanged', record.version } end
refusal = change_refusal(record, record.node, as_lease_key, as_node, lease, now)
  or session_need(record, record.user, connection, node)
if refusal then return refusal end
local pointer, foreign = index_pointer(connection_key)
if foreign then return { 'corrupt', 'connection' } end
if node ~= '' and index_foreign(node_key) then return { 'corrupt', 'node' } end

permission_ask()
if pointer == id then redis.call('DEL', connection_key) end
session_detach(record_key, node_key, id, record, op_id, now, tell, stream_at + 2, 'unbound')
return { 'ok', record.version }
