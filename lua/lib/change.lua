-- change: whether a call may change a session. All calls ask it in one order: the session is live, the call has not
-- happened before, the node that writes as the owner holds it, and it is not on its way to another store.

-- Why a call may not change a session that is live, as the reply to give; nil when it may. `node` is where the session
-- is, or where the call brings it.
local function change_refusal(record, node, as_lease_key, as_node, lease_id, now)
  local refusal = lease_fence(as_lease_key, as_node, lease_id, node, now)
  if refusal then return refusal end
  if record.status == RECORD_MIGRATING then return { 'frozen' } end
  return nil
end

-- The session at a key that a call may change; or nil and the reply to give; or what record_for_change has of a call
-- that has happened before. `new_node` is where the call brings it; nil: it stays where it is.
local function change_begin(record_key, op_id, bound, new_node, as_lease_key, as_node, lease_id, now)
  local record, refusal, first, noted = record_for_change(record_key, op_id, bound, now)
  if not record then return nil, refusal, first, noted end
  refusal = change_refusal(record, new_node or record.node, as_lease_key, as_node, lease_id, now)
  if refusal then return nil, refusal end
  return record
end
