--[[
  refresh: note that a live session is used, and extend it when enough of its idle time is gone.

  KEYS[1]   record       string  {ns:p}:session:<id>
  KEYS[2]   expiry       zset    {ns:p}:expiry
  KEYS[3]   user         zset    {ns:p}:user:<user>:sessions
  KEYS[4]   connection   string  {ns:p}:connection:<connection>:session
  KEYS[5]   node         zset    {ns:p}:node:<node>:sessions
  ARGV[1]   now_ms       integer, empty for the server's clock
  ARGV[2]   id           text
  ARGV[3]   user         text, may be empty
  ARGV[4]   connection   text, may be empty
  ARGV[5]   node         text, may be empty
  ARGV[6]   threshold    integer, thousandths of ttl: extend when less is left
  ARGV[7]   touch_ms     integer, write nothing when the last use is no longer ago
  ARGV[8]   grace_ms     integer
  ARGV[9]   want         word: times, record

  Replies
    {"ok", version, last_active, expires_at}         and the record, if wanted
    {"unchanged", version, last_active, expires_at}  used a moment ago; and the record, if wanted
    {"missing"}
    {"moved", new_id}
    {"frozen"}
    {"need", "routing", user, connection, node}      asked only when the TTLs of the keys come near
    {"corrupt", key}
  Writes: record; expiry when it extends; rarely the TTL of each key.
  Again:  the same state but for the time of use.
  Uses:   args, clock, typed, record, entries, index, session
]]

if #KEYS ~= 5 or #ARGV ~= 9 then return redis.error_reply('ERR cloakroom refresh: 5 KEYS and 9 ARGV') end
local record_key, expiry_key, user_key, connection_key, node_key = unpack(KEYS)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local now = clock_now(ARGV[1])
local id = args_id(ARGV[2])
local user, connection, node = args_names(ARGV[3], ARGV[4], ARGV[5])
local threshold, touch = args_integer(ARGV[6], 'threshold', 1, 1000), args_integer(ARGV[7], 'touch_ms', 0)
local grace = args_integer(ARGV[8], 'grace_ms', 1)
local wanted = args_word(ARGV[9], 'want', { times = false, record = true })

-- The header is enough, whatever the payload's size.
local raw = typed_call('GETRANGE', record_key, 0, wanted and -1 or RECORD_HEADER_SIZE - 1)
if type(raw) == 'table' then return { 'corrupt', 'record' } end
-- An absent key reads as an empty string, and so does an empty string.
if raw == '' and redis.call('EXISTS', record_key) == 1 then return { 'corrupt', 'record' } end
local record = raw ~= '' and record_decode_header(raw) or nil
if record and wanted then record = record_decode(raw) end
if record and record.kind == RECORD_MOVED then record = record_read(record_key) end
local refusal = record_refusal(record, raw ~= '' and not record, now)
if refusal then return refusal end
if wanted and not entries_whole(record.body) then return { 'corrupt', 'record' } end
if record.status == RECORD_MIGRATING then return { 'frozen' } end

local function reply(word)
  local times = struct.pack(RECORD_TIMES, record.last_active, record.expires_at, record.stored_until)
  local fields = { word, record.version, record.last_active, record.expires_at }
  if wanted then fields[5] = raw:sub(1, RECORD_TIMES_OFFSET) .. times .. raw:sub(RECORD_TIMES_OFFSET + #times + 1) end
  return fields, times
end

local left = record.expires_at - now
if now - record.last_active < touch and left > touch then return (reply('unchanged')) end
record.last_active = math.max(record.last_active, now)
local expires_at = record_extended(record, now)
if left * 1000 < record.ttl * threshold and expires_at > record.expires_at then
  record.expires_at = expires_at
  local keep = record_keep(record, grace)
  if keep then
    refusal = session_routing_need(record_key, record, user, connection, node)
    if refusal then return refusal end
  end
  if index_expiry(expiry_key, id, record, grace, now) then return { 'corrupt', 'expiry' } end
  if keep then
    session_keep(keys, record, grace, now)
    redis.call('PEXPIRE', record_key, record.stored_until - now)
  end
end
local fields, times = reply('ok')
redis.call('SETRANGE', record_key, RECORD_TIMES_OFFSET, times)
return fields
