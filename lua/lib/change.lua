-- change: whether a call may change a session. All calls check in the same order: the session is live, the call has
-- not happened before, the node that makes the call holds the session, and no migration has frozen it.

-- The reply that says why a call may not change a live session; nil if it may. `node` is the session's node, or the
-- node that the call gives it.
local function change_refusal(record, node, as_lease_key, as_node, lease_id, now)
  local refusal = lease_fence(as_lease_key, as_node, lease_id, node, now)
  if refusal then return refusal end
  if record.status == RECORD_MIGRATING then return { 'frozen' } end
  return nil
end

-- The session at a key that a call may change; or nil and the reply; or what record_for_change returns for a call
-- that has happened before. `new_node` is the node that the call gives it; nil: it keeps its node.
local function change_begin(record_key, op_id, bound, new_node, as_lease_key, as_node, lease_id, now)
  local record, refusal, first, noted = record_for_change(record_key, op_id, bound, now)
  if not record then return nil, refusal, first, noted end
  refusal = change_refusal(record, new_node or record.node, as_lease_key, as_node, lease_id, now)
  if refusal then return nil, refusal end
  return record
end
