-- args: what a call passes, checked before anything is written. A broken contract is an error, no reply.

local ARGS_MOST = 2 ^ 53 -- beyond it numbers lose digits

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

-- What a word stands for.
local function args_word(text, name, words)
  local meaning = words[text]
  if meaning == nil then error('cloakroom: ' .. name .. ' is no word of the contract') end
  return meaning
end

local function args_op_id(text)
  if #text ~= 0 and #text ~= 8 then error('cloakroom: op_id is no 8 bytes') end
  return text
end

local function args_id(text)
  if #text < 1 or #text > 128 then error('cloakroom: an id is not 1 to 128 bytes') end
  return text
end

-- Several at once: the users, connections and nodes of a call.
local function args_names(...)
  for _, text in ipairs({ ... }) do
    if #text > 256 then error('cloakroom: a user, connection or node is longer than 256 bytes') end
  end
  return ...
end
