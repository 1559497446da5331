--[[
  recover: give a batch of the sessions of a dead or drained node to another node. It checks each
  again. A session loses its connection and is suspended, with some time left for its client to come back.

  KEYS[1]    nodes         zset    {ns:p}:nodes
  KEYS[2]    lease         string  {ns:p}:node:<node>:lease
  KEYS[3]    new_lease     string  {ns:p}:node:<new_node>:lease
  KEYS[4]    expiry        zset    {ns:p}:expiry
  KEYS[5]    node          zset    {ns:p}:node:<node>:sessions
  KEYS[6]    new_node      zset    {ns:p}:node:<new_node>:sessions
  KEYS[7]    kept          zset    {ns:p}:nodes:kept
  KEYS[8+]   session       group   record string {ns:p}:session:<id>, user zset {ns:p}:user:<user>:sessions,
                                   connection string {ns:p}:connection:<connection>:session; at most 200
  ARGV[1]    now_ms        integer from 0; empty: the server's clock
  ARGV[2]    op_id         8 bytes; empty: none
  ARGV[3]    bound_ms      integer from 0; empty: none; a time of the server from before the call began
  ARGV[4]    node          text of 1 to 256 bytes
  ARGV[5]    new_node      utf-8 of 1 to 256 bytes; another one
  ARGV[6]    lease_id      8 bytes; empty: any; the lease that the new node must hold
  ARGV[7]    when          word: lapsed, always; default: lapsed; lapsed: not while the node holds its lease
  ARGV[8]    reconnect_ms  integer from 1; default: 60000; how long a session has left at least, within its deadline
  ARGV[9]    grace_ms      integer from 1; default: 3600000
  ARGV[10+]  session       group   id (text), user (text; empty: none), connection (text; empty: none)

  Replies
    {"ok", recovered, stale, frozen, corrupt, left, recovered*(id, version), stale*id, frozen*id, corrupt*id}
      how many of each kind, then the ids of each kind. Stale: the user or connection is another now.
      Expired sessions are left to a reaper and in no list, nor are those that are no longer the node's.
      Left: this many at the end of the group were not looked at, because those before were large; call
      again for them.
    {"unsure", now}       unknown whether it has happened; nothing was written now
    {"leased", deadline}  the node holds its lease until then
    {"lapsed"}            the new node does not hold its lease, so nobody would find the sessions there
    {"corrupt", key}
  Writes: expiry, node, new_node, session_record, session_connection; rarely nodes, lease, kept, session_user.
  Events: recovered.
  Again:  same op_id → the same as recovered, whatever became of the leases, while its change is one of the session's
          last four; then unsure.
  Uses:   event, args, clock, permission, typed, freeze, record, index, session, bulk, lease
]]

local member_count, stream_at, tell = event_call_members()
local nodes_key, lease_key, new_lease_key, expiry_key, node_key, new_node_key, kept_key = unpack(KEYS, 1, 7)
local now = clock_now(ARGV[1])
local op_id, bound = args_operation(ARGV[2], ARGV[3])
local node, new_node = args_required(ARGV[4], 'node'), args_required(ARGV[5], 'new_node')
args_stored(new_node, '', '', '', 'new_node')
local own_lease = ARGV[6] ~= '' and args_token(ARGV[6], 'lease_id') or nil
local always = args_choice(ARGV[7], 'when', 'always', 'lapsed')
local reconnect, grace = args_integer(ARGV[8], 'reconnect_ms', 1), args_integer(ARGV[9], 'grace_ms', 1)
if node == new_node then error('cloakroom: new_node is no other node') end

local _, deadline, held, foreign = lease_read(lease_key, now)
if foreign then return { 'corrupt', 'lease' } end
local new_id, _, new_held, new_foreign = lease_read(new_lease_key, now)
if new_foreign then return { 'corrupt', 'new_lease' } end
local refusal
if held and not always then
  refusal = { 'leased', deadline }
elseif not new_held or new_id ~= (own_lease or new_id) then
  refusal = { 'lapsed' }
