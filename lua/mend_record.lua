--[[
  mend_record: set aside a value under a session's key that is not its record, and remove its entries as far as
  they are known; or report whether it is still there. The caller has judged it; a value that changed since stays. So do
  keys of foreign types.

  KEYS[1]  record      string  {ns:p}:session:<id>
  KEYS[2]  expiry      zset    {ns:p}:expiry
  KEYS[3]  user        zset    {ns:p}:user:<user>:sessions
  KEYS[4]  connection  string  {ns:p}:connection:<connection>:session
  KEYS[5]  node        zset    {ns:p}:node:<node>:sessions
  KEYS[6]  aside       string  {ns:p}:aside:<id>
  ARGV[1]  now_ms      integer from 0; empty: the server's clock
  ARGV[2]  want        word: tell, mend
  ARGV[3]  id          text of 1 to 128 bytes
  ARGV[4]  user        text of up to 256 bytes; empty: none
  ARGV[5]  connection  text of up to 256 bytes; empty: none
  ARGV[6]  node        text of up to 256 bytes; empty: none
  ARGV[7]  found       text; empty: something of a foreign type; the SHA-1 of the found value, in hex digits
  ARGV[8]  aside_ms    integer from 1; default: 604800000; how long it stays set aside

  Replies
    {"ok", wrong...}  "record" if the found value is there, or was until now
    {"corrupt", key}
  Writes: record, expiry, user, connection, node, aside.
  Events: ended (corrupt), but of what is no session.
  Again:  the same state; what was repaired is no longer wrong.
  Uses:   event, args, clock, permission, typed, freeze, record, index
]]

local stream_at, tell = event_call()
local record_key, expiry_key, user_key, connection_key, node_key, aside_key = unpack(KEYS)
local now, mend = clock_now(ARGV[1]), args_choice(ARGV[2], 'want', 'mend', 'tell')
local id = args_id(ARGV[3])
local user, connection, node = args_names(ARGV[4], ARGV[5], ARGV[6])
local found, aside = ARGV[7], args_integer(ARGV[8], 'aside_ms', 1)

local raw = typed_call('GET', record_key)
if not raw or (type(raw) == 'table' and '' or redis.sha1hex(raw)) ~= found then return { 'ok' } end
if not mend then return { 'ok', 'record' } end
local record = record_read_head(record_key, now)
local pointer = connection ~= '' and index_pointer(connection_key)

permission_ask(index_pointer, record_find_head)
redis.call('RENAME', record_key, aside_key)
redis.call('PEXPIRE', aside_key, aside)
-- After a write that frees memory: if memory is full, Redis would refuse an event as the first write.
if tell and not (record and record.kind ~= RECORD_LIVE) then
  tell(stream_at + 2, nil, 'ended', 'corrupt', id, user, connection, node, record and record.version or '0')
end
typed_call('ZREM', expiry_key, id)
if user ~= '' then typed_call('ZREM', user_key, id) end
if node ~= '' then typed_call('ZREM', node_key, id) end
if pointer == id then redis.call('DEL', connection_key) end
return { 'ok', 'record' }
