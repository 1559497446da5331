--[[
  freeze: prepare a live session to move to another store: from now on it can be read and deleted, but not changed.

  KEYS[1]  record      string  {ns:p}:session:<id>
  KEYS[2]  migrations  zset    {ns:p}:migrations
  ARGV[1]  now_ms      integer from 0; empty: the server's clock
  ARGV[2]  task        8 bytes; of the migration
  ARGV[3]  id          text of 1 to 128 bytes
  ARGV[4]  place       utf-8 of up to 256 bytes; empty: none; where it is going
  ARGV[5]  new_node    utf-8 of up to 256 bytes; empty: none, it keeps its own; the node that gets it there, for
                       the process that continues the migration
  ARGV[6]  freeze_ms   integer from 1; default: 30000; how long it is frozen, unless a call ends that
  ARGV[7]  grace_ms    integer from 1; default: 3600000

  Replies
    {"ok", frozen_until, record}  the session as it was before
    {"missing"}
    {"rotated"}                   a login gave it a newer id, which is not revealed
    {"moved", new_id}             call again with it, once
    {"departed", place}           it has departed to that place
    {"frozen"}                    by another task
    {"corrupt", key}
  Writes: record, migrations.
  Again:  same task → same reply, until the freeze is over; then a new one.
  Uses:   call, args, clock, permission, typed, freeze, record, entries, index, migration
]]

call_alone()
local record_key, migrations_key = unpack(KEYS)
local now = clock_now(ARGV[1])
local task, id = args_token(ARGV[2], 'task'), args_id(ARGV[3])
local place, new_node = args_name(ARGV[4], 'place'), args_name(ARGV[5], 'new_node')
args_stored(place, new_node, '', '', 'place new_node')
local span, grace = args_integer(ARGV[6], 'freeze_ms', 1), args_integer(ARGV[7], 'grace_ms', 1)

local record, refusal = record_live(record_key, now)
if not record then return refusal end
local freeze = record.freeze
if freeze and not migration_is(record, FREEZE_OUTGOING, task) then return { 'frozen' } end
if not entries_told(record) then return { 'corrupt', 'record' } end
if index_foreign(migrations_key) then return { 'corrupt', 'migrations' } end
if freeze then
  freeze_end(record)
  return { 'ok', freeze.frozen_until, record_encode(record) }
end

permission_ask()
migration_freeze(record, FREEZE_OUTGOING, task, now + span, span, place, new_node)
migration_note(migrations_key, id, record, grace, now)
record_store(record_key, record, now)
return { 'ok', now + span, record.raw }
