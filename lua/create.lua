--[[
  create: make a session with its user, connection, node and expiry entries, all or none.

  KEYS[1]    record         string  {ns:p}:session:<id>
  KEYS[2]    expiry         zset    {ns:p}:expiry
  KEYS[3]    user           zset    {ns:p}:user:<user>:sessions
  KEYS[4]    connection     string  {ns:p}:connection:<connection>:session
  KEYS[5]    node           zset    {ns:p}:node:<node>:sessions
  KEYS[6]    holder_record  string  {ns:p}:session:<holder_id|id>
  KEYS[7]    as_lease       string  {ns:p}:node:<as_node>:lease
  KEYS[8+]   victim         group   record string {ns:p}:session:<id>,
                                    connection string {ns:p}:connection:<connection>:session,
                                    node zset {ns:p}:node:<node>:sessions; at most 200; those to evict
  ARGV[1]    now_ms         integer from 0; empty: the server's clock
  ARGV[2]    op_id          8 bytes; empty: none
  ARGV[3]    bound_ms       integer from 0; empty: none; a time of the server from before the call began
  ARGV[4]    id             utf-8 of 1 to 128 bytes
  ARGV[5]    user           utf-8 of up to 256 bytes; empty: none
  ARGV[6]    connection     utf-8 of up to 256 bytes; empty: none
  ARGV[7]    node           utf-8 of up to 256 bytes; empty: none
  ARGV[8]    holder_id      text; empty: none
  ARGV[9]    status         word: active, suspended; default: active
  ARGV[10]   ttl_ms         integer from 1 to 315360000000; default: 1800000
  ARGV[11]   lifetime_ms    integer from 0; 0: none; default: 0
  ARGV[12]   grace_ms       integer from 1; default: 3600000
  ARGV[13]   tombstone_ms   integer from 1; default: 30000
  ARGV[14]   limit          integer from 0 to 500; 0: none; default: 0
  ARGV[15]   policy         word: reject, evict; default: reject
  ARGV[16]   as_node        text of up to 256 bytes; empty: none; the node that makes the call
  ARGV[17]   lease_id       8 bytes; empty: none; its lease
  ARGV[18]   entries        entries of up to 15728640 bytes; empty: none
  ARGV[19+]  victim         group   id (text), connection (text; empty: none), node (text; empty: none)

  Replies
    {"ok", version, created_at, expires_at, evicted_id...}
    {"again", version, created_at, expires_at, evicted_id...}
    {"unsure", now}                             unknown whether it has happened; nothing was written now
    {"exists"}                                  a live session has this id
    {"gone"}                                    this id was deleted, or given up by a login, a moment ago
    {"moved", new_id}                           this id was rotated a moment ago
    {"taken", holder_id}                        another live session has the connection: this one
    {"fenced"}                                  as_node lacks its lease, or node is another one
    {"departed", place}                         it has departed to that place
    {"limit", live}                             the user has that many sessions, and the policy is reject
    {"need", "holder", holder_id, holder_node}  the connection points to this session
    {"need", "reap", id}                        run reap for it: it has expired and is in the way
    {"need", "evict", id...}                    declare these as victims
    {"need", "remove", id...}                   run delete_user of <user> for these: they are far too many
    {"corrupt", key}
  Writes: record, expiry, user, connection, node; rarely victim_record, victim_connection, victim_node.
  Events: created; ended (evicted).
  Again:  same op_id → again, with the victims that it evicted among those that this call declares, while its change is
          one of the session's last four; then unsure.
  Uses:   event, args, clock, permission, typed, freeze, record, entries, index, session, bulk, limit, lease
]]

local member_count, stream_at, tell = event_call_members()
local record_key, expiry_key, user_key, connection_key, node_key, holder_key, as_lease_key = unpack(KEYS, 1, 7)
local now_ms, op_id, bound_ms, id, user, connection, node, holder_id, status, ttl_ms, lifetime_ms, grace_ms,
  tombstone_ms, limit, policy, as_node, lease_id, entries = unpack(ARGV, 1, 18)

