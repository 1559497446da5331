--[[
  count: count the live sessions in a user's or node's index, a bounded part of it at a time. The reply names entries
  that the expiry index does not have. The script drops such an entry once its record was declared and is not there:
  then the record ended by its own TTL, because nobody reaped it in time.

  KEYS[1]   owner    zset   {ns:p}:<kind>:<owner>:sessions; kind is user or node
  KEYS[2]   expiry   zset   {ns:p}:expiry
  KEYS[3+]  suspect  group  record string {ns:p}:session:<id>; at most 100; of those named before
  ARGV[1]   now_ms   integer from 0; empty: the server's clock
  ARGV[2]   start    integer from 0; default: 0; the rank to begin at: the next of the reply before
  ARGV[3+]  suspect  group  id (text)

  Replies
    {"ok", live, next, id...}  next is the rank to continue at, 0 at the end; then at most 100 suspects
    {"corrupt", key}
  Writes: owner.
  Again:  reads again.
  Uses:   call, args, clock, typed
]]

call_members()
local owner_key, expiry_key = unpack(KEYS, 1, 2)
local now = clock_now(ARGV[1])
local start, span = args_integer(ARGV[2], 'start', 0), 1000

local ids = typed_call('ZRANGE', owner_key, start, start + span - 1)
if ids.err then return { 'corrupt', 'owner' } end
if #ids == 0 and #KEYS == 2 then return { 'ok', 0, 0 } end
local expiries = #ids > 0 and typed_call('ZMSCORE', expiry_key, unpack(ids)) or {}
if expiries.err then return { 'corrupt', 'expiry' } end
local reply, live = { 'ok', 0, #ids == span and start + span or 0 }, 0
for at, expires_at in ipairs(expiries) do
  if expires_at and tonumber(expires_at) > now then live = live + 1 end
  if not expires_at and #reply < 103 then reply[#reply + 1] = ids[at] end
end
reply[2] = live
for at = 3, #KEYS do
  if redis.call('EXISTS', KEYS[at]) == 0 then redis.call('ZREM', owner_key, ARGV[at]) end
end
return reply
