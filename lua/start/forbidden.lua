--[[
  forbidden: which of some commands the user may not run. A store runs it when it starts, with one key of each kind, so
  that keys which the user may not touch are refused with the call as a whole.

  KEYS     keys of the namespace; of the first nothing is stored
  ARGV     commands that a script may run, each with a key for its first argument, if it takes any

  Replies  those that are forbidden, none in the best case
]]

-- Redis 6.2 cannot be asked. It checks the permission once the number of arguments is right, and the arguments after
-- that. So this runs each command with every number of arguments from too many to none, all of them a key under
-- which nothing is stored. That changes nothing: a key is not a number, an option or a member.
local function run_in_vain(command, key)
  local arguments = { key, key, key, key, key }
  for count = #arguments, 0, -1 do
    local result = redis.pcall(command, unpack(arguments, 1, count))
    local message = type(result) == 'table' and result.err or ''
    if not message:find('rong number of arg', 1, true) then return message end
  end
  return ''
end

-- The words of a server about a command that it does not know, or that the user may not run.
local REFUSALS = { 'executing the script', 'ACL failure', 'NOPERM', 'Unknown', 'nknown command' }

local function is_forbidden(command, key)
  if redis.acl_check_cmd then
    local known, may = pcall(redis.acl_check_cmd, command, key)
    return not (known and may)
  end
  local message = run_in_vain(command, key)
  for _, refusal in ipairs(REFUSALS) do
    if message:find(refusal, 1, true) then return true end
  end
  return false
end

local forbidden = {}
for _, command in ipairs(ARGV) do
  if is_forbidden(command, KEYS[1]) then forbidden[#forbidden + 1] = command end
end
return forbidden
