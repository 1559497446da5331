-- call: checks that a call passes as many keys and arguments as the script's header says. The export replaces the
-- calls of these functions by their bodies, and the names that begin with HEADER by the numbers of the header; so
-- only the header states them. event.lua has the same for calls that may ask for events.

-- For an operation without a group.
local function call_alone()
  if #KEYS ~= HEADER_KEYS or #ARGV ~= HEADER_ARGUMENTS then return redis.error_reply(HEADER_WRONG) end
end

-- For an operation with a group: returns how many members it has.
local function call_members()
  local member_count = (#KEYS - HEADER_KEYS) / HEADER_MEMBER_KEYS
  if member_count % 1 ~= 0 or member_count < 0 or member_count > HEADER_MEMBERS
    or #ARGV ~= HEADER_ARGUMENTS + member_count * HEADER_MEMBER_ARGUMENTS then
    return redis.error_reply(HEADER_WRONG)
  end
end
