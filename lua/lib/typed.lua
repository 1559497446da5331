-- typed: runs commands on a key that may have a foreign type.

-- Runs a command. It returns the error of a foreign type, and the caller replies corrupt. Any other error, such as
-- full memory or a read-only replica, says nothing about the key: it is raised, and names the command.
local function typed_call(...)
  local result = redis.pcall(...)
  if type(result) ~= 'table' or not result.err or result.err:find('WRONGTYPE', 1, true) then return result end
  local message = result.err .. ' (' .. (...) .. ')'
  -- Redis 6.2 does not accept a table, and keeps the code in the text.
  error(redis.acl_check_cmd and { err = message } or message)
end
