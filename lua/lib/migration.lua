-- migration: sessions on their way from one store to another, and the list of them.

-- Freezes a record, which the caller stores. The span is how long it stays so; 0: until somebody ends it. The node is
-- the one that it goes to; empty: it keeps its own.
local function migration_freeze(record, direction, task, frozen_until, span, place, node)
  record.freeze = {
    task = task, frozen_until = frozen_until, span = span, status = record.status, direction = direction, place = place,
    node = node,
  }
  record.status = RECORD_MIGRATING
end

-- Enters a frozen session into the list, which lives as long as the longest-lived of the sessions in it.
local function migration_note(key, id, record, grace, now)
  redis.call('ZADD', key, record.freeze.frozen_until, id)
  index_keep(key, record.stored_until - now, grace)
end

-- Whether a record is frozen by a task, on its way in this direction.
local function migration_is(record, direction, task)
  local freeze = record and record.freeze
  return freeze and freeze.direction == direction and freeze.task == task or false
end

-- The task by which a session departed. Nil: the record says nothing of the kind.
local function migration_departed(record)
  if not record or record.kind ~= RECORD_DEPARTED then return nil end
  return record.body:sub(1, RECORD_OP_ID_SIZE)
end

-- What stays at the source as long as the session would have: nothing else says that the copy is the session now.
local function migration_depart(record_key, record, now)
  local freeze = record.freeze
  freeze_end(record)
  record_strip(record, RECORD_DEPARTED, freeze.task .. freeze.place)
  record.speaks_until = record.stored_until
  record_store(record_key, record, now)
end
