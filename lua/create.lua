--[[
  create: make a session with its user, connection, node and expiry entries, all or none.

  KEYS[1]   record         string  {ns:p}:session:<id>
  KEYS[2]   expiry         zset    {ns:p}:expiry
  KEYS[3]   user           zset    {ns:p}:user:<user>:sessions
  KEYS[4]   connection     string  {ns:p}:connection:<connection>:session
  KEYS[5]   node           zset    {ns:p}:node:<node>:sessions
  KEYS[6]   holder_record  string  {ns:p}:session:<holder_id|id>
  KEYS[7]   as_lease       string  {ns:p}:node:<as_node>:lease
  KEYS[8+]  victim         group   {ns:p}:session:<id> {ns:p}:connection:<connection>:session
                                   {ns:p}:node:<node>:sessions; at most 200; those to evict
  ARGV[1]   now_ms         integer; empty: the server's clock
  ARGV[2]   op_id          8 bytes; empty: none
  ARGV[3]   bound_ms       integer; empty: none; a time of the server's from before the call began
  ARGV[4]   id             utf-8
  ARGV[5]   user           utf-8; empty: none
  ARGV[6]   connection     utf-8; empty: none
  ARGV[7]   node           utf-8; empty: none
  ARGV[8]   holder_id      text; empty: none
  ARGV[9]   status         word: active, suspended; default: active
  ARGV[10]  ttl_ms         integer; default: 1800000
  ARGV[11]  lifetime_ms    integer; 0: none; default: 0
  ARGV[12]  grace_ms       integer; default: 3600000
  ARGV[13]  tombstone_ms   integer; default: 30000
  ARGV[14]  limit          integer; 0: none; default: 0
  ARGV[15]  policy         word: reject, evict; default: reject
  ARGV[16]  as_node        text; empty: none; the node that writes as the owner
  ARGV[17]  lease_id       8 bytes; empty: none; its lease
  ARGV[18]  entries        entries; empty: none
  ARGV[19+] victim         group   id, connection, node

  Replies
    {"ok", version, created_at, expires_at, evicted_id...}
    {"again", version, created_at, expires_at, evicted_id...}
    {"unsure", now}                             whether it has happened is not known; nothing was written now
    {"exists"}                                  a live session has this id
    {"gone"}                                    this id was deleted a moment ago
    {"moved", new_id}                           this id was rotated away a moment ago
    {"taken", holder_id?}                       the connection is another live session's: this one's; without it,
                                                as_node does not hold its lease, or is not the node
    {"departed", place}                         it has gone to that place
    {"limit", live}                             the user has that many sessions, and the policy is to reject
    {"need", "holder", holder_id, holder_node}  the connection points to this session
    {"need", "reap", id}                        run reap for it: it has expired, and is in the way
    {"need", "evict", id...}                    declare these as victims
    {"need", "remove", id...}                   run delete_user of <user> for these: there are far too many
    {"corrupt", key}
  Writes: all of the keys, or nothing.
  Again:  same op_id → again, with those that it evicted among the victims that are declared now.
  Uses:   args, clock, permission, typed, freeze, record, entries, index, session, bulk, limit, lease
]]

if #KEYS < 7 or #KEYS % 3 ~= 1 or #KEYS > 607 or #ARGV ~= #KEYS + 11 then
  return redis.error_reply('ERR cloakroom create: 7 KEYS and 18 ARGV, and 3 of each a victim, at most 200')
end
local record_key, expiry_key, user_key, connection_key, node_key, holder_key, as_lease_key = unpack(KEYS, 1, 7)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local now = clock_now(ARGV[1])
local op_id, bound = args_operation(ARGV[2], ARGV[3])
local id = args_id(ARGV[4])
local user, connection, node = args_names(ARGV[5], ARGV[6], ARGV[7])
args_stored(id, user, connection, node)
local holder_id = ARGV[8]
local status = record_status(ARGV[9])
local ttl, lifetime = args_integer(ARGV[10], 'ttl_ms', 1), args_integer(ARGV[11], 'lifetime_ms', 0)
local grace, tombstone = args_integer(ARGV[12], 'grace_ms', 1), args_integer(ARGV[13], 'tombstone_ms', 1)
local limit = args_integer(ARGV[14], 'limit', 0, LIMIT_MOST)
local evict = args_choice(ARGV[15], 'policy', 'evict', 'reject')
local as_node, lease = args_name(ARGV[16]), args_optional_token(ARGV[17], 'lease_id')
local entries, listed = entries_argument(ARGV[18], 'entries')
local declared = limit_declared(8, 19, user_key, expiry_key)

local in_the_way, record, copies_until
local vacant, fresh = session_vacant(record_key, keys, node)
if not vacant then
  local corrupt
  record, corrupt, copies_until = record_read(record_key, now)
  local first = record and record_version_of(record, op_id)
  if first then
    local made = record_new(status, user, connection, node, entries, listed, ttl, lifetime, op_id, record.created_at)
    return limit_evicted(declared, op_id, now, { 'again', first, made.created_at, made.expires_at })
  end
  local refusal = record and record_unsure(record, op_id, bound, now) or record_refusal(record, corrupt, now)
  if not refusal then return { 'exists' } end
  if refusal[1] ~= 'missing' then return refusal end
  if record and record.kind == RECORD_DELETED then return { 'gone' } end
  refusal = connection ~= '' and session_holder(connection_key, connection, id, holder_id, holder_key, now)
  if refusal and refusal[2] ~= 'reap' then return refusal end
  in_the_way = record and { 'need', 'reap', id } or refusal
end

if not record and args_stale(op_id, bound, tombstone, now) then return { 'unsure', now } end
local fenced = lease_fence(as_lease_key, as_node, lease, node, now)
if fenced then return fenced end
local victims, refusal = limit_admit(declared, user_key, expiry_key, user, id, limit, evict, now)
-- What is reaped is reported with the session that was made: a create that is refused reaps nothing.
if refusal or in_the_way then return refusal or in_the_way end

record = record_new(status, user, connection, node, entries, listed, ttl, lifetime, op_id, now)
record.copies_until = copies_until or 0
if #victims == 0 then permission_ask(limit_evict) else permission_ask() end
refusal = session_make(record_key, keys, id, record, grace, now, fresh)
if refusal then return refusal end
return limit_evict(victims, declared, op_id, tombstone, now,
  { 'ok', record.version, record.created_at, record.expires_at })
