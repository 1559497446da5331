--[[
  create: make a session with its user, connection, node and expiry entries, all or none.

  KEYS[1]   record         string  {ns:p}:session:<id>
  KEYS[2]   expiry         zset    {ns:p}:expiry
  KEYS[3]   user           zset    {ns:p}:user:<user>:sessions
  KEYS[4]   connection     string  {ns:p}:connection:<connection>:session
  KEYS[5]   node           zset    {ns:p}:node:<node>:sessions
  KEYS[6]   holder_record  string  {ns:p}:session:<holder_id>
  KEYS[7+]  victim         group   record, connection and node key of each session to evict
  ARGV[1]   now_ms         integer, empty for the server's clock
  ARGV[2]   op_id          8 bytes, may be empty
  ARGV[3]   id             text
  ARGV[4]   user           text, may be empty
  ARGV[5]   connection     text, may be empty
  ARGV[6]   node           text, may be empty
  ARGV[7]   holder_id      text, may be empty
  ARGV[8]   status         word: active, suspended
  ARGV[9]   ttl_ms         integer
  ARGV[10]  lifetime_ms    integer, 0 for none
  ARGV[11]  grace_ms       integer
  ARGV[12]  tombstone_ms   integer
  ARGV[13]  limit          integer, 0 for none
  ARGV[14]  policy         word: reject, evict
  ARGV[15]  entries        entries
  ARGV[16+] victim         group   id, connection and node of each session to evict

  Replies
    {"ok", version, created_at, expires_at, evicted_id...}
    {"exists"}                     a live session has this id
    {"gone"}                       this id was deleted a moment ago
    {"moved", new_id}              this id was rotated away a moment ago
    {"taken", holder_id}           the connection is another live session's
    {"limit", live}                the user has that many sessions, and the policy is to reject
    {"need", "holder", id, ""}     the connection points to this session: declare its record
    {"need", "reap", id}           this expired session is in the way: reap it first
    {"need", "evict", id...}       declare these as victims
    {"need", "remove", id...}      the user has far too many: remove these first
    {"corrupt", key}
  Writes: all of the keys, or nothing.
  Again:  same op_id → same reply.
  Uses:   args, clock, typed, record, index, session, limit
]]

if #KEYS < 6 or #KEYS % 3 ~= 0 or #ARGV ~= #KEYS + 9 then
  return redis.error_reply('ERR cloakroom create: 6 KEYS and 15 ARGV, and 3 of each a victim')
end
local record_key, expiry_key, user_key, connection_key, node_key, holder_key = unpack(KEYS, 1, 6)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local now = clock_now(ARGV[1])
local op_id, id = args_op_id(ARGV[2]), args_id(ARGV[3])
local user, connection, node = args_names(ARGV[4], ARGV[5], ARGV[6])
local holder_id = ARGV[7]
local status = args_word(ARGV[8], 'status', RECORD_STATUS)
local ttl, lifetime = args_integer(ARGV[9], 'ttl_ms', 1), args_integer(ARGV[10], 'lifetime_ms', 0)
local grace, tombstone = args_integer(ARGV[11], 'grace_ms', 1), args_integer(ARGV[12], 'tombstone_ms', 1)
local limit = args_integer(ARGV[13], 'limit', 0, LIMIT_MOST)
local evict = args_word(ARGV[14], 'policy', LIMIT_POLICY)
local entries = ARGV[15]
local declared = limit_declared(7, 16, user_key, expiry_key)

-- A key named again counts again: below 4 there is neither record nor pointer, the rest tells the indexes.
local present = redis.call('EXISTS', user_key, node_key, node_key, record_key, record_key, record_key, record_key,
  connection_key, connection_key, connection_key, connection_key)
if present >= 4 then
  local record, corrupt = record_read(record_key)
  local first = record and record.kind == RECORD_LIVE and record_version_of(record, op_id)
  if first then
    return limit_evicted(declared, op_id, { 'ok', first, record.created_at, record.expires_at })
  end
  local refusal = record_refusal(record, corrupt, now)
  if not refusal then return { 'exists' } end
  if refusal[1] ~= 'missing' then return refusal end
  if record and record.kind == RECORD_DELETED then return { 'gone' } end
  if record then return { 'need', 'reap', id } end
  refusal = connection ~= '' and session_holder(connection_key, connection, id, holder_id, holder_key, now)
  if refusal then return refusal end
end

local victims, refusal = limit_admit(declared, user_key, expiry_key, user, limit, evict, now)
if refusal then return refusal end

local record = {
  kind = RECORD_LIVE, status = status, user = user, connection = connection, node = node, body = entries,
  op_ids = ('\0'):rep(RECORD_OP_IDS * RECORD_OP_ID_SIZE), version = 0, created_at = now, ttl = ttl,
  deadline = lifetime > 0 and now + lifetime or 0, last_active = now, stored_until = 0,
}
record.expires_at = record_extended(record, now)
record_change(record, op_id)
record_keep(record, grace)

local fresh = { user = present % 2 == 0, node = present % 4 < 2 }
refusal = session_index(keys, id, record, grace, now, fresh)
if refusal then return refusal end
record_store(record_key, record, now)
if connection ~= '' then redis.call('SET', connection_key, id, 'PX', record.stored_until - now) end
return limit_evict(victims, declared, op_id, tombstone, now,
  { 'ok', record.version, record.created_at, record.expires_at })
