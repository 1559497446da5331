--[[
  count: how many of the entries of a user's or node's index are live sessions, a bounded part of it at a time.

  KEYS[1]  owner   zset  {ns:p}:<kind>:<owner>:sessions; kind is user or node
  KEYS[2]  expiry  zset  {ns:p}:expiry
  ARGV[1]  now_ms  integer; empty: the server's clock
  ARGV[2]  start   integer; default: 0; the rank to begin at: the next of the reply before

  Replies
    {"ok", live, next}  next is the rank to go on at, 0 when the index is through
    {"corrupt", key}
  Writes: nothing.
  Again:  reads again.
  Uses:   args, clock, typed
]]

if #KEYS ~= 2 or #ARGV ~= 2 then return redis.error_reply('ERR cloakroom count: 2 KEYS and 2 ARGV') end
local owner_key, expiry_key = unpack(KEYS)
local now = clock_now(ARGV[1])
local start, span = args_integer(ARGV[2], 'start', 0), 1000

local ids = typed_call('ZRANGE', owner_key, start, start + span - 1)
if ids.err then return { 'corrupt', 'owner' } end
if #ids == 0 then return { 'ok', 0, 0 } end
local expiries = typed_call('ZMSCORE', expiry_key, unpack(ids))
if expiries.err then return { 'corrupt', 'expiry' } end
local live = 0
for _, expires_at in ipairs(expiries) do
  if expires_at and tonumber(expires_at) > now then live = live + 1 end
end
return { 'ok', live, #ids == span and start + span or 0 }
