--[[
  patch: set and remove single attributes and extensions of a live session, its status, its ttl.

  KEYS[1]   record           string  {ns:p}:session:<id>
  KEYS[2]   expiry           zset    {ns:p}:expiry
  KEYS[3]   user             zset    {ns:p}:user:<user>:sessions
  KEYS[4]   connection       string  {ns:p}:connection:<connection>:session
  KEYS[5]   node             zset    {ns:p}:node:<node>:sessions
  KEYS[6]   as_lease         string  {ns:p}:node:<as_node>:lease
  ARGV[1]   now_ms           integer from 0; empty: the server's clock
  ARGV[2]   op_id            8 bytes; empty: none
  ARGV[3]   bound_ms         integer from 0; empty: none; a time of the server from before the call began
  ARGV[4]   id               text of 1 to 128 bytes
  ARGV[5]   user             text of up to 256 bytes; empty: none
  ARGV[6]   connection       text of up to 256 bytes; empty: none
  ARGV[7]   node             text of up to 256 bytes; empty: none
  ARGV[8]   version          integer from 1; empty: any
  ARGV[9]   status           word: active, suspended; empty: as it is
  ARGV[10]  ttl_ms           integer from 1 to 315360000000; empty: as it is
  ARGV[11]  new_lifetime_ms  integer from 0; 0: none; empty: the deadline stays; how long it lives at most from now on
  ARGV[12]  threshold        integer from 1 to 1000; default: 500; thousandths of ttl: extend when less is left
  ARGV[13]  touch_ms         integer from 0; default: 0; note no use when the last one is less than this ago
  ARGV[14]  grace_ms         integer from 1; default: 3600000
  ARGV[15]  entries_bytes    integer from 0 to 15728640; default: 262144; the most that all entries may take
  ARGV[16]  entries_most     integer from 0; default: 1024; how many entries there may be at most, and how many changes
  ARGV[17]  as_node          text of up to 256 bytes; empty: none; the node that makes the call
  ARGV[18]  lease_id         8 bytes; empty: none; its lease
  ARGV[19]  changes          entries; empty: none; an empty value removes

  Replies
    {"ok", version, last_active, expires_at, new_id?}  the new id if it was rotated since this change
    {"unchanged", version, last_active, expires_at}    no changes, and the rest is as it was; nothing was written
    {"unsure", now}                                    unknown whether it has happened; nothing was written now
    {"missing"}
    {"rotated"}                                        a login gave it a newer id, which is not revealed
    {"moved", new_id}                                  call again with it, once
    {"departed", place}                                it has departed to that place
    {"frozen"}
    {"fenced"}                                         as_node lacks its lease, or the session is another node's
    {"conflict", version}                              the session moved on
    {"large", bytes, entries}                          the entries would take that many bytes and be that many
    {"need", "routing", user, connection, node}        asked only if the times affect the indexes, or if
                                                       a new status goes into an event
    {"corrupt", key}
  Writes: record; rarely expiry, user, connection, node.
  Events: updated, if the status changed.
  Again:  same op_id → ok, with the version that it made and the times as they are now, while its change is one of the
          session's last four; then unsure.
  Uses:   event, args, clock, permission, typed, freeze, record, entries, index, session, lease, change
]]

local stream_at, tell = event_call()
local record_key, expiry_key, user_key, connection_key, node_key, as_lease_key = unpack(KEYS)
local now_ms, op_id, bound_ms, id, user, connection, node, version, status, ttl_ms, new_lifetime_ms, threshold,
  touch_ms, grace_ms, entries_bytes, entries_most, as_node, lease_id, changes = unpack(ARGV)

-- Ordinarily: changes of entries, appended without reading the existing ones, to a session that does not live
-- longer by them. Uncertain cases, and arguments that are not plainly right, are left to the form below.
local most_bytes, most, bound, grace = tonumber(entries_bytes), tonumber(entries_most), tonumber(bound_ms),
  tonumber(grace_ms)
