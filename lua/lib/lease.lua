-- lease: who holds a node's name, and until when.

local LEASE = '>c8I8' -- the lease's id, which its holder made, and its deadline
local LEASE_SIZE = 16

-- The id and the deadline of a node's lease, which may have run out. Absent: nil. Foreign: two times nil, and true.
local function lease_read(key)
  local raw = typed_call('GET', key)
  if not raw then return nil, nil, false end
  if type(raw) == 'table' or #raw ~= LEASE_SIZE then return nil, nil, true end
  local id, deadline = struct.unpack(LEASE, raw)
  return id, deadline, false
end

local function lease_store(key, id, deadline, ttl)
  redis.call('SET', key, struct.pack(LEASE, id, deadline), 'PX', ttl)
end

-- Why a node may not write as the owner of a session, that is at `node` or comes there: it has to hold that lease, and
-- the session has to be its own. Nil: it may, or no node says that it is the owner. Else the reply to give.
local function lease_fence(key, as_node, id, node, now)
  if as_node == '' then return nil end
  local held, deadline, foreign = lease_read(key)
  if foreign then return { 'corrupt', 'as_lease' } end
  if held ~= id or deadline <= now or node ~= as_node then return { 'taken' } end
  return nil
end
