--[[
  patch: set and remove single attributes and extensions of a live session, its status, its ttl.

  KEYS[1]   record         string  {ns:p}:session:<id>
  KEYS[2]   expiry         zset    {ns:p}:expiry
  KEYS[3]   user           zset    {ns:p}:user:<user>:sessions
  KEYS[4]   connection     string  {ns:p}:connection:<connection>:session
  KEYS[5]   node           zset    {ns:p}:node:<node>:sessions
  KEYS[6]   as_lease       string  {ns:p}:node:<as_node>:lease
  ARGV[1]   now_ms         integer; empty: the server's clock
  ARGV[2]   op_id          8 bytes; empty: none
  ARGV[3]   bound_ms       integer; empty: none; a time of the server's from before the call began
  ARGV[4]   id             text
  ARGV[5]   user           text; empty: none
  ARGV[6]   connection     text; empty: none
  ARGV[7]   node           text; empty: none
  ARGV[8]   version        integer; empty: any
  ARGV[9]   status         word: active, suspended; empty: as it is
  ARGV[10]  ttl_ms         integer; empty: as it is
  ARGV[11]  grace_ms       integer; default: 3600000
  ARGV[12]  entries_bytes  integer; default: 262144; the most that all entries may take
  ARGV[13]  entries_most   integer; default: 1024; how many entries there may be at most, and how many changes
  ARGV[14]  as_node        text; empty: none; the node that writes as the owner
  ARGV[15]  lease_id       8 bytes; empty: none; its lease
  ARGV[16]  changes        entries; empty: none; an empty value removes

  Replies
    {"ok", version, last_active, expires_at, new_id?}  the id if it was rotated since it made this change
    {"unchanged", version, last_active, expires_at}    it was so already; nothing was written
    {"unsure", now}                                    whether it has happened is not known; nothing was written now
    {"missing"}
    {"moved", new_id}                                  call again with it, once
    {"departed", place}                                it has gone to that place
    {"frozen"}
    {"taken"}                                          as_node does not hold its lease, or not the session
    {"conflict", version}                              the session moved on
    {"limit", bytes, entries}                          the entries would take that many bytes, and be so many
    {"need", "routing", user, connection, node}        asked only where a new ttl touches the indexes
    {"corrupt", key}
  Writes: record; with a new ttl all of the keys; or nothing.
  Again:  same op_id → same reply.
  Uses:   args, clock, permission, typed, freeze, record, entries, index, session, lease
]]

if #KEYS ~= 6 or #ARGV ~= 16 then return redis.error_reply('ERR cloakroom patch: 6 KEYS and 16 ARGV') end
local record_key, expiry_key, user_key, connection_key, node_key, as_lease_key = unpack(KEYS)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local now = clock_now(ARGV[1])
local op_id, bound = args_operation(ARGV[2], ARGV[3])
local id = args_id(ARGV[4])
local user, connection, node = args_names(ARGV[5], ARGV[6], ARGV[7])
local version = args_optional_integer(ARGV[8], 'version', 1)
local status = ARGV[9] ~= '' and record_status(ARGV[9]) or nil
local ttl = args_optional_integer(ARGV[10], 'ttl_ms', 1)
local grace, entries_bytes = args_integer(ARGV[11], 'grace_ms', 1), args_integer(ARGV[12], 'entries_bytes', 0)
local entries_most = args_integer(ARGV[13], 'entries_most', 0)
local as_node, lease = args_name(ARGV[14]), args_optional_token(ARGV[15], 'lease_id')
local changes = entries_argument(ARGV[16], 'changes', true, entries_most)

local record, refusal, first, noted = record_for_change(record_key, op_id, bound, now)
if first then return { 'ok', first, noted.last_active, noted.expires_at, record_moved_to(noted) } end
if not record then return refusal end
refusal = lease_fence(as_lease_key, as_node, lease, record.node, now)
if refusal then return refusal end
if record.status == RECORD_MIGRATING then return { 'frozen' } end
if version and version ~= record.version then return { 'conflict', record.version } end
local body, count, before = entries_changed(record.body, changes)
if not body then return { 'corrupt', 'record' } end
if (#body > entries_bytes and #body > #record.body) or (count > entries_most and count > before) then
  return { 'limit', #body, count }
end
local new_ttl = ttl and ttl ~= record.ttl
if body == record.body and (status or record.status) == record.status and not new_ttl then
  return { 'unchanged', record.version, record.last_active, record.expires_at }
end
if new_ttl then
  refusal = session_need(record, user, connection, node) or session_foreign(keys, record)
  if refusal then return refusal end
end

record.body, record.status = body, status or record.status
record_change(record, op_id, now)
if new_ttl then
  permission_ask()
  record_set_ttl(record, ttl, now)
  session_reschedule(keys, id, record, grace, now)
end
record_store(record_key, record, now)
return { 'ok', record.version, record.last_active, record.expires_at }
