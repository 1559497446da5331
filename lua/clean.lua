--[[
  clean: remove what a migration left that is not the session: an unneeded copy, or the note of where it went.

  KEYS[1]  record        string  {ns:p}:session:<id>
  KEYS[2]  expiry        zset    {ns:p}:expiry
  KEYS[3]  user          zset    {ns:p}:user:<user>:sessions
  KEYS[4]  connection    string  {ns:p}:connection:<connection>:session
  KEYS[5]  node          zset    {ns:p}:node:<node>:sessions
  KEYS[6]  migrations    zset    {ns:p}:migrations
  ARGV[1]  now_ms        integer from 0; empty: the server's clock
  ARGV[2]  task          8 bytes; of the migration
  ARGV[3]  id            text of 1 to 128 bytes
  ARGV[4]  user          text of up to 256 bytes; empty: none
  ARGV[5]  connection    text of up to 256 bytes; empty: none
  ARGV[6]  node          text of up to 256 bytes; empty: none
  ARGV[7]  what          word: copy, departed, deleted; remove a copy only when its source can no longer depart, and the
                         note of where a session went only when its copy was thawed
  ARGV[8]  until_ms      integer from 0; default: 0; of a copy, the end of the freeze at its source under which it was
                         made: one that was made under a later freeze may be about to become the session
  ARGV[9]  tombstone_ms  integer from 1; default: 30000; how long late calls still learn where it went, or that it was
                         deleted

  Replies
    {"ok"}
    {"unchanged"}  there is no such thing of this task
    {"need", "routing", user, connection, node}
    {"corrupt", key}
  Writes: record, expiry, user, connection, node, migrations.
  Events: ended (withdrawn), of a copy.
  Again:  the same state, answered unchanged.
  Uses:   event, args, clock, permission, typed, freeze, record, index, session, migration
]]

local stream_at, tell = event_call()
local record_key, expiry_key, user_key, connection_key, node_key, migrations_key = unpack(KEYS)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local now = clock_now(ARGV[1])
local task, id = args_token(ARGV[2], 'task'), args_id(ARGV[3])
local user, connection, node = args_names(ARGV[4], ARGV[5], ARGV[6])
local what = args_word(ARGV[7], 'what', { copy = RECORD_LIVE, departed = RECORD_DEPARTED, deleted = RECORD_DELETED })
local frozen_until, tombstone = args_integer(ARGV[8], 'until_ms', 0), args_integer(ARGV[9], 'tombstone_ms', 1)

local record, pointer, foreign = session_read_head(record_key, connection_key, connection, now)
if foreign == 'record' then return { 'corrupt', 'record' } end
local is_of_task = migration_is(record, FREEZE_INCOMING, task) or migration_departed(record) == task
if not is_of_task or record.kind ~= what then return { 'unchanged' } end
if what == RECORD_LIVE and record.freeze.frozen_until ~= frozen_until then return { 'unchanged' } end
if index_foreign(migrations_key) then return { 'corrupt', 'migrations' } end

permission_ask(session_unindex_undo)
if what == RECORD_LIVE then
  local refusal = session_need(record, user, connection, node)
  if refusal then return refusal end
  if foreign then return { 'corrupt', foreign } end
  refusal = session_erase(record_key, keys, id, record, pointer, now, tell, stream_at + 2, 'withdrawn')
  if refusal then return refusal end
  redis.call('ZREM', migrations_key, id)
else
  if record.freeze then freeze_end(record) end
  record_speak(record, math.min(record.stored_until, now + tombstone))
  if what == RECORD_DEPARTED then record.body = ARGS_NO_TOKEN .. record.body:sub(#ARGS_NO_TOKEN + 1) end
  -- The list comes first. Otherwise a repeated call would find the record done, and leave its entry.
  redis.call('ZREM', migrations_key, id)
  record_store(record_key, record, now)
end
return { 'ok' }
