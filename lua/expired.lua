--[[
  expired: read a page of the sessions that expired before a time, oldest first.

  KEYS[1]  expiry     zset  {ns:p}:expiry
  ARGV[1]  now_ms     integer from 0; empty: the server's clock
  ARGV[2]  before_ms  integer from 0; empty: now; a later time counts as now
  ARGV[3]  skip       integer from 0; default: 0; how many of the oldest to skip
  ARGV[4]  limit      integer from 1 to 1000

  Replies
    {"ok", (id, expires_at)...}
    {"corrupt", key}
  Writes: nothing.
  Again:  reads again.
  Uses:   call, args, clock, typed
]]

call_alone()
local expiry_key = KEYS[1]
local now = clock_now(ARGV[1])
local before = math.min(args_optional_integer(ARGV[2], 'before_ms', 0) or now, now)
local skip, limit = args_integer(ARGV[3], 'skip', 0), args_integer(ARGV[4], 'limit', 1, 1000)

local page = typed_call('ZRANGEBYSCORE', expiry_key, '-inf', before, 'WITHSCORES', 'LIMIT', skip, limit)
if page.err then return { 'corrupt', 'expiry' } end
local reply = { 'ok' }
for at = 1, #page, 2 do
  -- The empty member holds the index's own TTL, see index_expiry.
  if page[at] ~= '' then
    reply[#reply + 1] = page[at]
    reply[#reply + 1] = tonumber(page[at + 1])
  end
end
return reply
