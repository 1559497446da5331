--[[
  list: read the live sessions among a page of a user's or node's index, and drop the entries that lead nowhere.

  KEYS[1]   owner    zset   {ns:p}:<kind>:<owner>:sessions
  KEYS[2+]  session  group  {ns:p}:session:<id>; at most 500
  ARGV[1]   now_ms   integer; empty: the server's clock
  ARGV[2]   kind     word: user, node
  ARGV[3]   owner    text; the user or node
  ARGV[4+]  session  group  id

  Replies
    {"ok", dropped, (id, record)...}  the live sessions in the order of the page
    {"corrupt", key}
  Writes: owner: entries without a record of this owner.
  Again:  reads again.
  Uses:   args, clock, typed, record
]]

if #KEYS < 1 or #KEYS > 501 or #ARGV ~= #KEYS + 2 then
  return redis.error_reply('ERR cloakroom list: 1 KEYS and 3 ARGV, and 1 of each an id, at most 500')
end
local owner_key = KEYS[1]
local now = clock_now(ARGV[1])
local kind = args_choice(ARGV[2], 'kind', 'user', 'node') and 'user' or 'node'
local owner = ARGV[3]
if #KEYS == 1 then return { 'ok', 0 } end
local raws = redis.call('MGET', unpack(KEYS, 2))

local reply, dead = { 'ok', 0 }, {}
for at, raw in ipairs(raws) do
  local record_key, id = KEYS[at + 1], ARGV[at + 3]
  local record = raw and record_decode(raw)
  if record and record.kind == RECORD_LIVE and record[kind] == owner then
    -- An expired one keeps its entries until it is reaped as a whole.
    if record.expires_at > now then
      reply[#reply + 1] = id
      reply[#reply + 1] = record_unless_over(record, now).raw
    end
  elseif record or (not raw and redis.call('TYPE', record_key).ok == 'none') then
    dead[#dead + 1] = id
  end
end
if #dead > 0 then
  local dropped = typed_call('ZREM', owner_key, unpack(dead))
  if type(dropped) == 'table' then return { 'corrupt', 'owner' } end
  reply[2] = dropped
end
return reply
