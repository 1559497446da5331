-- entries: a record's attributes and extensions, without understanding their JSON.
-- An entry is kind (1 byte), key length (2), value length (4), key, value. An empty value, which is no JSON,
-- removes the entry in a list of changes.

local ENTRY_HEADER = '>BI2I4'
local ENTRY_HEADER_SIZE = 7

-- Walks over entries: next_position, name (kind and key), value. Nil at the end; false where they are broken.
local function entries_next(entries, position)
  if position > #entries then return nil end
  local key_start = position + ENTRY_HEADER_SIZE
  if key_start - 1 > #entries then return false end
  local kind, key_size, value_size = struct.unpack(ENTRY_HEADER, entries, position)
  local value_start = key_start + key_size
  local next_position = value_start + value_size
  if next_position - 1 > #entries or kind < 1 or kind > 2 then return false end
  return next_position, kind .. entries:sub(key_start, value_start - 1), value_size
end

-- Whether entries are whole.
local function entries_whole(entries)
  local position = 1
  while position do
    position = entries_next(entries, position)
  end
  return position == nil
end

-- Whether whoever gets a record can read it: what returns one asks before it writes.
local function entries_told(record)
  return args_are_utf8(record.user, record.connection, record.node, '') and entries_whole(record.body)
end

-- Entries that a call passes: an error unless they are whole. An empty value is none, but in changes.
local function entries_argument(text, name, may_be_empty, most)
  local position, count = 1, 0
  while position <= #text do
    local next_position, _, value_size = entries_next(text, position)
    if not next_position then error('cloakroom: ' .. name .. ' is no list of entries') end
    if value_size == 0 and not may_be_empty then error('cloakroom: a value of ' .. name .. ' is empty') end
    position, count = next_position, count + 1
  end
  if most and count > most then error('cloakroom: ' .. name .. ' are more than ' .. most) end
  return text
end

-- The entries with whole changes made, how many they are, and how many they were. Nil: the entries are corrupt.
local function entries_changed(entries, changes)
  local changed, names = {}, {}
  local position = 1
  while true do
    local next_position, name, value_size = entries_next(changes, position)
    if not next_position then break end
    if not changed[name] then names[#names + 1] = name end
    changed[name] = value_size > 0 and changes:sub(position, next_position - 1) or ''
    position = next_position
  end
  local result, placed = {}, {}
  position = 1
  while true do
    local next_position, name = entries_next(entries, position)
    if next_position == false then return nil end
    if not next_position then break end
    result[#result + 1] = changed[name] or entries:sub(position, next_position - 1)
    placed[name] = true
    position = next_position
  end
  local before = #result
  for _, name in ipairs(names) do
    if not placed[name] then result[#result + 1] = changed[name] end
  end
  local count = #result
  for _, change in pairs(changed) do
    if change == '' then count = count - 1 end
  end
  return table.concat(result), count, before
end

-- Whether two lists hold the same, in whatever order: a patch appends, and a client sorts. As long as each other, and
-- nothing that the one says is news to the other.
local function entries_same(entries, others)
  return #entries == #others and entries_changed(entries, others) == entries
end
