-- session: puts in and takes out all entries that a session has in Redis besides its record. `keys` is { user,
-- connection, node, expiry } by name. An empty user, connection or node has no entry, and the record's key takes the
-- place of its key: nothing may read or write there. `keys.prefix` is the header's prefix of the first three names,
-- if they are the new ones.

-- The reply for a user, connection or node key of a foreign type.
local function session_corrupt(keys, name)
  return { 'corrupt', (keys.prefix or '') .. name }
end

-- Whether nothing is under the record key and the connection key of a session to make; and which of its indexes are
-- known not to exist yet. EXISTS counts a repeated key again: below `full` there is neither record nor pointer, and the
-- remainder shows the indexes. A record key in the place of another key counts once more, which only adds to a number
-- that is `full` already.
local function session_vacant(record_key, keys, node)
  local full, present = 2, nil
  if node == '' then
    present = redis.call('EXISTS', keys.user, record_key, record_key, keys.connection, keys.connection)
  else
    full = 4
    present = redis.call('EXISTS', keys.user, keys.node, keys.node, record_key, record_key, record_key, record_key,
      keys.connection, keys.connection, keys.connection, keys.connection)
  end
  return present < full, { user = present % 2 == 0, node = present % 4 < 2 }
end

-- Indexes a session that was not there. `fresh` names the indexes known not to exist yet. Returns the reply
-- for a foreign type, with all writes undone.
local function session_index(keys, id, record, grace, now, fresh)
  local ttl = record.stored_until - now
  local user, node = record.user ~= '', record.node ~= ''
  if user and type(typed_call('ZADD', keys.user, record.created_at, id)) == 'table' then
    return session_corrupt(keys, 'user')
  end
  if node and type(typed_call('ZADD', keys.node, record.created_at, id)) == 'table' then
    if user then redis.call('ZREM', keys.user, id) end
    return session_corrupt(keys, 'node')
  end
  if index_expiry(keys.expiry, id, record, grace, now, true) then
    if user then redis.call('ZREM', keys.user, id) end
    if node then redis.call('ZREM', keys.node, id) end
    return { 'corrupt', 'expiry' }
  end
  if user then index_keep(keys.user, ttl, grace, fresh.user) end
  if node then index_keep(keys.node, ttl, grace, fresh.node) end
  return nil
end

-- Puts in a whole new session; nothing is in its way. `fresh` as above. `tell` writes its event to the stream of its
-- node, KEYS[stream]. Returns the reply for a foreign type, with all writes undone.
local function session_make(record_key, keys, id, record, grace, now, fresh, tell, stream)
  record_keep(record, grace)
  local refusal = session_index(keys, id, record, grace, now, fresh)
  if refusal then return refusal end
  if tell then
    tell(stream, nil, 'created', '', id, record.user, record.connection, record.node, record.version)
  end
  record_store(record_key, record, now)
  if record.connection ~= '' then redis.call('SET', keys.connection, id, 'PX', record.stored_until - now) end
  return nil
end

-- Puts back what session_unindex took out. An index that lost its last member lost its TTL with it.
local function session_unindex_undo(key, id, score, ttl)
  redis.call('ZADD', key, score, id)
  if redis.call('PTTL', key) < 0 then redis.call('PEXPIRE', key, ttl) end
end

-- Returns the reply for a foreign type, with all put back.
local function session_unindex(keys, id, record, now)
  local ttl = math.max(record.stored_until - now, 1)
  local expiry = typed_call('ZREM', keys.expiry, id)
  if type(expiry) == 'table' then return { 'corrupt', 'expiry' } end
  local user = record.user ~= '' and typed_call('ZREM', keys.user, id)
  if type(user) == 'table' then
    if expiry == 1 then session_unindex_undo(keys.expiry, id, record.expires_at, ttl) end
    return { 'corrupt', 'user' }
  end
  local node = record.node ~= '' and typed_call('ZREM', keys.node, id)
  if type(node) == 'table' then
    if expiry == 1 then session_unindex_undo(keys.expiry, id, record.expires_at, ttl) end
    if user == 1 then session_unindex_undo(keys.user, id, record.created_at, ttl) end
    return { 'corrupt', 'node' }
  end
  return nil
end

-- The record and, in the same call, the pointer of its connection; and the name of a foreign one of the two.
local function session_read(record_key, connection_key, connection, now)
  local raw, pointer
  if connection == '' then
    raw = redis.call('MGET', record_key)[1]
  else
    raw, pointer = unpack(redis.call('MGET', record_key, connection_key))
  end
  local record = raw and record_decode(raw) or nil
  -- MGET reads a foreign type as absent.
  if not record and (raw or redis.call('TYPE', record_key).ok ~= 'none') then return nil, nil, 'record' end
  record = record_unless_over(record, now)
  if pointer == false and redis.call('TYPE', connection_key).ok ~= 'none' then
    return record, nil, 'connection'
  end
  return record, pointer or nil, nil
