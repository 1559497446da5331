local function run_in_vain(command, key)
  local arguments = { key, key, key, key, key }
  for count = #arguments, 0, -1 do
    local result = redis.pcall(command, unpack(arguments, 1, count))
    local message = type(result) == 'table' and result.err or ''
    if not message:find('rong number of arg', 1, true) then return message end
  end
  return ''
end
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
