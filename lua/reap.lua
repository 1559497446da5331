--[[
  reap: remove a batch of expired sessions with all their index entries. It checks each again. The caller has read their
  contents before: an expired session no longer changes. It sets corrupt sessions aside, for an operator to look
  at, so that no later call meets them.

  KEYS[1]   expiry    zset   {ns:p}:expiry
  KEYS[2+]  session   group  record string {ns:p}:session:<id>, user zset {ns:p}:user:<user>:sessions,
                             connection string {ns:p}:connection:<connection>:session,
                             node zset {ns:p}:node:<node>:sessions, aside string {ns:p}:aside:<id>; at most 200
  ARGV[1]   now_ms    integer from 0; empty: the server's clock
  ARGV[2]   aside_ms  integer from 1; default: 604800000; how long corrupt data stays set aside
  ARGV[3+]  session   group  id (text), user (text; empty: none), connection (text; empty: none),
                             node (text; empty: none), expires_at_ms (integer from 0; default: 0)

  Replies
    {"ok", removed, stale, corrupt, dropped, left, removed*id, stale*id, corrupt*id}
      how many of each kind, then the ids of each kind. Stale: the user, connection or node is another
      now, or it is another session, for it expires at another time. Dropped are entries of the expiry
      index without a session. A live one is in none. Left: this many at the end of the group were not
      looked at, because those before were large; call again for them. Corrupt is a session that is
      broken, or of which a key is of a foreign type: if its time in the expiry index is over, what is
      under its record's key is under aside now, and its entries are gone, but for the foreign.
    {"corrupt", key}
  Writes: expiry, session_record, session_user, session_connection, session_node; rarely session_aside.
  Events: ended: expired, corrupt, or lost, of what nothing but an entry of the expiry index was left.
  Again:  the same state; what was removed is reported once.
  Uses:   event, args, clock, permission, typed, freeze, record, index, session, bulk
]]

local member_count, stream_at, tell = event_call_members()
local expiry_key = KEYS[1]
local now, aside = clock_now(ARGV[1]), args_integer(ARGV[2], 'aside_ms', 1)
local expires_at = {}
for place = 1, member_count do expires_at[place] = args_integer(ARGV[place * 5 + 2], 'expires_at_ms', 0) end
if index_foreign(expiry_key) then return { 'corrupt', 'expiry' } end

permission_ask()
local removed, stale, corrupt, dropped, left, freed = {}, {}, {}, 0, 0, 0
for place = 1, member_count do
  local at, stream = place * 5 - 3, stream_at + 1 + place
  local record_key, user_key, connection_key, node_key, aside_key = unpack(KEYS, at, at + 4)
  local id, user, connection, node = unpack(ARGV, at + 1, at + 4)
  local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
  local record, pointer, foreign = session_read_head(record_key, connection_key, connection, now)
  if foreign == 'record' then
    session_set_aside(record_key, keys, id, record, pointer, aside_key, aside, now, tell, stream)
    corrupt[#corrupt + 1] = id
  elseif not record or record.kind ~= RECORD_LIVE then
    -- The write that frees memory comes first: if memory is full, Redis would refuse an event as the first
    -- write.
    local entry = redis.call('ZREM', expiry_key, id)
    if tell and not record and entry == 1 then tell(nil, nil, 'ended', 'lost', id, '', '', '', '0') end
    dropped = dropped + entry
  elseif record.expires_at <= now then
    if session_need(record, user, connection, node) or record.expires_at ~= expires_at[place] then
      stale[#stale + 1] = id
    elseif bulk_full(freed, record.size, BULK_FREED) then
      left = member_count - place + 1
      break
    elseif foreign or session_erase(record_key, keys, id, record, pointer, now, tell, stream, 'expired') then
      session_set_aside(record_key, keys, id, record, pointer, aside_key, aside, now, tell, stream)
      corrupt[#corrupt + 1] = id
    else
      removed[#removed + 1] = id
      freed = freed + record.size
    end
  end
end
local reply = { 'ok', #removed, #stale, #corrupt, dropped, left }
for _, ids in ipairs({ removed, stale, corrupt }) do
  for _, id in ipairs(ids) do reply[#reply + 1] = id end
end
return reply
