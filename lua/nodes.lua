--[[
  nodes: read a page of the nodes that are registered, by the ends of their leases, the earliest first.

  KEYS[1]  nodes    zset     {ns:p}:nodes
  ARGV[1]  now_ms   integer; empty: the server's clock
  ARGV[2]  from_ms  integer; default: 0; leave out those whose leases ended before
  ARGV[3]  want     word: all, lapsed; default: all; lapsed: only those whose leases have run out

  Replies
    {"ok", now, (node, deadline)...}  a page is full at 1000: then go on from the last deadline, inclusive
    {"corrupt", key}
  Writes: nothing.
  Again:  reads again.
  Uses:   args, clock, typed
]]

if #KEYS ~= 1 or #ARGV ~= 3 then return redis.error_reply('ERR cloakroom nodes: 1 KEYS and 3 ARGV') end
local nodes_key = KEYS[1]
local now = clock_now(ARGV[1])
local from = args_integer(ARGV[2], 'from_ms', 0)
local to = args_choice(ARGV[3], 'want', 'all', 'lapsed') and '+inf' or now

-- A renewal moves a node behind the page, so none is passed over; one may be read twice.
local page = typed_call('ZRANGEBYSCORE', nodes_key, from, to, 'WITHSCORES', 'LIMIT', 0, 1000)
if page.err then return { 'corrupt', 'nodes' } end
local reply = { 'ok', now }
for at = 1, #page, 2 do
  reply[#reply + 1] = page[at]
  reply[#reply + 1] = tonumber(page[at + 1])
end
return reply