-- Ordinarily: a session without a limit, and nothing in its way. Uncertain cases, and arguments that are not
-- plainly right, are left to the form below.
if member_count == 0 and holder_id .. as_node .. lease_id == '' and #op_id == ARGS_TOKEN_SIZE
  and op_id ~= '\0\0\0\0\0\0\0\0'
  and (status == 'active' or status == 'suspended') and (policy == 'reject' or policy == 'evict')
  and (now_ms .. bound_ms .. ttl_ms .. lifetime_ms .. grace_ms .. tombstone_ms .. limit):find('^%d*$')
  and ttl_ms ~= '' and lifetime_ms ~= '' and grace_ms ~= '' and tombstone_ms ~= ''
  and (limit == '0' or user == '' and limit ~= '' and limit + 0 <= LIMIT_MOST)
  and id ~= '' and #id <= 128 and #user <= 256 and #connection <= 256 and #node <= 256
  and (id .. user .. connection .. node):find('^[^\128-\255]*$') then
  -- They are digits, with which Lua can calculate.
  local ttl, lifetime, grace, tombstone = ttl_ms + 0, lifetime_ms + 0, grace_ms + 0, tombstone_ms + 0
  local now, bound = tonumber(now_ms), tonumber(bound_ms)
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
  end
  local unpack_fields, position, size, listed = struct.unpack, 1, #entries, 0
  while position + ENTRY_HEADER_SIZE <= size + 1 do
    local kind, key_size, value_size = unpack_fields(ENTRY_HEADER, entries, position)
    if kind < 1 or kind > 2 or value_size == 0 then break end
    position, listed = position + ENTRY_HEADER_SIZE + key_size + value_size, listed + 1
  end
  -- EXISTS counts a repeated key again, so the number shows which keys exist: see session_vacant.
  local full, present = 2, nil
  if node == '' then
    present = redis.call('EXISTS', user_key, record_key, record_key, connection_key, connection_key)
  else
    full = 4
    present = redis.call('EXISTS', user_key, node_key, node_key, record_key, record_key, record_key, record_key,
      connection_key, connection_key, connection_key, connection_key)
  end
  local may, key = redis.acl_check_cmd, record_key
  if present < full and position == size + 1 and size <= ENTRIES_MOST and listed < RECORD_LISTED_MOST
    and ttl >= 1 and ttl <= ARGS_TTL_MOST and lifetime <= ARGS_MOST and grace >= 1 and grace <= ARGS_MOST
    and tombstone >= 1 and tombstone <= ARGS_MOST and now <= ARGS_MOST
    and (not bound or bound <= ARGS_MOST and now - bound < tombstone)
    and (not may or may('PEXPIRE', key) and may('PTTL', key) and may('SET', key) and may('ZADD', key)
      and may('ZREM', key))
  then
    local expires_at, deadline = now + ttl, 0
    if lifetime > 0 then deadline = now + lifetime end
    if lifetime > 0 and expires_at > deadline then expires_at = deadline end
    local stored_until = expires_at + grace
    local rest = stored_until - now
    local in_user = user == '' or type(redis.pcall('ZADD', user_key, now, id)) == 'number'
    local in_node = in_user and (node == '' or type(redis.pcall('ZADD', node_key, now, id)) == 'number')
    if in_node and type(redis.pcall('ZADD', expiry_key, expires_at, id)) == 'number' then
      -- See index_expiry.
      local noted = stored_until - stored_until % grace + grace
      if redis.call('ZADD', expiry_key, 'GT', 'CH', noted, '') == 1
        and type(redis.pcall('PEXPIRE', expiry_key, noted - now)) ~= 'number' then
        redis.call('ZREM', expiry_key, '')
        redis.call('PEXPIRE', expiry_key, noted - now)
      end
      if user ~= '' and (present % 2 == 0 or redis.call('PTTL', user_key) < rest) then
        redis.call('PEXPIRE', user_key, rest + grace)
      end
      if node ~= '' and (present % 4 < 2 or redis.call('PTTL', node_key) < rest) then
        redis.call('PEXPIRE', node_key, rest + grace)
      end
      if tell then tell(stream_at + 2, nil, 'created', '', id, user, connection, node, '1') end
      -- As text, because each command would convert a number to text again.
      rest = ('%.0f'):format(rest)
      redis.call('SET', record_key, struct.pack(RECORD_HEADER, RECORD_FORMAT, RECORD_LIVE,
        status == 'active' and RECORD_ACTIVE or RECORD_SUSPENDED, #user, #connection, #node, size, size, listed,
        op_id .. RECORD_OTHERS_NONE, now, RECORD_GAP_NONE, RECORD_GAP_NONE, RECORD_GAP_NONE, 1, now, ttl, deadline, now,
        expires_at, stored_until) .. user .. connection .. node .. entries, 'PX', rest)
      if connection ~= '' then redis.call('SET', connection_key, id, 'PX', rest) end
      return { 'ok', 1, now, expires_at }
    end
    -- An index has a foreign type. The form below finds and answers that; nothing has been put in.
    if in_user and user ~= '' then redis.call('ZREM', user_key, id) end
    if in_node and node ~= '' then redis.call('ZREM', node_key, id) end
  end
end

-- Otherwise:
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local now = clock_now(now_ms)
local op_id, bound = args_operation(op_id, bound_ms)
args_id(id)
args_names(user, connection, node)
args_stored(id, user, connection, node, 'id user connection node')
local status = record_status(status)
local ttl, lifetime = args_integer(ttl_ms, 'ttl_ms', 1, ARGS_TTL_MOST), args_integer(lifetime_ms, 'lifetime_ms', 0)
local grace, tombstone = args_integer(grace_ms, 'grace_ms', 1), args_integer(tombstone_ms, 'tombstone_ms', 1)
local limit = args_integer(limit, 'limit', 0, LIMIT_MOST)
local evict = args_choice(policy, 'policy', 'evict', 'reject')
args_name(as_node, 'as_node')
args_optional_token(lease_id, 'lease_id')
local _, listed = entries_argument(entries, 'entries')
local declared = limit_declared(member_count, 8, 19, stream_at + 3, user_key, expiry_key)

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
  if refusal[1] ~= 'missing' and refusal[1] ~= 'rotated' then return refusal end
  if record and record.kind == RECORD_DELETED then return { 'gone' } end
  refusal = connection ~= ''
    and session_holder('connection', connection_key, connection, id, holder_id, holder_key, now)
  if refusal and refusal[2] ~= 'reap' then return refusal end
  in_the_way = record and { 'need', 'reap', id } or refusal
end

if not record and args_stale(op_id, bound, tombstone, now) then return { 'unsure', now } end
local fenced = lease_fence(as_lease_key, as_node, lease_id, node, now)
if fenced then return fenced end
local victims, refusal = limit_admit(declared, 'user', user_key, expiry_key, user, id, limit, evict, now)
-- Reaped sessions are reported with the new session: a refused create reaps nothing.
if refusal or in_the_way then return refusal or in_the_way end

record = record_new(status, user, connection, node, entries, listed, ttl, lifetime, op_id, now)
record.copies_until = copies_until or 0
if #victims == 0 then permission_ask(limit_evict) else permission_ask() end
refusal = session_make(record_key, keys, id, record, grace, now, fresh, tell, stream_at + 2)
if refusal then return refusal end
return limit_evict(victims, declared, op_id, tombstone, now,
  { 'ok', record.version, record.created_at, record.expires_at }, tell)