end

-- The same without the entries: to remove a session, or to find out what became of it, however large it is.
local function session_read_head(record_key, connection_key, connection, now)
  local record, corrupt = record_read_head(record_key, now)
  if corrupt then return nil, nil, 'record' end
  if connection == '' then return record, nil, nil end
  local pointer, foreign = index_pointer(connection_key)
  return record, pointer, foreign and 'connection' or nil
end

-- Deletes keys of a session whose index entries are out. If the user may not, it puts those back; otherwise the
-- session would live on with nothing leading to it.
local function session_delete(keys, id, record, now, ...)
  if type(redis.pcall('DEL', ...)) == 'number' then return end
  local ttl = math.max(record.stored_until - now, 1)
  session_unindex_undo(keys.expiry, id, record.expires_at, ttl)
  if record.user ~= '' then session_unindex_undo(keys.user, id, record.created_at, ttl) end
  if record.node ~= '' then session_unindex_undo(keys.node, id, record.created_at, ttl) end
  redis.call('DEL', ...)
end

-- Redis 6.2 cannot be asked whether the user may set a record. For an existing key this writes nothing. If memory
-- is full, Redis refuses it for that, but would not after another write.
local function session_try(record_key)
  if redis.acl_check_cmd then return end
  local tried = redis.pcall('SET', record_key, '', 'NX')
  if tried and tried.err and not tried.err:find('-OOM', 1, true) then redis.call('SET', record_key, '', 'NX') end
end

-- Writes the event of a session that ends or leaves, with what it had; `tell` and the stream of its node as
-- above.
local function session_tell(tell, stream, what, why, id, record, version, new_id)
  if tell then tell(stream, nil, what, why, id, record.user, record.connection, record.node, version, new_id) end
end

-- Takes out the index entries, and the pointer if it is still this session's. The caller sets the record to the
-- leftover. Returns the reply for a foreign type, with all put back.
local function session_remove(record_key, keys, id, record, pointer, now)
  session_try(record_key)
  local refusal = session_unindex(keys, id, record, now)
  if not refusal and record.connection ~= '' and pointer == id then
    session_delete(keys, id, record, now, keys.connection)
  end
  return refusal
end

-- The same with the record. It leaves nothing, except a leftover if copies may wait, and writes the event.
local function session_erase(record_key, keys, id, record, pointer, now, tell, stream, why)
  if freeze_waits(record, now) then
    local refusal = session_remove(record_key, keys, id, record, pointer, now)
    if not refusal then
      session_tell(tell, stream, 'ended', why, id, record, record.version)
      record_leave_word(record_key, record, now)
    end
    return refusal
  end
  local refusal = session_unindex(keys, id, record, now)
  if refusal then return refusal end
  session_tell(tell, stream, 'ended', why, id, record, record.version)
  if record.connection ~= '' and pointer == id then
    session_delete(keys, id, record, now, record_key, keys.connection)
  else
    session_delete(keys, id, record, now, record_key)
  end
end

-- The same, but skips keys of foreign types: for callers that nothing may stop.
local function session_clear(keys, id, record, pointer, now)
  typed_call('ZREM', keys.expiry, id)
  if record.user ~= '' then typed_call('ZREM', keys.user, id) end
  if record.node ~= '' then typed_call('ZREM', keys.node, id) end
  if record.connection ~= '' and pointer == id then session_delete(keys, id, record, now, keys.connection) end
end

-- Sets aside the value under the key of a corrupt session, with a TTL, and takes out its entries; `record` as far as it
-- can be read. It does so only once the session's time is over, by its entry in the expiry index if nothing else says.
local function session_set_aside(record_key, keys, id, record, pointer, aside_key, ttl, now, tell, stream)
  local expires_at = redis.call('ZSCORE', keys.expiry, id)
  if not expires_at or tonumber(expires_at) > now then return end
  record = record or { user = '', connection = '', node = '', version = 0 }
  redis.call('RENAME', record_key, aside_key)
  redis.call('PEXPIRE', aside_key, ttl)
  -- After a write that frees memory: if memory is full, Redis would refuse an event as the first write.
  session_tell(tell, stream, 'ended', 'corrupt', id, record, record.version)
  session_clear(keys, id, record, pointer, now)
end

-- Nil if the caller named the session's user, connection and node correctly; otherwise the reply that names
-- them.
local function session_need(record, user, connection, node)
  if record.user == user and record.connection == connection and record.node == node then return nil end
  return { 'need', 'routing', record.user, record.connection, record.node }
end

