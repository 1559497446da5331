-- args: what a call passes, checked before anything is written. A broken contract is an error, no reply.

local ARGS_MOST = 35184372088831 -- 45 bits, so that the sum of some times fits into the 48 that a record has

local function args_integer(text, name, least, most)
  local number = tonumber(text)
  if not number or number % 1 ~= 0 or number < least or number > (most or ARGS_MOST) then
    error('cloakroom: ' .. name .. ' is no integer of at least ' .. least)
  end
  return number
end

-- Empty: nil.
local function args_optional_integer(text, name, least)
  if text == '' then return nil end
  return args_integer(text, name, least)
end

-- What one of several words stands for.
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

local function args_op_id(text)
  if #text ~= 0 and #text ~= 8 then error('cloakroom: op_id is no 8 bytes') end
  return text
end

-- Empty: none, where an argument may be.
local function args_task(text, may_be_empty)
  if #text ~= 8 and not (may_be_empty and text == '') then error('cloakroom: task is no 8 bytes') end
  return text
end

local function args_op_ids(text)
  if #text ~= 32 then error('cloakroom: operations is no 32 bytes') end
  return text
end

local function args_id(text)
  if #text < 1 or #text > 128 then error('cloakroom: an id is not 1 to 128 bytes') end
  return text
end

-- A user, connection or node; the rest of them at once.
local function args_name(text)
  if #text > 256 then error('cloakroom: a user, connection or node is longer than 256 bytes') end
  return text
end

local function args_names(user, connection, node)
  return args_name(user), args_name(connection), args_name(node)
end
