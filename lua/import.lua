--[[
  import: store a session that another store exported, with its version, times and deadline.

  KEYS[1]    record          string  {ns:p}:session:<id>
  KEYS[2]    expiry          zset    {ns:p}:expiry
  KEYS[3]    user            zset    {ns:p}:user:<user>:sessions
  KEYS[4]    connection      string  {ns:p}:connection:<connection>:session
  KEYS[5]    node            zset    {ns:p}:node:<node>:sessions
  KEYS[6]    new_user        zset    {ns:p}:user:<new_user>:sessions
  KEYS[7]    new_connection  string  {ns:p}:connection:<new_connection>:session
  KEYS[8]    new_node        zset    {ns:p}:node:<new_node>:sessions
  KEYS[9]    holder_record   string  {ns:p}:session:<holder_id|id>
  KEYS[10]   migrations      zset    {ns:p}:migrations
  KEYS[11+]  victim          group   record string {ns:p}:session:<id>,
                                     connection string {ns:p}:connection:<connection>:session,
                                     node zset {ns:p}:node:<node>:sessions; at most 200; those to evict
  ARGV[1]    now_ms          integer from 0; empty: the server's clock
  ARGV[2]    op_id           8 bytes; empty: none
  ARGV[3]    bound_ms        integer from 0; empty: none; a time of the server from before the call began
  ARGV[4]    id              utf-8 of 1 to 128 bytes
  ARGV[5]    user            text of up to 256 bytes; empty: none; this and the next two as they are here, if the
                             session is
  ARGV[6]    connection      text of up to 256 bytes; empty: none
  ARGV[7]    node            text of up to 256 bytes; empty: none
  ARGV[8]    version         integer from 1
  ARGV[9]    new_user        utf-8 of up to 256 bytes; empty: none
  ARGV[10]   new_connection  utf-8 of up to 256 bytes; empty: none
  ARGV[11]   new_node        utf-8 of up to 256 bytes; empty: none
  ARGV[12]   holder_id       text; empty: none
  ARGV[13]   status          word: active, suspended
  ARGV[14]   created_at_ms   integer from 0
  ARGV[15]   last_active_ms  integer from 0
  ARGV[16]   expires_at_ms   integer from 0
  ARGV[17]   deadline_ms     integer from 0; 0: none
  ARGV[18]   ttl_ms          integer from 1 to 315360000000
  ARGV[19]   operations      32 bytes; the ids of its last four changes, newest first
  ARGV[20]   replaces        integer from 0; empty: any older one; the version to replace, 0: none
  ARGV[21]   grace_ms        integer from 1; default: 3600000
  ARGV[22]   entries         entries of up to 15728640 bytes; empty: none
  ARGV[23]   task            8 bytes; empty: none; of the migration by which it comes: a copy, frozen until it is thawed
  ARGV[24]   until_ms        integer from 0; empty: none; the end of the freeze at its source: a later one brings a
                             newer copy
  ARGV[25]   place           utf-8 of up to 256 bytes; empty: none; where it comes from
  ARGV[26]   hand_over       word: yes, no; default: no; by a task only: yes: new_node is a new node, and the
                             client must connect there: no new_connection, suspended, and one version higher
  ARGV[27]   login_limit     integer from 0 to 500; 0: none; default: 0; of a login: how many sessions new_user may
                             have, if this is one more
  ARGV[28]   login_policy    word: reject, evict; default: reject
  ARGV[29]   tombstone_ms    integer from 1; default: 30000
  ARGV[30+]  victim          group   id (text), connection (text; empty: none), node (text; empty: none)

  Replies
    {"ok", version, evicted_id...}
    {"unchanged", version}                      it is here already; the times of its use are not compared
    {"unsure", now}                             unknown whether it has happened; nothing was written now
    {"expired"}                                 the session has expired by the server's clock
    {"missing"}                                 no live session is here that it could replace
    {"conflict", version}                       another session, or a version that it does not replace, is here
    {"gone"}                                    this id was deleted here a moment ago
    {"moved", new_id}                           this id was rotated here a moment ago
    {"departed", place}                         it has departed from here to that place
    {"taken", holder_id}                        another live session has the connection: this one
    {"frozen"}
    {"limit", live}                             the user has that many sessions, and the policy is reject
    {"need", "routing", user, connection, node}
    {"need", "holder", holder_id, holder_node}  the connection points to this session
    {"need", "reap", id}                        run reap for it: it has expired and is in the way
    {"need", "evict", id...}                    declare these as victims
    {"need", "remove", id...}                   run delete_user of <new_user> for these: they are far too many
    {"corrupt", key}
  Writes: record, expiry, new_user, new_connection, new_node, migrations; rarely user, connection, node, victim_record,
          victim_connection, victim_node.
  Events: arrived; of one that was here, updated, if user, connection, node or status changed; ended (evicted).
  Again:  same op_id → ok, with the victims that it evicted among those that this call declares, while its change is one
          of the session's last four; then unsure; same task → same reply, until it is thawed.
  Uses:   event, args, clock, permission, typed, freeze, record, entries, index, session, bulk, limit, migration
]]

local member_count, stream_at, tell = event_call_members()
local record_key, expiry_key, user_key, connection_key, node_key, new_user_key, new_connection_key, new_node_key,
  holder_key, migrations_key = unpack(KEYS, 1, 10)
local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
local new_keys = { expiry = expiry_key, user = new_user_key, connection = new_connection_key, node = new_node_key,
  prefix = 'new_' }
