--[[
  rotate: give a live session a new id, keeping its data and deadline, and log a user in in the same step.

  KEYS[1]   record             string  {ns:p}:session:<id>
  KEYS[2]   expiry             zset    {ns:p}:expiry
  KEYS[3]   user               zset    {ns:p}:user:<user>:sessions
  KEYS[4]   connection         string  {ns:p}:connection:<connection>:session
  KEYS[5]   node               zset    {ns:p}:node:<node>:sessions
  KEYS[6]   new_record         string  {ns:p}:session:<new_id>
  KEYS[7]   new_user           zset    {ns:p}:user:<new_user|user>:sessions
  KEYS[8]   as_lease           string  {ns:p}:node:<as_node>:lease
  KEYS[9+]  victim             group   {ns:p}:session:<id> {ns:p}:connection:<connection>:session
                                       {ns:p}:node:<node>:sessions; at most 200; those to evict
  ARGV[1]   now_ms             integer; empty: the server's clock
  ARGV[2]   op_id              8 bytes; empty: none
  ARGV[3]   id                 text
  ARGV[4]   user               text; empty: none
  ARGV[5]   connection         text; empty: none
  ARGV[6]   node               text; empty: none
  ARGV[7]   new_id             utf-8
  ARGV[8]   new_user           utf-8; empty: the user it has
  ARGV[9]   grace_ms           integer; default: 3600000
  ARGV[10]  rotation_grace_ms  integer; default: 30000; how long the old id answers moved, after a login missing
  ARGV[11]  tombstone_ms       integer; default: 30000
  ARGV[12]  limit              integer; 0: none; default: 0; checked when the user changes
  ARGV[13]  policy             word: reject, evict; default: reject
  ARGV[14]  as_node            text; empty: none; the node that writes as the owner
  ARGV[15]  lease_id           8 bytes; empty: none; its lease
  ARGV[16+] victim             group   id, connection, node

  Replies
    {"ok", record, evicted_id...}     the session under its new id
    {"again", record, evicted_id...}  it has happened before
    {"exists"}                        the new id is in use
    {"unsure", now}                   it has happened, and what the session was then is not known any more
    {"missing"}                       no live session; or another rotation was first, with a login
    {"moved", new_id}                 another rotation was first: this is the id
    {"departed", place}               it has gone to that place
    {"frozen"}
    {"taken"}                         as_node does not hold its lease, or not the session
    {"limit", live}                   the new user has that many sessions, and the policy is to reject
    {"need", "routing", user, connection, node}
    {"need", "evict", id...}          declare these as victims
    {"need", "remove", id...}         run delete_user of <new_user> for these: there are far too many
    {"corrupt", key}
  Writes: all of the keys, or nothing.
  Again:  same op_id → again, with those that it evicted among the victims that are declared now, while the
          record stays under the old id.
  Uses:   args, clock, permission, typed, freeze, record, entries, index, session, bulk, limit, lease
]]

if #KEYS < 8 or #KEYS % 3 ~= 2 or #KEYS > 608 or #ARGV ~= #KEYS + 7 then
  return redis.error_reply('ERR cloakroom rotate: 8 KEYS and 15 ARGV, and 3 of each a victim, at most 200')
end
local record_key, expiry_key, user_key, connection_key, node_key, new_record_key, new_user_key, as_lease_key =
  unpack(KEYS, 1, 8)
local now = clock_now(ARGV[1])
local op_id, id = args_optional_token(ARGV[2], 'op_id'), args_id(ARGV[3])
local user, connection, node = args_names(ARGV[4], ARGV[5], ARGV[6])
local new_id, new_user = args_id(ARGV[7]), args_name(ARGV[8])
args_stored(new_id, new_user, '', '')
local grace, rotation_grace = args_integer(ARGV[9], 'grace_ms', 1), args_integer(ARGV[10], 'rotation_grace_ms', 1)
local tombstone = args_integer(ARGV[11], 'tombstone_ms', 1)
local limit = args_integer(ARGV[12], 'limit', 0, LIMIT_MOST)
local evict = args_choice(ARGV[13], 'policy', 'evict', 'reject')
local as_node, lease = args_name(ARGV[14]), args_optional_token(ARGV[15], 'lease_id')
local declared = limit_declared(9, 16, new_user_key, expiry_key)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local new_keys = { expiry = expiry_key, user = new_user_key, connection = connection_key, node = node_key }

local record, pointer, foreign = session_read(record_key, connection_key, connection, now)
local rotated = record and record.kind ~= RECORD_LIVE and record.body == new_id and record_version_of(record, op_id)
local refusal = not rotated and record_refusal(record, foreign == 'record', now)
if refusal then return refusal end
local taken, corrupt, copies_until = record_read(new_record_key, now)
if corrupt then return { 'corrupt', 'new_record' } end
if rotated then
  -- The answer is the session of then, which nobody has changed since.
  if record_refusal(taken, false, now) or taken.version ~= rotated then return { 'unsure', now } end
  return limit_evicted(declared, op_id, now, { 'again', taken.raw })
end
if not entries_told(record) then return { 'corrupt', 'record' } end
refusal = lease_fence(as_lease_key, as_node, lease, record.node, now)
if refusal then return refusal end
if taken then return { 'exists' } end
if record.status == RECORD_MIGRATING then return { 'frozen' } end
refusal = session_need(record, user, connection, node) or session_foreign(keys, record)
if refusal then return refusal end

local old = record_decode(record.raw)
local victims = {}
local login = new_user ~= '' and new_user ~= user
if login then
  record.user = new_user
  victims, refusal = limit_admit(declared, new_user_key, expiry_key, new_user, new_id, limit, evict, now)
  if refusal then return refusal end
end
if #victims == 0 then permission_ask(limit_evict) else permission_ask() end
record_change(record, op_id, now)
-- Copies that may wait are of the old id.
record.copies_until, record.stored_until = copies_until, math.max(record.stored_until, copies_until)
refusal = session_index(new_keys, new_id, record, grace, now, {})
if refusal then return refusal end
session_unindex(keys, id, old, now)
record_store(new_record_key, record, now)
if pointer == id then redis.call('SET', connection_key, new_id, 'PX', record.stored_until - now) end
-- Who planted the id of a session before its login must not follow it: then the old id answers as if deleted.
record_leave(record_key, old, op_id, login and RECORD_DELETED or RECORD_MOVED, new_id, rotation_grace, now)
return limit_evict(victims, declared, op_id, tombstone, now, { 'ok', record_encode(record) })
