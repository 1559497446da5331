--[[
  rotate: give a live session a new id, keeping its data, and log a user in or out in the same step.

  KEYS[1]    record             string  {ns:p}:session:<id>
  KEYS[2]    expiry             zset    {ns:p}:expiry
  KEYS[3]    user               zset    {ns:p}:user:<user>:sessions
  KEYS[4]    connection         string  {ns:p}:connection:<connection>:session
  KEYS[5]    node               zset    {ns:p}:node:<node>:sessions
  KEYS[6]    new_record         string  {ns:p}:session:<new_id>
  KEYS[7]    new_user           zset    {ns:p}:user:<new_user|user>:sessions
  KEYS[8]    as_lease           string  {ns:p}:node:<as_node>:lease
  KEYS[9+]   victim             group   record string {ns:p}:session:<id>,
                                        connection string {ns:p}:connection:<connection>:session,
                                        node zset {ns:p}:node:<node>:sessions; at most 200; those to evict
  ARGV[1]    now_ms             integer from 0; empty: the server's clock
  ARGV[2]    op_id              8 bytes; empty: none
  ARGV[3]    id                 text of 1 to 128 bytes
  ARGV[4]    user               text of up to 256 bytes; empty: none
  ARGV[5]    connection         text of up to 256 bytes; empty: none
  ARGV[6]    node               text of up to 256 bytes; empty: none
  ARGV[7]    new_id             utf-8 of 1 to 128 bytes
  ARGV[8]    new_user           utf-8 of up to 256 bytes; empty: the user it has
  ARGV[9]    grace_ms           integer from 1; default: 3600000
  ARGV[10]   rotation_grace_ms  integer from 1; default: 30000; the old id answers moved, or after a login rotated
  ARGV[11]   tombstone_ms       integer from 1; default: 30000
  ARGV[12]   limit              integer from 0 to 500; 0: none; default: 0; checked when the user changes
  ARGV[13]   policy             word: reject, evict; default: reject
  ARGV[14]   as_node            text of up to 256 bytes; empty: none; the node that makes the call
  ARGV[15]   lease_id           8 bytes; empty: none; its lease
  ARGV[16]   becomes            word: anonymous; empty: the new user's; anonymous: it loses its user, whoever new_user
                                is
  ARGV[17]   new_ttl_ms         integer from 1 to 315360000000; empty: as it is
  ARGV[18]   new_lifetime_ms    integer from 0; 0: none; empty: the deadline stays; how long it lives at most from now
                                on
  ARGV[19]   entries_bytes      integer from 0 to 15728640; default: 262144; the most that all entries may take
  ARGV[20]   entries_most       integer from 0; default: 1024; how many entries there may be at most, and how many
                                changes
  ARGV[21]   changes            entries; empty: none; an empty value removes
  ARGV[22+]  victim             group   id (text), connection (text; empty: none), node (text; empty: none)

  Replies
    {"ok", record, evicted_id...}     the session under its new id
    {"again", record, evicted_id...}  it has happened before
    {"exists"}                        the new id is in use
    {"unsure", now}                   it has happened, and the session has changed since
    {"missing"}                       no live session
    {"rotated"}                       another rotation came first, with a login: there is a newer id
    {"moved", new_id}                 another rotation came first: this is the id
    {"departed", place}               it has departed to that place
    {"frozen"}
    {"fenced"}                        as_node lacks its lease, or the session is another node's
    {"limit", live}                   the new user has that many sessions, and the policy is reject
    {"large", bytes, entries}         the entries would take that many bytes and be that many
    {"need", "routing", user, connection, node}
    {"need", "evict", id...}          declare these as victims
    {"need", "remove", id...}         run delete_user of <new_user> for these: they are far too many
    {"corrupt", key}
  Writes: record, expiry, user, connection, node, new_record, new_user; rarely victim_record, victim_connection,
          victim_node.
  Events: rotated, with the new id; why: login, if the user is another, or logout, if there is none any more; ended
          (evicted).
  Again:  same op_id → again, with the victims that it evicted among those that this call declares, while the record
          stays under the old id and the session is as it left it; unsure once that has changed.
  Uses:   event, args, clock, permission, typed, freeze, record, entries, index, session, bulk, limit, lease, change
]]

