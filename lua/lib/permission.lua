-- permission: what the user may still run. A store proves at its start that the user may run all, but an ACL can be
-- changed later, and Redis does not roll back what a script wrote before it is refused a command.

-- Raises an error, naming the command, unless the user may still run all that the script may run behind this call; but
-- for what some functions lead to: those whose commands ran before, that will not be called, or that only take back
-- what ran into a foreign type. A script asks right before its first write, if there may be more commands behind that.
-- The export puts this body in the place of the call, with the commands that it finds there: a question costs 0.1 µs,
-- and the call of a function would cost two. Before Redis 7.0 nothing can be asked.
local function permission_ask(...)
  local may, key = redis.acl_check_cmd, KEYS[1]
  if may and not (PERMISSION_MAY_REST) then
    for _, command in ipairs({ PERMISSION_REST }) do
      if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end
    end
  end
end
