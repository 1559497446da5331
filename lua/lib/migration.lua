-- migration: sessions on their way from one store to another, and the list of them.

-- Freezes a record, which the caller stores. The span is the length of the freeze; 0: until a call ends it. The node
-- is the one that gets the session; empty: it keeps its own.
local function migration_freeze(record, direction, task, frozen_until, span, place, node)
  record.freeze = {
    task = task, frozen_until = frozen_until, span = span, status = record.status, direction = direction, place = place,
    node = node,
  }
  record.status = RECORD_MIGRATING
end

-- Enters a frozen session into the list. The list lives as long as its longest-lived session.
local function migration_note(key, id, record, grace, now)
  redis.call('ZADD', key, record.freeze.frozen_until, id)
  index_keep(key, record.stored_until - now, grace)
end

-- Whether a task froze a record, moving in this direction.
local function migration_is(record, direction, task)
  local freeze = record and record.freeze
  return freeze and freeze.direction == direction and freeze.task == task or false
end

-- The task by which a session departed. Nil: it has not departed.
local function migration_departed(record)
  if not record or record.kind ~= RECORD_DEPARTED then return nil end
  return record.body:sub(1, RECORD_OP_ID_SIZE)
end

-- Leaves a note at the source for as long as the session would have been stored: nothing else says that the copy
-- is the session now.
local function migration_depart(record_key, record, now)
  local freeze = record.freeze
  freeze_end(record)
  record_strip(record, RECORD_DEPARTED, freeze.task .. freeze.place)
  record.speaks_until = record.stored_until
  record_store(record_key, record, now)
end