local member_count, stream_at, tell = event_call_members()
local record_key, expiry_key, user_key, connection_key, node_key, new_record_key, new_user_key, as_lease_key =
  unpack(KEYS, 1, 8)
local now_ms, op_id, id, user, connection, node, new_id, new_user, grace_ms, rotation_grace_ms, tombstone_ms, limit,
  policy, as_node, lease_id, becomes, new_ttl_ms, new_lifetime_ms, entries_bytes, entries_most, changes =
  unpack(ARGV, 1, 21)

-- Ordinarily: only the id changes, and nothing is under the new one. Uncertain cases, and arguments that are not
-- plainly right, are left to the form below.
if member_count == 0 and as_node .. lease_id .. becomes .. new_ttl_ms .. changes == ''
  and #op_id == ARGS_TOKEN_SIZE and op_id ~= '\0\0\0\0\0\0\0\0'
  and (new_user == '' or new_user == user) and (policy == 'reject' or policy == 'evict')
  and (now_ms .. grace_ms .. rotation_grace_ms .. tombstone_ms .. limit .. entries_bytes .. entries_most):find('^%d*$')
  and entries_bytes ~= '' and entries_bytes + 0 <= ENTRIES_MOST and entries_most ~= '' and entries_most + 0 <= ARGS_MOST
  and (new_lifetime_ms == '' or new_lifetime_ms == '0') and grace_ms ~= '' and rotation_grace_ms ~= ''
  and tombstone_ms ~= '' and limit ~= '' and limit + 0 <= LIMIT_MOST
  and id ~= '' and #id <= 128 and new_id ~= '' and #new_id <= 128
  and #user <= 256 and #connection <= 256 and #node <= 256
  and (new_id .. user .. connection .. node):find('^[^\128-\255]*$') then
  -- They are digits, with which Lua can calculate.
  local grace, rotation_grace, tombstone, now = grace_ms + 0, rotation_grace_ms + 0, tombstone_ms + 0, tonumber(now_ms)
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
  end
  local may, key = redis.acl_check_cmd, record_key
  local raw, pointer
  if connection == '' then
    raw = redis.call('MGET', record_key)[1]
  else
    raw, pointer = unpack(redis.call('MGET', record_key, connection_key))
  end
  if raw and #raw >= RECORD_HEADER_SIZE and (pointer or connection == '')
    and grace >= 1 and grace <= ARGS_MOST and rotation_grace >= 1 and rotation_grace <= ARGS_MOST
    and tombstone >= 1 and tombstone <= ARGS_MOST and now <= ARGS_MOST
    and redis.call('EXISTS', new_record_key) == 0 then
    local format, kind, state, user_size, connection_size, node_size, _, body_size, listed, op_ids, changed_at, gap,
      second_gap, _, version, created_at, ttl, deadline, last_active, expires_at, stored_until =
      struct.unpack(RECORD_HEADER, raw)
    local body_start = RECORD_HEADER_SIZE + user_size + connection_size + node_size + 1
    local position, size = body_start, #raw
    while position + ENTRY_HEADER_SIZE <= size + 1 do
      local entry_kind, key_size, value_size = struct.unpack(ENTRY_HEADER, raw, position)
      if entry_kind < 1 or entry_kind > 2 then break end
      position = position + ENTRY_HEADER_SIZE + key_size + value_size
    end
    -- It is used now, and gets its full idle time again.
    local lives_until = now + ttl
    if deadline > 0 and lives_until > deadline then lives_until = deadline end
    if lives_until < expires_at then lives_until = expires_at end
    if format == RECORD_FORMAT and kind == RECORD_LIVE and state >= RECORD_ACTIVE and state < RECORD_MIGRATING
      and expires_at > now and stored_until >= lives_until + grace / 2 and stored_until <= lives_until + grace
      and version >= 1 and (new_lifetime_ms == '' or deadline == 0)
      and body_start + body_size == size + 1 and position == size + 1
      and user_size == #user and connection_size == #connection and node_size == #node
      and raw:sub(RECORD_HEADER_SIZE + 1, body_start - 1) == user .. connection .. node
      and (not may or may('PEXPIRE', key) and may('PTTL', key) and may('SET', key) and may('ZADD', key)
        and may('ZREM', key))
    then
      local in_user = user == '' and 2 or redis.pcall('ZADD', new_user_key, created_at, new_id)
      local in_node = type(in_user) == 'number'
        and (node == '' and 2 or redis.pcall('ZADD', node_key, created_at, new_id))
      if type(in_node) == 'number' and type(redis.pcall('ZADD', expiry_key, lives_until, new_id)) == 'number' then
        local was_in = redis.call('ZREM', expiry_key, id)
        if user ~= '' then was_in = was_in * redis.call('ZREM', user_key, id) end
        if node ~= '' then was_in = was_in * redis.call('ZREM', node_key, id) end
        -- Indexes that had the session live long enough for it. No index was empty meanwhile, which would have ended
        -- its TTL.
        local rest = stored_until - now
        if was_in == 0 then
          -- See index_expiry.
          local noted = stored_until - stored_until % grace + grace
          if redis.call('ZADD', expiry_key, 'GT', 'CH', noted, '') == 1
            and type(redis.pcall('PEXPIRE', expiry_key, noted - now)) ~= 'number' then
            redis.call('ZREM', expiry_key, '')
            redis.call('PEXPIRE', expiry_key, noted - now)
          end
          if user ~= '' and redis.call('PTTL', new_user_key) < rest then
            redis.call('PEXPIRE', new_user_key, rest + grace)
          end
          if node ~= '' and redis.call('PTTL', node_key) < rest then redis.call('PEXPIRE', node_key, rest + grace) end
        end
        local since = 0
        if now > changed_at then since, changed_at = now - changed_at, now end
        if since > RECORD_GAP_MOST then since = RECORD_GAP_MOST end
        version = version + 1
        local written = struct.pack(RECORD_CHANGED, body_size, listed, op_id, op_ids, changed_at, since, gap,
          second_gap, version)
        local new = raw:sub(1, RECORD_CHANGED_OFFSET) .. written
          .. raw:sub(RECORD_CHANGED_OFFSET + #written + 1, RECORD_TIMES_OFFSET)
          .. struct.pack(RECORD_TIMES, now, lives_until, stored_until) .. raw:sub(RECORD_HEADER_SIZE + 1)
        if tell then tell(stream_at + 2, nil, 'rotated', '', id, user, connection, node, version, new_id) end
        redis.call('SET', new_record_key, new, 'PX', rest)
        if pointer == id then redis.call('SET', connection_key, new_id, 'PX', rest) end
        redis.call('SET', record_key, struct.pack(RECORD_HEADER, RECORD_FORMAT, RECORD_MOVED, state, 0, 0, 0, 0,
          #new_id, 0, op_id .. op_ids:sub(1, -ARGS_TOKEN_SIZE - 1), changed_at, since, gap, second_gap, version,
          created_at, ttl, deadline, last_active, expires_at, now + rotation_grace) .. new_id, 'PX', rotation_grace)
        return { 'ok', new }
      end
      -- An index has a foreign type. The form below finds and answers that; nothing has been put in.
      if in_user == 1 then redis.call('ZREM', new_user_key, new_id) end
      if in_node == 1 then redis.call('ZREM', node_key, new_id) end
    end
  end
end

-- Otherwise:
local now = clock_now(now_ms)
args_optional_token(op_id, 'op_id')
args_id(id)
args_names(user, connection, node)
args_id(new_id, 'new_id')
args_name(new_user, 'new_user')
args_stored(new_id, new_user, '', '', 'new_id new_user')
local grace = args_integer(grace_ms, 'grace_ms', 1)
local rotation_grace = args_integer(rotation_grace_ms, 'rotation_grace_ms', 1)
local tombstone = args_integer(tombstone_ms, 'tombstone_ms', 1)
local limit = args_integer(limit, 'limit', 0, LIMIT_MOST)
local evict = args_choice(policy, 'policy', 'evict', 'reject')
args_name(as_node, 'as_node')
args_optional_token(lease_id, 'lease_id')
local anonymous = args_word(becomes, 'becomes', { [''] = false, anonymous = true })
if anonymous then new_user = '' end
local ttl = args_optional_integer(new_ttl_ms, 'new_ttl_ms', 1, ARGS_TTL_MOST)
local lifetime = args_optional_integer(new_lifetime_ms, 'new_lifetime_ms', 0)
local most_bytes = args_integer(entries_bytes, 'entries_bytes', 0, ENTRIES_MOST)
local most = args_integer(entries_most, 'entries_most', 0)
local _, count = entries_argument(changes, 'changes', true, most)
local declared = limit_declared(member_count, 9, 22, stream_at + 3, new_user_key, expiry_key)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local new_keys = { expiry = expiry_key, user = new_user_key, connection = connection_key, node = node_key }

local record, pointer, foreign = session_read(record_key, connection_key, connection, now)
local rotated = record and record.kind ~= RECORD_LIVE and record.body == new_id and record_version_of(record, op_id)
local refusal = not rotated and record_refusal(record, foreign == 'record', now)
if refusal then return refusal end
local taken, corrupt, copies_until = record_read(new_record_key, now)
if corrupt then return { 'corrupt', 'new_record' } end
if rotated then
  -- The answer is the session of that time, if nobody has changed it since.
  if record_refusal(taken, false, now) or taken.version ~= rotated then return { 'unsure', now } end
  return limit_evicted(declared, op_id, now, { 'again', taken.raw })
end
if not entries_told(record) then return { 'corrupt', 'record' } end
refusal = change_refusal(record, record.node, as_lease_key, as_node, lease_id, now)
if refusal then return refusal end
if taken then return { 'exists' } end
refusal = session_need(record, user, connection, node) or session_foreign(keys, record)
if refusal then return refusal end

local old = record_decode(record.raw)
local victims = {}
local login, logout = new_user ~= '' and new_user ~= user, anonymous and user ~= ''
if count > 0 then
  local changed, bytes, entries = entries_change(record, changes, count, most_bytes, most)
  if not changed then return { 'large', bytes, entries } end
end
if login or logout then record.user = new_user end
if login then
  victims, refusal = limit_admit(declared, 'new_user', new_user_key, expiry_key, new_user, new_id, limit, evict, now)
  if refusal then return refusal end
end
if #victims == 0 then permission_ask(limit_evict) else permission_ask() end
record_change(record, op_id, now)
record_begin(record, ttl, lifetime, now)
-- Copies that may wait elsewhere have the old id.
record.copies_until, record.stored_until = copies_until, math.min(record.stored_until, record.expires_at + grace)
record_keep(record, grace)
-- The other indexes were checked before.
if session_index(new_keys, new_id, record, grace, now, {}) then return { 'corrupt', 'new_user' } end
session_unindex(keys, id, old, now)
session_tell(tell, stream_at + 2, 'rotated', login and 'login' or logout and 'logout' or '', id, record, record.version,
  new_id)
record_store(new_record_key, record, now)
if pointer == id then redis.call('SET', connection_key, new_id, 'PX', record.stored_until - now) end
-- An attacker who planted the id before a login must not follow it, nor anyone who has the id of a user who logged
-- out.
record_leave(record_key, old, op_id, (login or logout) and RECORD_DELETED or RECORD_MOVED, new_id, rotation_grace, now)
return limit_evict(victims, declared, op_id, tombstone, now, { 'ok', record_encode(record) }, tell)