local now = clock_now(ARGV[1])
local op_id, bound = args_operation(ARGV[2], ARGV[3])
local id = args_id(ARGV[4])
local user, connection, node = args_names(ARGV[5], ARGV[6], ARGV[7])
local new = { kind = RECORD_LIVE, version = args_integer(ARGV[8], 'version', 1), stored_until = 0 }
new.user, new.connection, new.node = args_names(ARGV[9], ARGV[10], ARGV[11], 'new_')
args_stored(id, new.user, new.connection, new.node, 'id new_user new_connection new_node')
local holder_id = ARGV[12]
new.status, new.created_at = record_status(ARGV[13]), args_integer(ARGV[14], 'created_at_ms', 0)
new.last_active = args_integer(ARGV[15], 'last_active_ms', 0)
new.expires_at = args_integer(ARGV[16], 'expires_at_ms', 0)
new.deadline, new.ttl = args_integer(ARGV[17], 'deadline_ms', 0), args_integer(ARGV[18], 'ttl_ms', 1, ARGS_TTL_MOST)
local operations, replaces = args_op_ids(ARGV[19]), args_optional_integer(ARGV[20], 'replaces', 0)
local grace = args_integer(ARGV[21], 'grace_ms', 1)
local entries, listed = entries_argument(ARGV[22], 'entries')
local task, frozen_until = args_optional_token(ARGV[23], 'task'), args_optional_integer(ARGV[24], 'until_ms', 0) or 0
local place, hand_over = args_name(ARGV[25], 'place'), args_choice(ARGV[26], 'hand_over', 'yes', 'no')
args_stored(place, '', '', '', 'place')
local limit = args_integer(ARGV[27], 'login_limit', 0, LIMIT_MOST)
local evict = args_choice(ARGV[28], 'login_policy', 'evict', 'reject')
local tombstone = args_integer(ARGV[29], 'tombstone_ms', 1)
local declared = limit_declared(member_count, 11, 30, stream_at + 4, new_user_key, expiry_key)
new.op_ids, new.copies_until = operations, 0
record_set_entries(new, entries, listed)
record_arrive(new, now)
if new.deadline > 0 and new.expires_at > new.deadline then error('cloakroom: expires_at_ms is past deadline_ms') end
if hand_over then
  if task == '' or new.node == '' or new.connection ~= '' then
    error('cloakroom: hand_over is by a task, to a node, without a connection')
  end
  new.status = RECORD_SUSPENDED
  record_change(new, '', now)
end

local old, corrupt, copies_until = record_read(record_key, now)
if old and record_version_of(old, op_id) then return limit_evicted(declared, op_id, now, { 'ok', new.version }) end
local again = task ~= '' and migration_is(old, FREEZE_INCOMING, task)
-- A copy that was deleted here stays deleted: its migration goes on, and ends with nothing.
if again and old.freeze.frozen_until == frozen_until then return { 'ok', new.version } end
-- A copy is known by its task.
local unsure = old and task == '' and record_unsure(old, op_id, bound, now)
if unsure then return unsure end
if new.expires_at <= now then return { 'expired' } end
-- It was here before and comes back: the note of where it went is no longer needed.
if task ~= '' and migration_departed(old) == ARGS_NO_TOKEN then old = nil end
local refusal = record_refusal(old, corrupt, now)
if refusal and refusal[1] ~= 'missing' and refusal[1] ~= 'rotated' then return refusal end
if old and old.kind == RECORD_DELETED then return { 'gone' } end
if refusal then
  if replaces and replaces > 0 then return { 'missing' } end
  refusal = nil
elseif task ~= '' then
  if old.freeze and not again then return { 'frozen' } end
  if not again or old.freeze.frozen_until > frozen_until or old.created_at ~= new.created_at then
    return { 'conflict', old.version }
  end
  refusal = session_need(old, user, connection, node)
else
  if old.status == RECORD_MIGRATING then return { 'frozen' } end
  if record_same(old, new) and entries_same(old.body, entries) then return { 'unchanged', new.version } end
  if old.created_at ~= new.created_at or old.version >= new.version or (replaces or old.version) ~= old.version then
    return { 'conflict', old.version }
  end
  refusal = session_need(old, user, connection, node)
end
if not refusal and new.connection ~= '' and not (old and old.connection == new.connection) then
  refusal = session_holder('new_connection', new_connection_key, new.connection, id, holder_id, holder_key, now)
end
-- A refused import reaps nothing.
if not refusal and old and old.expires_at <= now then return { 'need', 'reap', id } end
if not refusal and old then refusal = session_foreign(keys, old) or session_foreign(new_keys, new) end
if refusal then return refusal end
local victims = {}
if not old or old.user ~= new.user then
  victims, refusal = limit_admit(declared, 'new_user', new_user_key, expiry_key, new.user, id, limit, evict, now)
  if refusal then return refusal end
end
if task ~= '' and index_foreign(migrations_key) then return { 'corrupt', 'migrations' } end

if task == '' then
  record_note_import(new, op_id)
else
  migration_freeze(new, FREEZE_INCOMING, task, frozen_until, 0, place, '')
end
new.copies_until = copies_until
if #victims == 0 then permission_ask(index_pointer, limit_evict) else permission_ask(index_pointer) end
refusal = session_put(keys, new_keys, id, old, new, grace, now)
if refusal then return refusal end
if not old then
  session_tell(tell, stream_at + 3, 'arrived', '', id, new, new.version)
elseif tell and (old.user ~= new.user or old.connection ~= new.connection or old.node ~= new.node
  or freeze_status(old) ~= freeze_status(new)) then
  tell(stream_at + 3, stream_at + 2, 'updated', '', id, new.user, new.connection, new.node, new.version)
end
record_store(record_key, new, now)
if task ~= '' then migration_note(migrations_key, id, new, grace, now) end
return limit_evict(victims, declared, op_id, tombstone, now, { 'ok', new.version }, tell)
