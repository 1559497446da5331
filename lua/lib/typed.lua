-- typed: commands on a key that may be of a foreign type.

-- Runs a command. For a foreign type its error is returned, and the caller replies corrupt. Any other error, such as
-- memory that is full or a replica that is read-only, says nothing of the key: it is raised, and names the command.
local function typed_call(...)
  local result = redis.pcall(...)
  if type(result) ~= 'table' or not result.err or result.err:find('WRONGTYPE', 1, true) then return result end
  local message = result.err .. ' (' .. (...) .. ')'
  -- Redis 6.2 takes no table, and keeps the code in the text.
  error(redis.acl_check_cmd and { err = message } or message)
end
