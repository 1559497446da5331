--[[
  nodes: read the state of the leases of a page of registered nodes. The list is ordered by the ends of leases, but
  only the lease itself shows whether it is held.

  KEYS[1]   nodes   zset   {ns:p}:nodes
  KEYS[2+]  listed  group  lease string {ns:p}:node:<node>:lease; at most 500
  ARGV[1]   now_ms  integer from 0; empty: the server's clock
  ARGV[2+]  listed  group  node (text)

  Replies
    {"ok", (node, deadline, lease)...}  held or lapsed; a node that was forgotten meanwhile is left out
    {"corrupt", key, node?}             the node if it is the lease of one
  Writes: nothing.
  Again:  reads again.
  Uses:   call, args, clock, typed, lease
]]

call_members()
local nodes_key = KEYS[1]
local now = clock_now(ARGV[1])
if #KEYS == 1 then return { 'ok' } end

local ends = typed_call('ZMSCORE', nodes_key, unpack(ARGV, 2))
if ends.err then return { 'corrupt', 'nodes' } end
local reply = { 'ok' }
for at, ended in ipairs(ends) do
  local lease_key, node = KEYS[at + 1], ARGV[at + 1]
  local _, deadline, held, foreign = lease_read(lease_key, now)
  if foreign then return { 'corrupt', 'listed_lease', node } end
  -- A lease may be forgotten before its node, which stays listed as long as other nodes stay.
  deadline = deadline or ended and tonumber(ended)
  if deadline then
    reply[#reply + 1] = node
    reply[#reply + 1] = deadline
    reply[#reply + 1] = held and 'held' or 'lapsed'
  end
end
return reply
