--[[
  mend_node: repair the lists of the nodes by the lease of one node, or report what is wrong there. A node whose lease
  is over stays in the first list until its sessions are taken or it is forgotten, at the time in the second.

  KEYS[1]  nodes    zset    {ns:p}:nodes
  KEYS[2]  lease    string  {ns:p}:node:<node>:lease
  KEYS[3]  kept     zset    {ns:p}:nodes:kept
  ARGV[1]  now_ms   integer from 0; empty: the server's clock
  ARGV[2]  want     word: tell, mend
  ARGV[3]  node     text of 1 to 256 bytes
  ARGV[4]  keep_ms  integer from 1; default: 86400000; how long it stays listed after its lease has run out, if nothing
                    says that

  Replies
    {"ok", wrong...}  what is wrong, or was until now: the name of a key, "_" and one of missing, stray, score; short,
                      it expires before the lease
    {"corrupt", key}
  Writes: nodes, kept.
  Again:  the same state; what was repaired is no longer wrong.
  Uses:   call, args, clock, permission, typed, index, lease, wrong
]]

call_alone()
local nodes_key, lease_key, kept_key = unpack(KEYS)
local now, mend = clock_now(ARGV[1]), args_choice(ARGV[2], 'want', 'mend', 'tell')
local node, keep = args_required(ARGV[3], 'node'), args_integer(ARGV[4], 'keep_ms', 1)

local _, deadline, _, foreign = lease_read(lease_key, now)
if foreign then return { 'corrupt', 'lease' } end
if index_foreign(nodes_key) then return { 'corrupt', 'nodes' } end
if index_foreign(kept_key) then return { 'corrupt', 'kept' } end
local left = deadline and redis.call('PTTL', lease_key) or 0
-- Others may have forgotten it already, by the clock that its lease runs by too.
if deadline and left >= 0 and left < WRONG_SLACK then return { 'ok' } end
local listed = tonumber(redis.call('ZSCORE', nodes_key, node) or nil)
local in_nodes = deadline and wrong_index(nodes_key, node, deadline, left) or nil
local in_kept = wrong_index(kept_key, node, (deadline or listed) and true or nil, left)
local wrong = { 'ok' }
if in_nodes then wrong[#wrong + 1] = 'nodes_' .. in_nodes end
if in_kept then wrong[#wrong + 1] = 'kept_' .. in_kept end
if not mend or #wrong == 1 then return wrong end

local forgotten = math.max((deadline or listed or now) + keep, now + left)
permission_ask()
if in_nodes then
  redis.call('ZADD', nodes_key, deadline, node)
  index_keep(nodes_key, forgotten - now, keep)
end
if in_kept == 'stray' then
  redis.call('ZREM', kept_key, node)
elseif in_kept == 'missing' then
  redis.call('ZADD', kept_key, forgotten, node)
end
if in_kept and in_kept ~= 'stray' then index_keep(kept_key, forgotten - now, keep) end
return wrong
