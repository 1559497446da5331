-- entries: a record's attributes and extensions, without parsing their JSON. An entry is kind (1 byte), key length
-- (1), value length (3), key, value. A list of entries is a list of changes: the last change of a key wins, and an
-- empty value, which is not JSON, removes the key. So a patch appends to the list without reading it, until it has
-- grown too much; readers apply the changes.

local ENTRY_HEADER = '>BBI3'
local ENTRY_HEADER_SIZE = 5
local ENTRIES_TAIL = 512
-- The most that a session's entries may take: 15 MiB. The length of a body takes three bytes, and a freeze of some
-- hundred bytes may come before them.
local ENTRIES_MOST = 15728640

-- Walks over entries: next_position, name (kind and key), value. Nil at the end; false if they are broken.
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

-- Whether a client can read a record. A script that returns one checks this before it writes.
local function entries_told(record)
  return args_are_utf8(record.user, record.connection, record.node, '') and entries_whole(record.body)
end

-- The entries that a call passes, and their number; an error unless they are whole. An empty value is allowed only
-- in changes. Changes may also be more than a record has room for: their result counts.
local function entries_argument(text, name, may_be_empty, most)
  if not may_be_empty and #text > ENTRIES_MOST then
    error('cloakroom: ' .. name .. ' are more than ' .. ENTRIES_MOST .. ' bytes')
  end
  local position, count = 1, 0
  while position <= #text do
    local next_position, _, value_size = entries_next(text, position)
    if not next_position then error('cloakroom: ' .. name .. ' is no list of entries') end
    if value_size == 0 and not may_be_empty then error('cloakroom: a value of ' .. name .. ' is empty') end
    position, count = next_position, count + 1
  end
  if most and count > most then error('cloakroom: ' .. name .. ' are more than ' .. most) end
  return text, count
end

-- The result of a list of changes: `count` entries of `size` bytes, in `parts` with empty ones between, at the
-- position that `places` has by name.
local function entries_none()
  return { count = 0, size = 0, parts = {}, places = {} }
end

-- Applies changes to that. False: the list is broken.
local function entries_make(made, changes)
  local parts, places, position = made.parts, made.places, 1
  while true do
    local next_position, name, value_size = entries_next(changes, position)
    if not next_position then return next_position == nil end
    local place = places[name]
    if place then
      made.size, made.count = made.size - #parts[place], made.count - 1
      parts[place] = ''
    end
    if value_size > 0 then
      place = place or #parts + 1
      parts[place], places[name] = changes:sub(position, next_position - 1), place
      made.size, made.count = made.size + next_position - position, made.count + 1
    else
      places[name] = nil
    end
    position = next_position
  end
end

-- Applies changes to a record's entries and returns the record. It compacts the list when it has grown by half and
-- by ENTRIES_TAIL bytes since the last compaction, or when the listed changes may be more than allowed. Nil:
-- compacting found the entries corrupt. False, with the bytes and the number of entries: they would be too large. A
-- session above a lowered limit may shrink but not grow.
local function entries_change(record, changes, count, most_bytes, most)
  local body, compacted, listed = record.body .. changes, record.compacted, record.listed + count
  local is_grown = #body >= compacted + ENTRIES_TAIL and #body * 2 >= compacted * 3
  if is_grown or #body > most_bytes or listed > most or listed >= RECORD_LISTED_MOST then
    local made = entries_none()
    if not entries_make(made, record.body) then return nil end
    local size, many = made.size, made.count
    entries_make(made, changes)
    if (made.size > most_bytes and made.size > size) or (made.count > most and made.count > many) then
      return false, made.size, made.count
    end
    body, compacted, listed = table.concat(made.parts), made.size, made.count
  end
  record.body, record.compacted, record.listed = body, compacted, listed
  return record
end

-- Whether two lists have the same result, in any order: a patch appends, and a client sorts.
local function entries_same(entries, others)
  local one, other = entries_none(), entries_none()
  if not (entries_make(one, entries) and entries_make(other, others)) or one.count ~= other.count then return false end
  for name, place in pairs(one.places) do
    local found = other.places[name]
    if not found or other.parts[found] ~= one.parts[place] then return false end
  end
  return true
end
