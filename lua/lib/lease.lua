-- lease: the lease of a node: who holds it, and until when.

local LEASE = '>c8I8I8' -- the lease's id, which its holder made, its deadline, and how long it was when it was renewed
local LEASE_SIZE = 24

-- The id and the deadline of a node's lease, and whether it is held. A lease with more time left than its length was
-- renewed by a clock that was set back since, and is over. Absent: nil, nil, false. Foreign: the same, and true.
local function lease_read(key, now)
  local raw = typed_call('GET', key)
  if not raw then return nil, nil, false, false end
  if type(raw) == 'table' or #raw ~= LEASE_SIZE then return nil, nil, false, true end
  local id, deadline, length = struct.unpack(LEASE, raw)
  return id, deadline, deadline > now and deadline - now <= length, false
end

local function lease_store(key, id, deadline, length, ttl)
  redis.call('SET', key, struct.pack(LEASE, id, deadline, length), 'PX', ttl)
end

-- Whether a node may write to a session that is at `node` or comes there: it must hold that lease, and the session
-- must be its own. Nil: it may, or no node makes the call. Otherwise the reply.
local function lease_fence(key, as_node, id, node, now)
  if as_node == '' then return nil end
  local holder, _, held, foreign = lease_read(key, now)
  if foreign then return { 'corrupt', 'as_lease' } end
  if not held or holder ~= id or node ~= as_node then return { 'fenced' } end
  return nil
end
