-- permission: what the user may still run. A store proves at its start that the user may run all commands. But an
-- ACL can change later, and Redis does not roll back the writes of a script before a refused command.

-- Raises an error that names the command, unless the user may run all commands that the script may run after this
-- call. Its arguments name functions to leave out: their commands ran before, they will not be called, or they only
-- undo writes after a foreign type. A script asks right before its first write, if more commands may follow. The
-- export replaces the call by this body with the commands that it finds: a question costs 0.1 µs, the call of a
-- function would cost 2 µs. Before Redis 7.0 nothing can be asked.
local function permission_ask(...)
  local may, key = redis.acl_check_cmd, KEYS[1]
  if may and not (PERMISSION_MAY_REST) then
    for _, command in ipairs({ PERMISSION_REST }) do
      if not may(command, key) then error({ err = 'NOPERM cloakroom: the user may not run ' .. command }) end
    end
  end
end
