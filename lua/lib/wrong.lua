-- wrong: finds violations in the entries that lead to a session.

-- How much sooner a key may expire than what it leads to: TTLs are whole milliseconds, and read one after the
-- other.
local WRONG_SLACK = 1000
-- The same for a record and the time stored in it, which may come from an earlier server with another clock.
local WRONG_LATE = 60000

-- Whether a key expires before something that lasts this long. A key without a TTL, or a missing one, does
-- not.
local function wrong_goes_before(key, needed)
  local ttl = redis.call('PTTL', key)
  return ttl >= 0 and ttl + WRONG_SLACK < needed
end

-- What is wrong with the entry of an id in an index. `wanted` is its required score, true for any score, nil if there
-- must be no entry. Nil: nothing is wrong.
local function wrong_entry(key, id, wanted)
  local score = redis.call('ZSCORE', key, id)
  if not wanted then return score and 'stray' or nil end
  if not score then return 'missing' end
  return wanted ~= true and tonumber(score) ~= wanted and 'score' or nil
end

-- The same; also whether an index with a correct entry expires too early.
local function wrong_index(key, id, wanted, needed)
  return wrong_entry(key, id, wanted) or (wanted and wrong_goes_before(key, needed) and 'short') or nil
end
