-- args: checks what a call passes before anything is written. A broken contract is an error, not a reply.

local ARGS_MOST = 35184372088831 -- 45 bits, so that the sum of some times fits into the 48 that a record has
local ARGS_TTL_MOST = 315360000000 -- ten years, which fit into the 40 bits that a record has
local ARGS_TOKEN_SIZE = 8
local ARGS_NO_TOKEN = ('\0'):rep(8)
local ARGS_ALONE = 100 -- milliseconds from a call's bound, within which it does not come a second time

-- Digits only: tonumber also reads 0x10, 1e3 and text behind a NUL.
local function args_integer(text, name, least, most)
  local number = not text:find('%D') and tonumber(text)
  most = most or ARGS_MOST
  if not number or number < least or number > most then
    error('cloakroom: ' .. name .. ' is no integer from ' .. least .. ' to ' .. most)
  end
  return number
end

-- Empty: nil.
local function args_optional_integer(text, name, least, most)
  if text == '' then return nil end
  return args_integer(text, name, least, most)
end

-- The value that one of several words stands for.
local function args_word(text, name, words)
  local meaning = words[text]
  if meaning == nil then error('cloakroom: ' .. name .. ' is no word of the contract') end
  return meaning
end

-- Whether it is the first of two words.
local function args_choice(text, name, yes, no)
  if text ~= yes and text ~= no then error('cloakroom: ' .. name .. ' is no word of the contract') end
  return text == yes
end

-- The id of a call, a migration or a lease. Zeros mean "none" in stored data.
local function args_token(text, name)
  if #text ~= 8 or text == ARGS_NO_TOKEN then error('cloakroom: ' .. name .. ' is no 8 bytes, or zeros') end
  return text
end

-- The same, but empty means none.
local function args_optional_token(text, name)
  if text == '' then return '' end
  return args_token(text, name)
end

-- The id of a call and its bound: a time of the server from before the call began. Empty: nil.
local function args_operation(op_id, bound)
  return args_optional_token(op_id, 'op_id'), args_optional_integer(bound, 'bound_ms', 0)
end

-- Whether a call that makes a session comes so late that a tombstone in its way may be gone.
local function args_stale(op_id, bound, tombstone, now)
  return op_id ~= '' and bound and now - bound >= tombstone
end

local function args_op_ids(text)
  if #text ~= 32 then error('cloakroom: operations is no 32 bytes') end
  return text
end

-- Whether a text is UTF-8: it replaces each well-formed character by a dot, and then no byte of a longer form
-- may be left.
local function args_is_utf8(text)
  local rest = text:gsub('[\194-\223][\128-\191]', '.'):gsub('[\225-\236\238\239][\128-\191][\128-\191]', '.')
  if not rest:find('[\128-\255]') then return true end
  rest = rest:gsub('\224[\160-\191][\128-\191]', '.'):gsub('\237[\128-\159][\128-\191]', '.')
  rest = rest:gsub('\240[\144-\191][\128-\191][\128-\191]', '.'):gsub('\244[\128-\143][\128-\191][\128-\191]', '.')
  return not rest:gsub('[\241-\243][\128-\191][\128-\191][\128-\191]', '.'):find('[\128-\255]')
end

-- The same for up to four texts at once, because ASCII is recognised at once.
local function args_are_utf8(one, two, three, four)
  return not (one .. two .. three .. four):find('[\128-\255]')
    or (args_is_utf8(one) and args_is_utf8(two) and args_is_utf8(three) and args_is_utf8(four))
end

-- Stored names must be valid text, so that clients can return them. A script may look for any bytes, so that it can
-- remove whatever is stored. `names` has the names of the texts, with spaces between them; an empty text is valid.
local function args_stored(one, two, three, four, names)
  if args_are_utf8(one, two, three, four) then return end
  local texts, at = { one, two, three, four }, 0
  for name in names:gmatch('%S+') do
    at = at + 1
    if not args_is_utf8(texts[at]) then error('cloakroom: ' .. name .. ' is no UTF-8') end
  end
end

-- The id of the call's session, or another id.
local function args_id(text, name)
  if #text < 1 or #text > 128 then error('cloakroom: ' .. (name or 'id') .. ' is no text of 1 to 128 bytes') end
  return text
end

-- A user, connection, node or place; or those of a session at once, whose names may begin with `prefix`.
local function args_name(text, name)
  if #text > 256 then error('cloakroom: ' .. name .. ' is no text of up to 256 bytes') end
  return text
end

-- A name that must not be empty, because the key of an empty one is another's.
local function args_required(text, name)
  if text == '' then error('cloakroom: ' .. name .. ' is no text of 1 to 256 bytes') end
  return args_name(text, name)
end

local function args_names(user, connection, node, prefix)
  if #user > 256 or #connection > 256 or #node > 256 then
    prefix = prefix or ''
    args_name(user, prefix .. 'user')
    args_name(connection, prefix .. 'connection')
    args_name(node, prefix .. 'node')
  end
  return user, connection, node
end
