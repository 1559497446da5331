--[[
  mend_session: repair the entries that lead to an id by its record, or report what is wrong there. It checks the named
  keys: if the record is a session's that has the name, its entry must be there; otherwise there must be none. It
  writes a session's record only if another session has its connection.

  KEYS[1]  record         string  {ns:p}:session:<id>
  KEYS[2]  expiry         zset    {ns:p}:expiry
  KEYS[3]  user           zset    {ns:p}:user:<user>:sessions
  KEYS[4]  connection     string  {ns:p}:connection:<connection>:session
  KEYS[5]  node           zset    {ns:p}:node:<node>:sessions
  KEYS[6]  migrations     zset    {ns:p}:migrations
  KEYS[7]  holder_record  string  {ns:p}:session:<holder_id|id>
  ARGV[1]  now_ms         integer from 0; empty: the server's clock
  ARGV[2]  want           word: tell, mend
  ARGV[3]  id             text of 1 to 128 bytes
  ARGV[4]  user           text of up to 256 bytes; empty: none
  ARGV[5]  connection     text of up to 256 bytes; empty: none
  ARGV[6]  node           text of up to 256 bytes; empty: none
  ARGV[7]  holder_id      text; empty: none; the session that the connection points to
  ARGV[8]  grace_ms       integer from 1; default: 3600000

  Replies
    {"ok", wrong...}        what is wrong, or was until now: the name of a key, "_" and one of missing, stray, score;
                            short, it expires before the session; of the expiry index note, its own note is; of a
                            connection elsewhere, it points to a session that does not have it, and held, to one that
                            has it too
    {"need", "routing", user, connection, node}
    {"need", "holder", holder_id}
    {"frozen"}              a migration has frozen it, and it would have to give up its connection
    {"corrupt", key}
  Writes: record, expiry, user, connection, node, migrations.
  Events: ended: lost, of what nothing but an entry of the expiry index was left; taken_over.
  Again:  the same state; what was repaired is no longer wrong.
  Uses:   event, args, clock, permission, typed, freeze, record, index, session, migration, wrong
]]

local stream_at, tell = event_call()
local record_key, expiry_key, user_key, connection_key, node_key, migrations_key, holder_key = unpack(KEYS)
local now, mend = clock_now(ARGV[1]), args_choice(ARGV[2], 'want', 'mend', 'tell')
local id = args_id(ARGV[3])
local user, connection, node = args_names(ARGV[4], ARGV[5], ARGV[6])
local holder_id, grace = ARGV[7], args_integer(ARGV[8], 'grace_ms', 1)

local record, corrupt = record_find_head(record_key)
if corrupt then return { 'corrupt', 'record' } end
local live = record and record.kind == RECORD_LIVE and record or nil
local departed = migration_departed(record)
local is_under_way = record and record.freeze or departed and departed ~= ARGS_NO_TOKEN
local pointer, foreign
if connection ~= '' then pointer, foreign = index_pointer(connection_key) end
if foreign then return { 'corrupt', 'connection' } end
if index_foreign(expiry_key) then return { 'corrupt', 'expiry' } end
if user ~= '' and index_foreign(user_key) then return { 'corrupt', 'user' } end
if node ~= '' and index_foreign(node_key) then return { 'corrupt', 'node' } end
if is_under_way and index_foreign(migrations_key) then return { 'corrupt', 'migrations' } end

local wrong = { 'ok' }
local function note(name, what)
  if not what then return end
  wrong[#wrong + 1] = name .. '_' .. what
  wrong[name] = what
end
-- TTLs run by the server's clock; a test's clock may be ahead of it.
local rest = record and math.max(record.stored_until - now, 1) or 0
local kept = record and redis.call('PTTL', record_key) or -1
if kept >= 0 and kept + WRONG_LATE < rest then
  note('record', 'short')
  kept = rest
end
local needed = math.min(rest, kept)
note('expiry', wrong_index(expiry_key, id, live and live.expires_at, needed))
if live and not wrong.expiry then
  local own_note = redis.call('ZSCORE', expiry_key, '')
  if not own_note or tonumber(own_note) < live.expires_at then note('expiry', 'note') end
end
if user ~= '' then
  note('user', wrong_index(user_key, id, live and live.user == user and live.created_at or nil, needed))
end
if node ~= '' then
  note('node', wrong_index(node_key, id, live and live.node == node and live.created_at or nil, needed))
end
if is_under_way then
  note('migrations', wrong_index(migrations_key, id, record.freeze and record.freeze.frozen_until or true, needed))
end
if connection ~= '' and not (live and live.connection == connection) then
  if pointer == id then note('connection', 'stray') end
elseif connection ~= '' and pointer == id then
  if wrong_goes_before(connection_key, needed) then note('connection', 'short') end
elseif connection ~= '' and not pointer then
  note('connection', 'missing')
elseif connection ~= '' then
  if pointer ~= holder_id then return { 'need', 'holder', pointer } end
  local holder, unread = record_find_head(holder_key)
  if unread then return { 'corrupt', 'holder_record' } end
  local has_it = holder and holder.kind == RECORD_LIVE and holder.connection == connection
  -- An expired session gives way to a live one.
  local keeps_it = has_it and (holder.expires_at > now or live.expires_at <= now)
  note('connection', keeps_it and 'held' or 'elsewhere')
end
if not mend or #wrong == 1 then return wrong end
local detached
if wrong.connection == 'held' then
  detached = record_read(record_key, now)
  if not detached then return { 'corrupt', 'record' } end
  if detached.status == RECORD_MIGRATING then return { 'frozen' } end
  local refusal = session_need(detached, detached.user, connection, node)
  if refusal then return refusal end
  detached.stored_until = now + rest
end

permission_ask()
if wrong.record then redis.call('PEXPIRE', record_key, rest) end
if wrong.expiry == 'stray' then
  -- The write that frees memory comes first: if memory is full, Redis would refuse an event as the first
  -- write.
  redis.call('ZREM', expiry_key, id)
  if tell and not record then tell(nil, nil, 'ended', 'lost', id, '', '', '', '0') end
elseif wrong.expiry then
  index_expiry(expiry_key, id, live, grace, now, true)
  -- It must live as long as its own note says; otherwise the next sessions would not notice that it is too
  -- short.
  local deadline = tonumber(redis.call('ZSCORE', expiry_key, ''))
  if wrong_goes_before(expiry_key, deadline - now) then redis.call('PEXPIRE', expiry_key, deadline - now) end
end
for name, key in pairs({ user = user_key, node = node_key }) do
  if wrong[name] == 'stray' then
    redis.call('ZREM', key, id)
  elseif wrong[name] then
    redis.call('ZADD', key, live.created_at, id)
    index_keep(key, rest, grace)
  end
end
if wrong.migrations then
  redis.call('ZADD', migrations_key, record.freeze and record.freeze.frozen_until or now, id)
  index_keep(migrations_key, rest, grace)
end
if wrong.connection == 'stray' then
  redis.call('DEL', connection_key)
elseif wrong.connection == 'short' then
  index_keep(connection_key, rest, grace)
elseif detached then
  session_detach(record_key, node_key, id, detached, '', now, tell, stream_at + 2, 'taken_over')
elseif wrong.connection then
  redis.call('SET', connection_key, id, 'PX', rest)
end
return wrong
