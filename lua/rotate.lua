--[[
  rotate: give a live session a new id, keeping its data and deadline, and log a user in in the same step.

  KEYS[1]   record             string  {ns:p}:session:<id>
  KEYS[2]   expiry             zset    {ns:p}:expiry
  KEYS[3]   user               zset    {ns:p}:user:<user>:sessions
  KEYS[4]   connection         string  {ns:p}:connection:<connection>:session
  KEYS[5]   node               zset    {ns:p}:node:<node>:sessions
  KEYS[6]   new_record         string  {ns:p}:session:<new_id>
  KEYS[7]   new_user           zset    {ns:p}:user:<new_user>:sessions
  KEYS[8+]  victim             group   record, connection and node key of each session to evict
  ARGV[1]   now_ms             integer, empty for the server's clock
  ARGV[2]   op_id              8 bytes, may be empty
  ARGV[3]   id                 text
  ARGV[4]   user               text, may be empty
  ARGV[5]   connection         text, may be empty
  ARGV[6]   node               text, may be empty
  ARGV[7]   new_id             text
  ARGV[8]   new_user           text, empty to keep the user
  ARGV[9]   grace_ms           integer
  ARGV[10]  rotation_grace_ms  integer, how long the old id answers moved; after a login it answers missing
  ARGV[11]  tombstone_ms       integer
  ARGV[12]  limit              integer, 0 for none; checked when the user changes
  ARGV[13]  policy             word: reject, evict
  ARGV[14+] victim             group   id, connection and node of each session to evict

  Replies
    {"ok", record, evicted_id...}  the session under its new id
    {"exists"}                     the new id is in use
    {"missing"}                    no live session; or another rotation was first, with a login
    {"moved", new_id}              another rotation was first: this is the id
    {"frozen"}
    {"limit", live}                the new user has that many sessions, and the policy is to reject
    {"need", "routing", user, connection, node}
    {"need", "evict", id...}       declare these as victims
    {"need", "remove", id...}      the new user has far too many: remove these first
    {"corrupt", key}
  Writes: all of the keys, or nothing.
  Again:  same op_id → same reply, while the record stays under the old id.
  Uses:   args, clock, typed, record, entries, index, session, limit
]]

if #KEYS < 7 or #KEYS % 3 ~= 1 or #ARGV ~= #KEYS + 6 then
  return redis.error_reply('ERR cloakroom rotate: 7 KEYS and 13 ARGV, and 3 of each a victim')
end
local record_key, expiry_key, user_key, connection_key, node_key, new_record_key, new_user_key = unpack(KEYS, 1, 7)
local now = clock_now(ARGV[1])
local op_id, id = args_op_id(ARGV[2]), args_id(ARGV[3])
local user, connection, node = args_names(ARGV[4], ARGV[5], ARGV[6])
local new_id, new_user = args_id(ARGV[7]), args_names(ARGV[8])
local grace, rotation_grace = args_integer(ARGV[9], 'grace_ms', 1), args_integer(ARGV[10], 'rotation_grace_ms', 1)
local tombstone = args_integer(ARGV[11], 'tombstone_ms', 1)
local limit = args_integer(ARGV[12], 'limit', 0, LIMIT_MOST)
local evict = args_word(ARGV[13], 'policy', LIMIT_POLICY)
local declared = limit_declared(8, 14, new_user_key, expiry_key)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local new_keys = { expiry = expiry_key, user = new_user_key, connection = connection_key, node = node_key }

local record, pointer, foreign = session_read(record_key, connection_key, connection)
local rotated = record and record.kind ~= RECORD_LIVE and record_version_of(record, op_id)
local refusal = not rotated and record_refusal(record, foreign == 'record', now)
if refusal then return refusal end
local taken, corrupt = record_read(new_record_key)
if corrupt then return { 'corrupt', 'new_record' } end
if rotated then
  refusal = record_refusal(record.body == new_id and taken or record, false, now)
  return refusal or limit_evicted(declared, op_id, { 'ok', taken.raw })
end
if not entries_whole(record.body) then return { 'corrupt', 'record' } end
if taken then return { 'exists' } end
if record.status == RECORD_MIGRATING then return { 'frozen' } end
refusal = session_need(record, user, connection, node) or session_foreign(keys, record)
if refusal then return refusal end

local old = record_decode(record.raw)
local victims = {}
local login = new_user ~= '' and new_user ~= user
if login then
  record.user = new_user
  victims, refusal = limit_admit(declared, new_user_key, expiry_key, new_user, limit, evict, now)
  if refusal then return refusal end
end
record_change(record, op_id)
refusal = session_index(new_keys, new_id, record, grace, now, {})
if refusal then return refusal end
session_unindex(keys, id, old, now)
record_store(new_record_key, record, now)
if pointer == id then redis.call('SET', connection_key, new_id, 'PX', record.stored_until - now) end
-- Who planted the id of a session before its login must not follow it: then the old id answers as if deleted.
record_leave(record_key, old, op_id, login and RECORD_DELETED or RECORD_MOVED, new_id, rotation_grace)
return limit_evict(victims, declared, op_id, tombstone, now, { 'ok', record_encode(record) })
