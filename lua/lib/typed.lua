-- typed: commands on a key that may be of a foreign type.

-- Runs a command. For a foreign type its error is returned, and the caller replies corrupt. Any other error, such as
-- memory that is full or a replica that is read-only, says nothing of the key: it is raised, by the same command again.
local function typed_call(...)
  local result = redis.pcall(...)
  if type(result) ~= 'table' or not result.err or result.err:find('WRONGTYPE', 1, true) then return result end
  return redis.call(...)
end
