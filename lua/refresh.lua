--[[
  refresh: note that a live session is used, and extend it when enough of its idle time is gone.

  KEYS[1]   record      string  {ns:p}:session:<id>
  KEYS[2]   expiry      zset    {ns:p}:expiry
  KEYS[3]   user        zset    {ns:p}:user:<user>:sessions
  KEYS[4]   connection  string  {ns:p}:connection:<connection>:session
  KEYS[5]   node        zset    {ns:p}:node:<node>:sessions
  KEYS[6]   as_lease    string  {ns:p}:node:<as_node>:lease
  ARGV[1]   now_ms      integer from 0; empty: the server's clock
  ARGV[2]   id          text of 1 to 128 bytes
  ARGV[3]   user        text of up to 256 bytes; empty: none
  ARGV[4]   connection  text of up to 256 bytes; empty: none
  ARGV[5]   node        text of up to 256 bytes; empty: none
  ARGV[6]   threshold   integer from 1 to 1000; default: 500; thousandths of ttl: extend when less is left
  ARGV[7]   touch_ms    integer from 0; default: 0; write nothing when the last use is less than this ago
  ARGV[8]   grace_ms    integer from 1; default: 3600000
  ARGV[9]   want        word: times, record; default: times
  ARGV[10]  as_node     text of up to 256 bytes; empty: none; the node that makes the call
  ARGV[11]  lease_id    8 bytes; empty: none; its lease

  Replies
    {"ok", version, last_active, expires_at, record?}         the record if wanted
    {"unchanged", version, last_active, expires_at, record?}  used a moment ago; the record if wanted
    {"missing"}
    {"rotated"}                                               a login gave it a newer id, which is not revealed
    {"moved", new_id}                                         call again with it, once
    {"departed", place}                                       it has departed to that place
    {"frozen"}
    {"fenced"}                                                as_node lacks its lease, or the session is another node's
    {"need", "routing", user, connection, node}               asked only if the TTLs of the keys run short
    {"corrupt", key}
  Writes: record, expiry; rarely user, connection, node.
  Again:  the same state, except the time of use.
  Uses:   call, args, clock, permission, typed, freeze, record, entries, index, session, lease, change
]]

call_alone()
local record_key, expiry_key, user_key, connection_key, node_key, as_lease_key = unpack(KEYS)
local now_ms, id, user, connection, node, threshold, touch_ms, grace_ms, want, as_node, lease_id = unpack(ARGV)

-- Ordinarily: a live session that no migration has touched is used and lives on, or was used a moment ago. Uncertain
-- cases, and arguments that are not plainly right, are left to the form below; nothing is written by then.
local may, now, share, touch, grace = redis.acl_check_cmd, tonumber(now_ms), tonumber(threshold), tonumber(touch_ms),
  tonumber(grace_ms)