end
if index_foreign(nodes_key) then return { 'corrupt', 'nodes' } end
if index_foreign(expiry_key) then return { 'corrupt', 'expiry' } end
if index_foreign(node_key) then return { 'corrupt', 'node' } end
if index_foreign(new_node_key) then return { 'corrupt', 'new_node' } end
if index_foreign(kept_key) then return { 'corrupt', 'kept' } end

local claims, gone, recovered, stale, frozen, corrupt, unsure = {}, {}, {}, {}, {}, {}, nil
local left, written, seen = 0, 0, {}
for place = 1, member_count do
  local at = place * 3 + 5
  local record_key, user_key, connection_key = unpack(KEYS, at, at + 2)
  local id, user, connection = unpack(ARGV, at + 2, at + 4)
  local record, pointer, unread = session_read_head(record_key, connection_key, connection, now)
  local is_named_again = seen[id]
  seen[id] = true
  if is_named_again then
    -- Once is enough.
  elseif unread then
    corrupt[#corrupt + 1] = id
  elseif not record or record.kind ~= RECORD_LIVE or record.node ~= node then
    gone[#gone + 1] = id
    if record and record.kind == RECORD_LIVE and record.node == new_node then
      local version = record_version_of(record, op_id)
      if version then recovered[#recovered + 1], recovered[#recovered + 2] = id, version end
      unsure = unsure or not version and record_unsure(record, op_id, bound, now)
    end
  elseif record.expires_at > now then
    if record.status == RECORD_MIGRATING then
      frozen[#frozen + 1] = id
    elseif session_need(record, user, connection, node) then
      stale[#stale + 1] = id
    elseif bulk_full(written, record.size, BULK_WRITTEN) then
      left = member_count - place + 1
      break
    else
      written = written + record.size
      if record.partial then record = record_read(record_key, now) end
      if record then
        claims[#claims + 1] = { id = id, record = record, record_key = record_key, user_key = user_key,
          connection_key = pointer == id and connection_key }
      else
        corrupt[#corrupt + 1] = id
      end
    end
  end
end
if unsure then return unsure end
-- A repeated call returns again what it took the first time, whatever became of the leases.
if refusal and #recovered == 0 then return refusal end

local moved, entries, pointers, longest = {}, {}, {}, 0
for _, claim in ipairs(claims) do
  local id, record = claim.id, claim.record
  if refusal then
    stale[#stale + 1] = id
  else
    record.connection, record.node, record.status = '', new_node, RECORD_SUSPENDED
    record_change(record, op_id, now)
    moved[#moved + 1] = claim
    gone[#gone + 1], entries[#entries + 1], entries[#entries + 2] = id, record.created_at, id
    recovered[#recovered + 1], recovered[#recovered + 2] = id, record.version
    if claim.connection_key then pointers[#pointers + 1] = claim.connection_key end
  end
end
permission_ask()
for _, claim in ipairs(moved) do
  local keys = { expiry = expiry_key, user = claim.user_key }
  session_prolong(keys, claim.id, claim.record, now + reconnect, grace, now)
  longest = math.max(longest, claim.record.stored_until)
end
-- It writes records after the entries that lead to them, and before it removes old entries. So a repeated call finds
-- what is left to do.
if #entries > 0 then
  redis.call('ZADD', new_node_key, unpack(entries))
  index_keep(new_node_key, longest - now, grace)
end
if #pointers > 0 then redis.call('DEL', unpack(pointers)) end
for _, claim in ipairs(moved) do
  local record = claim.record
  if tell then
    tell(stream_at + 3, stream_at + 2, 'recovered', '', claim.id, record.user, '', new_node, record.version)
  end
  record_store(claim.record_key, record, now)
end
if #gone > 0 then redis.call('ZREM', node_key, unpack(gone)) end
if not held and redis.call('EXISTS', node_key) == 0 then
  redis.call('ZREM', nodes_key, node)
  redis.call('ZREM', kept_key, node)
  redis.call('DEL', lease_key)
end
local reply = { 'ok', #recovered / 2, #stale, #frozen, #corrupt, left }
for _, texts in ipairs({ recovered, stale, frozen, corrupt }) do
  for _, text in ipairs(texts) do reply[#reply + 1] = text end
end
return reply
