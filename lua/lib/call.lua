-- call: whether a call passes as many keys and arguments as the script's header says. The export puts these bodies in
-- the place of their calls, and the numbers of the header in the place of the names that begin with HEADER: so the
-- header alone says them. Of a call that may ask for events, event.lua has the same.

-- Of an operation without a group.
local function call_alone()
  if #KEYS ~= HEADER_KEYS or #ARGV ~= HEADER_ARGUMENTS then return redis.error_reply(HEADER_WRONG) end
end

-- Of an operation with one: how many members it has.
local function call_members()
  local member_count = (#KEYS - HEADER_KEYS) / HEADER_MEMBER_KEYS
  if member_count % 1 ~= 0 or member_count < 0 or member_count > HEADER_MEMBERS
    or #ARGV ~= HEADER_ARGUMENTS + member_count * HEADER_MEMBER_ARGUMENTS then
    return redis.error_reply(HEADER_WRONG)
  end
end
