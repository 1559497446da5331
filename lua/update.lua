--[[
  update: save a whole session against the version it was read at, moving the index entries that changed.

  KEYS[1]   record          string  {ns:p}:session:<id>
  KEYS[2]   expiry          zset    {ns:p}:expiry
  KEYS[3]   user            zset    {ns:p}:user:<user>:sessions
  KEYS[4]   connection      string  {ns:p}:connection:<connection>:session
  KEYS[5]   node            zset    {ns:p}:node:<node>:sessions
  KEYS[6]   new_user        zset    {ns:p}:user:<new_user>:sessions
  KEYS[7]   new_connection  string  {ns:p}:connection:<new_connection>:session
  KEYS[8]   new_node        zset    {ns:p}:node:<new_node>:sessions
  KEYS[9]   holder_record   string  {ns:p}:session:<holder_id|id>
  KEYS[10]  as_lease        string  {ns:p}:node:<as_node>:lease
  ARGV[1]   now_ms          integer from 0; empty: the server's clock
  ARGV[2]   op_id           8 bytes; empty: none
  ARGV[3]   bound_ms        integer from 0; empty: none; a time of the server from before the call began
  ARGV[4]   id              text of 1 to 128 bytes
  ARGV[5]   user            text of up to 256 bytes; empty: none
  ARGV[6]   connection      text of up to 256 bytes; empty: none
  ARGV[7]   node            text of up to 256 bytes; empty: none
  ARGV[8]   version         integer from 1
  ARGV[9]   new_user        utf-8 of up to 256 bytes; empty: none
  ARGV[10]  new_connection  utf-8 of up to 256 bytes; empty: none
  ARGV[11]  new_node        utf-8 of up to 256 bytes; empty: none
  ARGV[12]  holder_id       text; empty: none
  ARGV[13]  status          word: active, suspended
  ARGV[14]  ttl_ms          integer from 1 to 315360000000
  ARGV[15]  threshold       integer from 1 to 1000; default: 500; thousandths of ttl: extend when less is left
  ARGV[16]  touch_ms        integer from 0; default: 0; note no use when the last one is less than this ago
  ARGV[17]  grace_ms        integer from 1; default: 3600000
  ARGV[18]  as_node         text of up to 256 bytes; empty: none; the node that makes the call
  ARGV[19]  lease_id        8 bytes; empty: none; its lease
  ARGV[20]  entries         entries of up to 15728640 bytes; empty: none

  Replies
    {"ok", version, last_active, expires_at, new_id?}  the new id if it was rotated since this change
    {"unsure", now}                                    unknown whether it has happened; nothing was written now
    {"missing"}
    {"rotated"}                                        a login gave it a newer id, which is not revealed
    {"moved", new_id}                                  call again with it, once
    {"departed", place}                                it has departed to that place
    {"frozen"}
    {"conflict", version}                              the session moved on
    {"fenced"}                                         as_node lacks its lease, or the session is another node's
    {"taken", holder_id}                               another live session has the new connection: this one
    {"need", "routing", user, connection, node}
    {"need", "holder", holder_id, holder_node}         the new connection points to this session
    {"need", "reap", id}                               run reap for it: it has expired and is in the way
    {"corrupt", key}
  Writes: record; rarely expiry, user, connection, node, new_user, new_connection, new_node.
  Events: updated, if user, connection, node or status changed.
  Again:  same op_id → ok, with the version that it made and the times as they are now, while its change is one of the
          session's last four; then unsure.
  Uses:   event, args, clock, permission, typed, freeze, record, entries, index, session, lease, change
]]

local stream_at, tell = event_call()
local record_key, expiry_key, user_key, connection_key, node_key, new_user_key, new_connection_key, new_node_key,
  holder_key, as_lease_key = unpack(KEYS)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local new_keys = { expiry = expiry_key, user = new_user_key, connection = new_connection_key, node = new_node_key,
  prefix = 'new_' }
local now = clock_now(ARGV[1])
local op_id, bound = args_operation(ARGV[2], ARGV[3])
local id = args_id(ARGV[4])
local user, connection, node = args_names(ARGV[5], ARGV[6], ARGV[7])
local version = args_integer(ARGV[8], 'version', 1)
local new_user, new_connection, new_node = args_names(ARGV[9], ARGV[10], ARGV[11], 'new_')
args_stored(new_user, new_connection, new_node, '', 'new_user new_connection new_node')
local holder_id = ARGV[12]
local status = record_status(ARGV[13])
local ttl, threshold = args_integer(ARGV[14], 'ttl_ms', 1, ARGS_TTL_MOST), args_integer(ARGV[15], 'threshold', 1, 1000)
local touch, grace = args_integer(ARGV[16], 'touch_ms', 0), args_integer(ARGV[17], 'grace_ms', 1)
local as_node, lease = args_name(ARGV[18], 'as_node'), args_optional_token(ARGV[19], 'lease_id')
local entries, listed = entries_argument(ARGV[20], 'entries')

local record, refusal, first, noted =
  change_begin(record_key, op_id, bound, nil, as_lease_key, as_node, lease, now)
if first then return { 'ok', first, noted.last_active, noted.expires_at, record_moved_to(noted) } end
if not record then return refusal end
if version ~= record.version then return { 'conflict', record.version } end
local old = { user = record.user, connection = record.connection, node = record.node }
refusal = session_need(record, user, connection, node)
if not refusal and new_connection ~= '' and new_connection ~= connection then
  refusal = session_holder('new_connection', new_connection_key, new_connection, id, holder_id, holder_key, now)
end
record.user, record.connection, record.node = new_user, new_connection, new_node
local rerouted = new_user ~= user or new_connection ~= connection or new_node ~= node
local begins, extends = ttl ~= record.ttl, false
if begins then record_begin(record, ttl, nil, now) else extends = record_use(record, threshold, touch, grace, now) end
if not refusal and (rerouted or begins or extends) then
  refusal = session_foreign(keys, old) or session_foreign(new_keys, record)
end
if refusal then return refusal end

if rerouted or begins or extends then permission_ask(index_pointer) end
record_set_entries(record, entries, listed)
local differs = rerouted or record.status ~= status
record.status = status
record_change(record, op_id, now)
if begins or extends then session_reschedule(new_keys, id, record, grace, now) end
if rerouted then session_reroute(keys, new_keys, id, old, record, grace, now) end
if tell and differs then
  tell(stream_at + 3, stream_at + 2, 'updated', '', id, new_user, new_connection, new_node, record.version)
end
record_store(record_key, record, now)
return { 'ok', record.version, record.last_active, record.expires_at }
