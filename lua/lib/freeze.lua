-- freeze: keeps a session unchanged while it moves to another store, and remembers that copies may exist.

local FREEZE = '>c8I6I6I6BBI2I2' -- what the body of a migrating record begins with, and then a place and a node
local FREEZE_SIZE = 32
local FREEZE_STATUSES = 2 -- a session is active or suspended when it is frozen, and so it is afterwards
local FREEZE_OUTGOING, FREEZE_INCOMING, FREEZE_OVER = 1, 2, 3

-- Splits the freeze off the body of a migrating record, so that the rest is as in any other. A freeze that is over only
-- says until when copies made under it may wait and, in a leftover, until when the leftover counts. False: it is
-- broken.
local function freeze_split(record)
  if #record.body < FREEZE_SIZE then return false end
  local task, frozen_until, span, copies_until, status, direction,
    place_size, node_size = struct.unpack(FREEZE, record.body)
  local place_end = FREEZE_SIZE + place_size
  local node_end = place_end + node_size
  if node_end > #record.body or status < 1 or status > FREEZE_STATUSES then return false end
  if direction < FREEZE_OUTGOING or direction > FREEZE_OVER then return false end
  record.copies_until = copies_until
  if direction == FREEZE_OVER then
    record.status, record.speaks_until = status, frozen_until
  else
    record.freeze = {
      task = task, frozen_until = frozen_until, span = span, status = status, direction = direction,
      place = record.body:sub(FREEZE_SIZE + 1, place_end), node = record.body:sub(place_end + 1, node_end),
    }
  end
  record.body = record.body:sub(node_end + 1)
  return true
end

-- The body of a record behind its freeze; without a freeze, behind one that is over, because copies of the session may
-- wait.
local function freeze_join(record, speaks_until)
  local freeze = record.freeze or { task = ARGS_NO_TOKEN, frozen_until = speaks_until, span = 0, status = record.status,
    direction = FREEZE_OVER, place = '', node = '' }
  return struct.pack(FREEZE, freeze.task, freeze.frozen_until, freeze.span, record.copies_until, freeze.status,
    freeze.direction, #freeze.place, #freeze.node) .. freeze.place .. freeze.node .. record.body
end

-- The status of a session without its freeze, which callers do not see.
local function freeze_status(record)
  return record.freeze and record.freeze.status or record.status
end

local function freeze_end(record)
  record.status, record.freeze = record.freeze.status, nil
end

-- Ends the freeze of a session that stays. A copy of it may wait at the other place or arrive there late. The copy
-- could be stored as long as the session is now, so this store remembers the session that long.
local function freeze_return(record)
  freeze_end(record)
  record.copies_until = math.max(record.copies_until, record.stored_until)
end

-- Whether a freeze at the source has ended by itself. A freeze with more time left than its length began by a clock
-- that was set back since. That of an incoming copy never ends by itself.
local function freeze_lapsed(freeze, now)
  return freeze.direction == FREEZE_OUTGOING and (freeze.frozen_until <= now or freeze.frozen_until - now > freeze.span)
end

-- Whether a copy of an ending session may wait, so that its record must stay. It removes the freeze.
local function freeze_waits(record, now)
  if record.freeze and record.freeze.direction == FREEZE_OUTGOING then
    freeze_return(record)
  elseif record.freeze then
    freeze_end(record)
  end
  return record.copies_until > now
end