local share, touch = tonumber(threshold), tonumber(touch_ms)
if status .. ttl_ms .. new_lifetime_ms .. as_node .. lease_id == '' and #op_id == ARGS_TOKEN_SIZE
  and op_id ~= '\0\0\0\0\0\0\0\0'
  and not (now_ms .. bound_ms .. version .. threshold .. touch_ms .. grace_ms .. entries_bytes .. entries_most)
    :find('%D')
  and share and share >= 1 and share <= 1000 and touch and touch <= ARGS_MOST
  and most_bytes and most_bytes <= ENTRIES_MOST and most and most <= ARGS_MOST
  and grace and grace >= 1 and grace <= ARGS_MOST
  and (not bound or bound <= ARGS_MOST)
  and id ~= '' and #id <= 128 and #user <= 256 and #connection <= 256 and #node <= 256 then
  local now = tonumber(now_ms)
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
  end
  local unpack_fields, position, size, count = struct.unpack, 1, #changes, 0
  while position + ENTRY_HEADER_SIZE <= size + 1 do
    local kind, key_size, value_size = unpack_fields(ENTRY_HEADER, changes, position)
    if kind < 1 or kind > 2 then break end
    position, count = position + ENTRY_HEADER_SIZE + key_size + value_size, count + 1
  end
  local raw = redis.pcall('GETRANGE', record_key, '0', RECORD_HEAD_END)
  if count > 0 and count <= most and position == size + 1 and type(raw) == 'string' and #raw >= RECORD_HEADER_SIZE then
    local format, kind, state, user_size, connection_size, node_size, compacted, body_size, listed, op_ids, changed_at,
      gap, second_gap, third_gap, at_version, _, ttl, deadline, last_active, expires_at, stored_until =
      unpack_fields(RECORD_HEADER, raw)
    local record_size = RECORD_HEADER_SIZE + user_size + connection_size + node_size + body_size
    body_size, listed = body_size + size, listed + count
    -- A use, as a refresh records one.
    local left, idle, used = expires_at - now, now - last_active, raw:sub(RECORD_TIMES_OFFSET + 1, RECORD_HEADER_SIZE)
    local is_used, extended = idle >= touch or left <= touch, now + ttl
    if deadline > 0 and extended > deadline then extended = deadline end
    if is_used then used, last_active = struct.pack(RECORD_TIMES, now, expires_at, stored_until), now end
    if format == RECORD_FORMAT and kind == RECORD_LIVE and state >= RECORD_ACTIVE and state < RECORD_MIGRATING
      and expires_at > now and stored_until >= expires_at and (version == '' or tonumber(version) == at_version)
      and idle >= 0 and (not is_used or left * 1000 >= ttl * share or extended <= expires_at)
      and (third_gap == RECORD_GAP_NONE or bound and now - bound < ARGS_ALONE) and not op_ids:find(op_id, 1, true)
      and (body_size < compacted + ENTRIES_TAIL or body_size * 2 < compacted * 3)
      and body_size <= most_bytes and listed <= most and listed < RECORD_LISTED_MOST
      and (record_size == #raw
        or record_size > RECORD_HEAD_SIZE and redis.call('STRLEN', record_key) == record_size) then
      local since = 0
      if now > changed_at then since, changed_at = now - changed_at, now end
      if since > RECORD_GAP_MOST then since = RECORD_GAP_MOST end
      at_version = at_version + 1
      local written = struct.pack(RECORD_CHANGED, body_size, listed, op_id, op_ids, changed_at, since, gap, second_gap,
        at_version)
      written = written .. raw:sub(RECORD_CHANGED_OFFSET + #written + 1, RECORD_TIMES_OFFSET) .. used
      if record_size == #raw then
        redis.call('SET', record_key, raw:sub(1, RECORD_CHANGED_OFFSET) .. written
          .. raw:sub(RECORD_CHANGED_OFFSET + #written + 1) .. changes, 'KEEPTTL')
      else
        -- Same command, same key: if Redis allows the first, it allows the second.
        redis.call('SETRANGE', record_key, record_size, changes)
        redis.call('SETRANGE', record_key, RECORD_CHANGED_START, written)
      end
      return { 'ok', at_version, last_active, expires_at }
    end
  end
end

-- Otherwise:
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local now = clock_now(now_ms)
local op_id, bound = args_operation(op_id, bound_ms)
args_id(id)
args_names(user, connection, node)
local expected = args_optional_integer(version, 'version', 1)
local wanted = status ~= '' and record_status(status) or nil
local ttl = args_optional_integer(ttl_ms, 'ttl_ms', 1, ARGS_TTL_MOST)
local lifetime = args_optional_integer(new_lifetime_ms, 'new_lifetime_ms', 0)
local threshold, touch = args_integer(threshold, 'threshold', 1, 1000), args_integer(touch_ms, 'touch_ms', 0)
local grace = args_integer(grace_ms, 'grace_ms', 1)
local most_bytes = args_integer(entries_bytes, 'entries_bytes', 0, ENTRIES_MOST)
local most = args_integer(entries_most, 'entries_most', 0)
args_name(as_node, 'as_node')
args_optional_token(lease_id, 'lease_id')
local _, count = entries_argument(changes, 'changes', true, most)

local record, refusal, first, noted =
  change_begin(record_key, op_id, bound, nil, as_lease_key, as_node, lease_id, now)
if first then return { 'ok', first, noted.last_active, noted.expires_at, record_moved_to(noted) } end
if not record then return refusal end
if expected and expected ~= record.version then return { 'conflict', record.version } end
local new_ttl = ttl and ttl ~= record.ttl
if count == 0 and (wanted or record.status) == record.status and not new_ttl and not lifetime then
  return { 'unchanged', record.version, record.last_active, record.expires_at }
end
local changed, bytes, entries = entries_change(record, changes, count, most_bytes, most)
if changed == nil then return { 'corrupt', 'record' } end
if not changed then return { 'large', bytes, entries } end
local differs = tell and wanted and wanted ~= record.status
local begins = new_ttl or lifetime
local extends, keeps
if not begins then extends, keeps = record_use(record, threshold, touch, grace, now) end
if begins or keeps or differs then refusal = session_need(record, user, connection, node) end
if not refusal and (begins or keeps) then
  refusal = session_foreign(keys, record)
elseif not refusal and extends and index_foreign(expiry_key) then
  refusal = { 'corrupt', 'expiry' }
end
if refusal then return refusal end

record.status = wanted or record.status
record_change(record, op_id, now)
if begins then record_begin(record, new_ttl and ttl, lifetime, now) end
if begins or extends then
  permission_ask()
  session_reschedule(keys, id, record, grace, now)
end
if differs then tell(stream_at + 2, nil, 'updated', '', id, user, connection, node, record.version) end
record_store(record_key, record, now)
return { 'ok', record.version, record.last_active, record.expires_at }
