--[[
  unbind: detach a connection and its node from a live session, which is then suspended. Only if the session still
  has that connection: the late disconnect of an old one does nothing.

  KEYS[1]  record      string  {ns:p}:session:<id>
  KEYS[2]  connection  string  {ns:p}:connection:<connection>:session
  KEYS[3]  node        zset    {ns:p}:node:<node>:sessions
  KEYS[4]  as_lease    string  {ns:p}:node:<as_node>:lease
  ARGV[1]  now_ms      integer; empty: the server's clock
  ARGV[2]  op_id       8 bytes; empty: none
  ARGV[3]  id          text
  ARGV[4]  connection  text
  ARGV[5]  node        text; empty: none
  ARGV[6]  as_node     text; empty: none; the node that writes as the owner
  ARGV[7]  lease_id    8 bytes; empty: none; its lease

  Replies
    {"ok", version}
    {"unchanged", version}  the session has another connection, or none
    {"missing"}
    {"moved", new_id}       call again with it, once
    {"departed", place}     it has gone to that place
    {"frozen"}
    {"taken"}               as_node does not hold its lease, or not the session
    {"need", "routing", user, connection, node}
    {"corrupt", key}
  Writes: all of the keys, or nothing.
  Again:  same op_id → same reply.
  Uses:   args, clock, permission, typed, record, index, session, lease
]]

if #KEYS ~= 4 or #ARGV ~= 7 then return redis.error_reply('ERR cloakroom unbind: 4 KEYS and 7 ARGV') end
local record_key, connection_key, node_key, as_lease_key = unpack(KEYS)
local now = clock_now(ARGV[1])
local op_id, id = args_optional_token(ARGV[2], 'op_id'), args_id(ARGV[3])
local connection, node = args_name(ARGV[4]), args_name(ARGV[5])
local as_node, lease = args_name(ARGV[6]), args_optional_token(ARGV[7], 'lease_id')

local record, refusal = record_live(record_key, now)
if not record then return refusal end
local first = record_version_of(record, op_id)
if first then return { 'ok', first } end
if record.connection ~= connection then return { 'unchanged', record.version } end
refusal = lease_fence(as_lease_key, as_node, lease, record.node, now)
if refusal then return refusal end
if record.status == RECORD_MIGRATING then return { 'frozen' } end
refusal = session_need(record, record.user, connection, node)
if refusal then return refusal end
local pointer, foreign = index_pointer(connection_key)
if foreign then return { 'corrupt', 'connection' } end
if node ~= '' and index_foreign(node_key) then return { 'corrupt', 'node' } end

permission_ask()
if pointer == id then redis.call('DEL', connection_key) end
session_detach(record_key, node_key, id, record, op_id, now)
return { 'ok', record.version }
