-- wrong: what does not agree in what leads to a session.

-- How much sooner a key may go than what it leads to: TTLs are whole milliseconds, and read one behind the other.
local WRONG_SLACK = 1000
-- The same of a record and the time that stands in it, which may be that of a server before, by another clock.
local WRONG_LATE = 60000

-- Whether a key goes before something that lasts so long. One that has no TTL, or is not there, does not.
local function wrong_goes_before(key, needed)
  local ttl = redis.call('PTTL', key)
  return ttl >= 0 and ttl + WRONG_SLACK < needed
end

-- What is wrong with the entry of an id in an index: `wanted` is the score that it has to have, true for any, nil where
-- there has to be none. Nil: nothing is.
local function wrong_entry(key, id, wanted)
  local score = redis.call('ZSCORE', key, id)
  if not wanted then return score and 'stray' or nil end
  if not score then return 'missing' end
  return wanted ~= true and tonumber(score) ~= wanted and 'score' or nil
end

-- The same, and whether an index that has it as it should goes too early.
local function wrong_index(key, id, wanted, needed)
  return wrong_entry(key, id, wanted) or (wanted and wrong_goes_before(key, needed) and 'short') or nil
end
