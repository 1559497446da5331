--[[
  migrations: read the sessions on their way among a page of the list, and drop the entries of others.

  KEYS[1]   migrations  zset   {ns:p}:migrations
  KEYS[2+]  session     group  record string {ns:p}:session:<id>; at most 200
  ARGV[1]   now_ms      integer from 0; empty: the server's clock
  ARGV[2+]  session     group  id (text)

  Replies
    {"ok", dropped, (id, record)...}  frozen, departed and not cleaned up, or deleted while incoming; each without
                                      its entries. An expired one is neither returned nor dropped.
    {"corrupt", key}
  Writes: migrations.
  Again:  reads again.
  Uses:   call, args, clock, typed, freeze, record, index, migration
]]

call_members()
local migrations_key = KEYS[1]
local now = clock_now(ARGV[1])
if index_foreign(migrations_key) then return { 'corrupt', 'migrations' } end
if #KEYS == 1 then return { 'ok', 0 } end

local reply, dead = { 'ok', 0 }, {}
for at = 2, #KEYS do
  local id = ARGV[at]
  local record, corrupt = record_find_head(KEYS[at])
  if record then
    local departed = migration_departed(record)
    local ends = record.kind == RECORD_LIVE and record.expires_at or record.stored_until
    if not record.freeze and (not departed or departed == ARGS_NO_TOKEN) then
      dead[#dead + 1] = id
    elseif ends > now then
      reply[#reply + 1] = id
      if record.kind == RECORD_LIVE then record_set_entries(record, '', 0) end
      reply[#reply + 1] = record_encode(record)
    end
  elseif not corrupt then
    dead[#dead + 1] = id
  end
end
if #dead > 0 then reply[2] = redis.call('ZREM', migrations_key, unpack(dead)) end
return reply
