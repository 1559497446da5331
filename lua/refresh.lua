--[[
  refresh: note that a live session is used, and extend it when enough of its idle time is gone.

  KEYS[1]   record       string  {ns:p}:session:<id>
  KEYS[2]   expiry       zset    {ns:p}:expiry
  KEYS[3]   user         zset    {ns:p}:user:<user>:sessions
  KEYS[4]   connection   string  {ns:p}:connection:<connection>:session
  KEYS[5]   node         zset    {ns:p}:node:<node>:sessions
  KEYS[6]   as_lease     string  {ns:p}:node:<as_node>:lease
  ARGV[1]   now_ms       integer; empty: the server's clock
  ARGV[2]   id           text
  ARGV[3]   user         text; empty: none
  ARGV[4]   connection   text; empty: none
  ARGV[5]   node         text; empty: none
  ARGV[6]   threshold    integer; default: 500; thousandths of ttl: extend when less is left
  ARGV[7]   touch_ms     integer; default: 0; write nothing when the last use is less than this ago
  ARGV[8]   grace_ms     integer; default: 3600000
  ARGV[9]   want         word: times, record; default: times
  ARGV[10]  as_node      text; empty: none; the node that writes as the owner
  ARGV[11]  lease_id     8 bytes; empty: none; its lease

  Replies
    {"ok", version, last_active, expires_at, record?}         the record if wanted
    {"unchanged", version, last_active, expires_at, record?}  used a moment ago; the record if wanted
    {"missing"}
    {"moved", new_id}                                         call again with it, once
    {"departed", place}                                       it has gone to that place
    {"frozen"}
    {"taken"}                                                 as_node does not hold its lease, or not the session
    {"need", "routing", user, connection, node}               asked only when the TTLs of the keys come near
    {"corrupt", key}
  Writes: record; expiry when it extends, or brings back what a clock that was ahead wrote; rarely the TTL of each key.
  Again:  the same state but for the time of use.
  Uses:   args, clock, permission, typed, freeze, record, entries, index, session, lease
]]

if #KEYS ~= 6 or #ARGV ~= 11 then return redis.error_reply('ERR cloakroom refresh: 6 KEYS and 11 ARGV') end
local record_key, expiry_key, user_key, connection_key, node_key, as_lease_key = unpack(KEYS)
local now = clock_now(ARGV[1])
local id = args_id(ARGV[2])
local user, connection, node = args_names(ARGV[3], ARGV[4], ARGV[5])
local threshold, touch = args_integer(ARGV[6], 'threshold', 1, 1000), args_integer(ARGV[7], 'touch_ms', 0)
local grace = args_integer(ARGV[8], 'grace_ms', 1)
local wanted = args_choice(ARGV[9], 'want', 'record', 'times')
local as_node, lease = args_name(ARGV[10]), args_optional_token(ARGV[11], 'lease_id')

-- The header is enough, whatever the payload's size.
local raw = typed_call('GETRANGE', record_key, '0', wanted and '-1' or RECORD_HEADER_END)
if type(raw) == 'table' then return { 'corrupt', 'record' } end
-- An absent key reads as an empty string, and so does an empty string.
if raw == '' and redis.call('EXISTS', record_key) == 1 then return { 'corrupt', 'record' } end
local record
if raw ~= '' then record = wanted and record_decode(raw) or not wanted and record_decode_numbers(raw) end
local corrupt = raw ~= '' and not record
-- Where it went, and whether a freeze is over, stands behind the header.
if record and (record.kind ~= RECORD_LIVE or record.status == RECORD_MIGRATING
  or wanted and record.copies_until > 0) then
  record, corrupt = record_read(record_key, now)
  raw = record and record.raw
end
local refusal = record_refusal(record, corrupt, now)
if refusal then return refusal end
if wanted and not entries_told(record) then return { 'corrupt', 'record' } end
if as_node ~= '' then
  if not record.node then record_read_routing(record, record_key) end
  refusal = lease_fence(as_lease_key, as_node, lease, record.node, now)
  if refusal then return refusal end
end
if record.status == RECORD_MIGRATING then return { 'frozen' } end

-- A clock that was set back leaves a last use that is not yet, and expiries that are too far off. But a session that
-- waits for its client was given its time by recover, unless its last use is not yet.
local left, idle = record.expires_at - now, now - record.last_active
local is_ahead = idle < 0
local word = (is_ahead and -idle or idle) < touch and left > touch and 'unchanged' or 'ok'
if word == 'ok' then
  record.last_active = now
  local expires_at, stored_until = record_extended(record, now), record.stored_until
  local shortens = record.expires_at > expires_at and (is_ahead or record.status == RECORD_ACTIVE)
  if shortens or left * 1000 < record.ttl * threshold and expires_at > record.expires_at then
    record.expires_at = expires_at
    if shortens then record.stored_until = math.min(stored_until, expires_at + grace) end
    local keep = record_keep(record, grace)
    if keep then
      refusal = session_routing_need(record_key, record, user, connection, node)
      if refusal then return refusal end
    end
    permission_ask()
    if index_expiry(expiry_key, id, record, grace, now, keep) then return { 'corrupt', 'expiry' } end
    if keep then
      session_keep({ user = user_key, connection = connection_key, node = node_key }, record, grace, now)
    end
    if record.stored_until ~= stored_until then redis.call('PEXPIRE', record_key, record.stored_until - now) end
  end
end
local times = struct.pack(RECORD_TIMES, record.last_active, record.expires_at, record.stored_until)
if word == 'ok' and record.is_stale then
  redis.call('SET', record_key, record_encode(record), 'PX', record.stored_until - now)
elseif word == 'ok' then
  redis.call('SETRANGE', record_key, RECORD_TIMES_START, times)
end
if not wanted then return { word, record.version, record.last_active, record.expires_at } end
return { word, record.version, record.last_active, record.expires_at,
  raw:sub(1, RECORD_TIMES_OFFSET) .. times .. raw:sub(RECORD_TIMES_OFFSET + #times + 1) }