-- Whether a connection is free for session `id`; `name` is the name of its key. Nil: it is free, or its pointer is
-- stale. Otherwise the reply, and with `taken` the record of the holder.
local function session_holder(name, connection_key, connection, id, holder_id, holder_key, now)
  local pointer, foreign = index_pointer(connection_key)
  if foreign then return { 'corrupt', name } end
  if not pointer or pointer == id then return nil end
  if pointer ~= holder_id then return { 'need', 'holder', pointer, '' } end
  local holder, corrupt = record_read(holder_key, now)
  if corrupt then return { 'corrupt', 'holder_record' } end
  if not holder or holder.kind ~= RECORD_LIVE or holder.connection ~= connection then return nil end
  if holder.expires_at <= now then return { 'need', 'reap', pointer } end
  return { 'taken', pointer }, holder
end

-- The same as session_need, for a record of which only the numbers were read.
local function session_routing_need(record_key, record, user, connection, node)
  if not record.user then record_read_routing(record, record_key) end
  return session_need(record, user, connection, node)
end

-- Checks the types of all keys of a session, if a foreign one would be found too late. Nil, or the reply.
local function session_foreign(keys, record)
  if index_foreign(keys.expiry) then return { 'corrupt', 'expiry' } end
  if record.user ~= '' and index_foreign(keys.user) then return session_corrupt(keys, 'user') end
  if record.node ~= '' and index_foreign(keys.node) then return session_corrupt(keys, 'node') end
  if record.connection == '' then return nil end
  local _, foreign = index_pointer(keys.connection)
  return foreign and session_corrupt(keys, 'connection') or nil
end

-- Makes the user, connection and node keys live as long as the record.
local function session_keep(keys, record, grace, now)
  local ttl = record.stored_until - now
  if record.user ~= '' then index_keep(keys.user, ttl, grace) end
  if record.connection ~= '' then index_keep(keys.connection, ttl, grace) end
  if record.node ~= '' then index_keep(keys.node, ttl, grace) end
end

-- Brings the expiry index and the TTLs of the keys to a record's new expires_at, later or sooner.
local function session_reschedule(keys, id, record, grace, now)
  record.stored_until = math.min(record.stored_until, record.expires_at + grace)
  local keep = record_keep(record, grace)
  index_expiry(keys.expiry, id, record, grace, now, keep)
  if keep then session_keep(keys, record, grace, now) end
end

-- Moves the entry of a session from one owner's index to another's.
local function session_move_entry(old_key, old_owner, new_key, new_owner, id, record, grace, now)
  if old_owner == new_owner then return end
  if old_owner ~= '' then redis.call('ZREM', old_key, id) end
  if new_owner ~= '' then
    redis.call('ZADD', new_key, record.created_at, id)
    index_keep(new_key, record.stored_until - now, grace)
  end
end

-- Moves user, node and connection entries from where `old` had them to where `record` has them.
local function session_reroute(old_keys, new_keys, id, old, record, grace, now)
  session_move_entry(old_keys.user, old.user, new_keys.user, record.user, id, record, grace, now)
  session_move_entry(old_keys.node, old.node, new_keys.node, record.node, id, record, grace, now)
  if old.connection ~= '' and old.connection ~= record.connection and index_pointer(old_keys.connection) == id then
    redis.call('DEL', old_keys.connection)
  end
  if record.connection ~= '' and record.connection ~= old.connection then
    redis.call('SET', new_keys.connection, id, 'PX', record.stored_until - now)
  end
end

-- Puts in a whole session: where there was none, or in the place of `old`, all of whose keys were checked.
-- Returns the reply for a foreign type, with all writes undone.
local function session_put(old_keys, new_keys, id, old, record, grace, now)
  if old then
    record.stored_until = old.stored_until
    session_reschedule(new_keys, id, record, grace, now)
    session_reroute(old_keys, new_keys, id, old, record, grace, now)
    return nil
  end
  record_keep(record, grace)
  local refusal = session_index(new_keys, id, record, grace, now, {})
  if refusal then return refusal end
  if record.connection ~= '' then redis.call('SET', new_keys.connection, id, 'PX', record.stored_until - now) end
  return nil
end

-- Leaves a session without connection and node, and writes the event. The caller deletes the pointer or hands it on.
local function session_detach(record_key, node_key, id, record, op_id, now, tell, stream, what)
  if record.node ~= '' then redis.call('ZREM', node_key, id) end
  session_tell(tell, stream, what, '', id, record, record.version + 1)
  record.connection, record.node, record.status = '', '', RECORD_SUSPENDED
  record_change(record, op_id, now)
  record_store(record_key, record, now)
end

-- Makes a session without a connection live until a time at least, but not past its deadline. The caller handles its
-- node's index.
local function session_prolong(keys, id, record, least, grace, now)
  if record.deadline > 0 then least = math.min(least, record.deadline) end
  if least <= record.expires_at then return end
  record.expires_at = least
  local keep = record_keep(record, grace)
  index_expiry(keys.expiry, id, record, grace, now, keep)
  if keep and record.user ~= '' then index_keep(keys.user, record.stored_until - now, grace) end
end
