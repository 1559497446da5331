--[[
  thaw: end the freeze of a session: at its source, where it stays after all, or at its target, where it has come to.

  KEYS[1]  record      string  {ns:p}:session:<id>
  KEYS[2]  migrations  zset    {ns:p}:migrations
  ARGV[1]  now_ms      integer from 0; empty: the server's clock
  ARGV[2]  task        8 bytes; of the migration
  ARGV[3]  id          text of 1 to 128 bytes
  ARGV[4]  direction   word: outgoing, incoming; which of the two it is; an incoming copy only once the session departed

  Replies
    {"ok", version}
    {"unchanged", version}  it is not frozen
    {"missing"}
    {"rotated"}             a login gave it a newer id, which is not revealed
    {"moved", new_id}       it was thawed and rotated meanwhile
    {"departed", place}     it has departed to that place
    {"frozen"}              by another task, or in the other direction
    {"corrupt", key}
  Writes: record, migrations.
  Again:  the same state, answered unchanged.
  Uses:   call, args, clock, permission, typed, freeze, record, index, migration
]]

call_alone()
local record_key, migrations_key = unpack(KEYS)
local now = clock_now(ARGV[1])
local task, id = args_token(ARGV[2], 'task'), args_id(ARGV[3])
local direction = args_choice(ARGV[4], 'direction', 'outgoing', 'incoming') and FREEZE_OUTGOING or FREEZE_INCOMING

local record, refusal = record_live(record_key, now)
if not record then return refusal end
local lapsed = record.lapsed and record.lapsed.task == task
if not lapsed and not record.freeze then return { 'unchanged', record.version } end
if not lapsed and not migration_is(record, direction, task) then return { 'frozen' } end
if index_foreign(migrations_key) then return { 'corrupt', 'migrations' } end

permission_ask()
if record.freeze and direction == FREEZE_OUTGOING then
  freeze_return(record)
elseif record.freeze then
  freeze_end(record)
end
record_store(record_key, record, now)
redis.call('ZREM', migrations_key, id)
return { 'ok', record.version }
