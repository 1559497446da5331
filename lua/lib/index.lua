-- index: the sorted sets that lead to sessions (user, node, expiry) and the pointer of a connection.

-- Redis checks a type only when a command runs. If that would be after the first write, check before.
local function index_foreign(key)
  local kind = redis.call('TYPE', key).ok
  return kind ~= 'zset' and kind ~= 'none'
end

-- Makes a user or node index live as long as its longest-lived session and a grace more, so that the next
-- sessions find its TTL long enough. `fresh`: the index is new, so its TTL needs no check.
local function index_keep(key, ttl, grace, fresh)
  if fresh or redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl + grace) end
end

-- Puts a session into the expiry index, or moves it there. The index stores its own TTL deadline as the score of the
-- empty member (no id is empty, and it sorts last). The TTL is set when that score rises. Deadlines are whole graces,
-- so that happens about once per grace. For an existing entry whose record is kept no longer than before, the score is
-- right already. Returns the error of a foreign type.
local function index_expiry(key, id, record, grace, now, is_kept_longer)
  local entered = typed_call('ZADD', key, record.expires_at, id)
  if type(entered) == 'table' then return entered end
  if entered == 0 and not is_kept_longer then return nil end
  local deadline = (math.floor(record.stored_until / grace) + 1) * grace
  if redis.call('ZADD', key, 'GT', 'CH', deadline, '') == 0 then return nil end
  if type(redis.pcall('PEXPIRE', key, deadline - now)) == 'number' then return nil end
  -- The user may not run PEXPIRE. With the raised note, no later call would set the TTL.
  redis.call('ZREM', key, '')
  redis.call('PEXPIRE', key, deadline - now)
end

-- The session id that a connection points to. Absent: nil. A foreign type: nil and true.
local function index_pointer(key)
  local id = typed_call('GET', key)
  if type(id) == 'table' then return nil, true end
  return id or nil, false
end