if as_node .. lease_id == '' and not (now_ms .. threshold .. touch_ms .. grace_ms):find('%D')
  and (not now or now <= ARGS_MOST) and share and share >= 1 and share <= 1000 and touch and touch <= ARGS_MOST
  and grace and grace >= 1 and grace <= ARGS_MOST and (want == 'times' or want == 'record')
  and id ~= '' and #id <= 128 and #user <= 256 and #connection <= 256 and #node <= 256 then
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
  end
  local raw = redis.pcall('GETRANGE', record_key, '0', want == 'record' and '-1' or RECORD_HEADER_END)
  if type(raw) == 'string' and #raw >= RECORD_HEADER_SIZE then
    local format, kind, state = raw:byte(1, 3)
    local version, _, ttl, deadline, last_active, expires_at, stored_until =
      struct.unpack(RECORD_NUMBERS, raw, RECORD_NUMBERS_OFFSET + 1)
    local is_plain = format == RECORD_FORMAT and kind == RECORD_LIVE and state >= RECORD_ACTIVE
      and state < RECORD_MIGRATING and expires_at > now and stored_until >= expires_at and last_active <= now
    -- The returned record is whole, and valid text.
    if is_plain and want == 'record' then
      local _, _, _, user_size, connection_size, node_size, _, body_size = struct.unpack(RECORD_HEADER, raw)
      local position, size = RECORD_HEADER_SIZE + user_size + connection_size + node_size + 1, #raw
      is_plain = position + body_size == size + 1
        and not raw:sub(RECORD_HEADER_SIZE + 1, position - 1):find('[\128-\255]')
      while position + ENTRY_HEADER_SIZE <= size + 1 do
        local entry, key_size, value_size = struct.unpack(ENTRY_HEADER, raw, position)
        if entry < 1 or entry > 2 then break end
        position = position + ENTRY_HEADER_SIZE + key_size + value_size
      end
      is_plain = is_plain and position == size + 1
    end
    if is_plain and now - last_active < touch and expires_at - now > touch then
      return { 'unchanged', version, last_active, expires_at, want == 'record' and raw or nil }
    end
    local extended = now + ttl
    if deadline > 0 and extended > deadline then extended = deadline end
    local extends = extended > expires_at and (expires_at - now) * 1000 < ttl * share
    -- The TTLs of the keys are long enough, Redis does not refuse SETRANGE after another command, and the session's
    -- entry is there and moves. If it did not move, nothing is written.
    if is_plain and extended >= expires_at and (not extends or stored_until >= extended + grace / 2
      and (not may or may('SETRANGE', record_key))
      and redis.pcall('ZADD', expiry_key, 'XX', 'CH', extended, id) == 1) then
      if extends then expires_at = extended end
      local times = struct.pack(RECORD_TIMES, now, expires_at, stored_until)
      redis.call('SETRANGE', record_key, RECORD_TIMES_START, times)
      return { 'ok', version, now, expires_at,
        want == 'record' and raw:sub(1, RECORD_TIMES_OFFSET) .. times .. raw:sub(RECORD_HEADER_SIZE + 1) or nil }
    end
  end
end

-- Otherwise:
local now = clock_now(now_ms)
args_id(id)
args_names(user, connection, node)
local threshold, touch = args_integer(threshold, 'threshold', 1, 1000), args_integer(touch_ms, 'touch_ms', 0)
local grace = args_integer(grace_ms, 'grace_ms', 1)
local wanted = args_choice(want, 'want', 'record', 'times')
args_name(as_node, 'as_node')
args_optional_token(lease_id, 'lease_id')

-- The header is enough, whatever the payload's size.
local raw = typed_call('GETRANGE', record_key, '0', wanted and '-1' or RECORD_HEADER_END)
if type(raw) == 'table' then return { 'corrupt', 'record' } end
-- An absent key reads as an empty string, and so does an empty string.
if raw == '' and redis.call('EXISTS', record_key) == 1 then return { 'corrupt', 'record' } end
local record
if raw ~= '' then record = wanted and record_decode(raw) or not wanted and record_decode_numbers(raw) end
local corrupt = raw ~= '' and not record
-- Where it went, and whether a freeze is over, is stored behind the header. A record of another format is rewritten
-- as a whole.
if record and (record.kind ~= RECORD_LIVE or record.status == RECORD_MIGRATING or record.is_stale
  or wanted and record.copies_until > 0) then
  record, corrupt = record_read(record_key, now)
  raw = record and record.raw
end
local refusal = record_refusal(record, corrupt, now)
if refusal then return refusal end
if wanted and not entries_told(record) then return { 'corrupt', 'record' } end
if as_node ~= '' and not record.node then record_read_routing(record, record_key) end
refusal = change_refusal(record, record.node, as_lease_key, as_node, lease_id, now)
if refusal then return refusal end

-- A clock that was set back leaves last uses in the future and expiries that are too far off. But a session that
-- waits for its client got its time from recover, unless its last use is in the future.
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
