--[[
  heartbeat: register a node under a lease, renew it, or release it. A lease that has run out is never renewed:
  the process registers again under another id, so that calls under the old one stay refused. It also forgets nodes
  that were listed for as long as each wanted, 100 at a time.

  KEYS[1]  nodes     zset    {ns:p}:nodes
  KEYS[2]  lease     string  {ns:p}:node:<node>:lease
  KEYS[3]  kept      zset    {ns:p}:nodes:kept; until when each is listed
  ARGV[1]  now_ms    integer from 0; empty: the server's clock
  ARGV[2]  lease_id  8 bytes; made by the holder for this lease alone
  ARGV[3]  node      utf-8 of 1 to 256 bytes
  ARGV[4]  lease_ms  integer from 1; default: 15000; how long it is held from now
  ARGV[5]  keep_ms   integer from 1; default: 86400000; how long a node stays listed after its lease has run out
  ARGV[6]  want      word: register, renew, release

  Replies
    {"ok", deadline}      a released lease ends now, or ended then
    {"leased", deadline}  another lease of this node is held until then
    {"lapsed"}            this lease has run out, or is not the node's
    {"corrupt", key}
  Writes: nodes, lease, kept.
  Again:  the same state, by the time of the last; a release answers the same.
  Uses:   call, args, clock, permission, typed, index, lease
]]

call_alone()
local nodes_key, lease_key, kept_key = unpack(KEYS)
local now = clock_now(ARGV[1])
local lease, node = args_token(ARGV[2], 'lease_id'), args_required(ARGV[3], 'node')
args_stored(node, '', '', '', 'node')
local length, keep = args_integer(ARGV[4], 'lease_ms', 1), args_integer(ARGV[5], 'keep_ms', 1)
local want = args_word(ARGV[6], 'want', { register = 'register', renew = 'renew', release = 'release' })

local holder, deadline, held, foreign = lease_read(lease_key, now)
if foreign then return { 'corrupt', 'lease' } end
if index_foreign(nodes_key) then return { 'corrupt', 'nodes' } end
local over = typed_call('ZRANGEBYSCORE', kept_key, '-inf', now, 'LIMIT', '0', '100')
if over.err then return { 'corrupt', 'kept' } end
if want == 'register' then
  if held and holder ~= lease then return { 'leased', deadline } end
  if holder == lease and not held then return { 'lapsed' } end
elseif holder ~= lease or (want == 'renew' and not held) then
  return { 'lapsed' }
end

deadline = want == 'release' and math.min(deadline, now) or now + length
local ttl = math.max(deadline + keep - now, 1)
permission_ask()
if #over > 0 then
  redis.call('ZREM', nodes_key, unpack(over))
  redis.call('ZREM', kept_key, unpack(over))
end
redis.call('ZADD', nodes_key, deadline, node)
redis.call('ZADD', kept_key, deadline + keep, node)
index_keep(nodes_key, ttl, keep)
index_keep(kept_key, ttl, keep)
lease_store(lease_key, lease, deadline, length, ttl)
return { 'ok', deadline }
