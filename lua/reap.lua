--[[
  reap: remove a batch of expired sessions with all their index entries, and return them. Each is checked again.

  KEYS[1]   expiry   zset   {ns:p}:expiry
  KEYS[2+]  session  group  {ns:p}:session:<id> {ns:p}:user:<user>:sessions
                           {ns:p}:connection:<connection>:session {ns:p}:node:<node>:sessions; at most 200
  ARGV[1]   now_ms   integer; empty: the server's clock
  ARGV[2+]  session  group  id, user, connection, node

  Replies
    {"ok", removed, stale, corrupt, dropped, removed*(id, record), stale*id, corrupt*id}
      how many of each kind, then those of each kind. Stale: the user, connection or node is another
      now. Dropped are entries of the expiry index without a session. A live one is in none.
    {"corrupt", key}
  Writes: all of the keys of each session that it removes.
  Again:  the same state; what was removed is reported once.
  Uses:   args, clock, permission, typed, record, index, session
]]

if #KEYS % 4 ~= 1 or #KEYS > 801 or #ARGV ~= #KEYS then
  return redis.error_reply('ERR cloakroom reap: 1 KEYS and 1 ARGV, and 4 of each a session, at most 200')
end
local expiry_key = KEYS[1]
local now = clock_now(ARGV[1])
if index_foreign(expiry_key) then return { 'corrupt', 'expiry' } end

permission_ask()
local removed, stale, corrupt, dropped = {}, {}, {}, 0
for at = 2, #KEYS, 4 do
  local record_key, user_key, connection_key, node_key = unpack(KEYS, at, at + 3)
  local id, user, connection, node = unpack(ARGV, at, at + 3)
  local keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key }
  local record, pointer, foreign = session_read(record_key, connection_key, connection, now)
  if foreign then
    corrupt[#corrupt + 1] = id
  elseif not record or record.kind ~= RECORD_LIVE then
    dropped = dropped + redis.call('ZREM', expiry_key, id)
  elseif record.expires_at <= now then
    if session_need(record, user, connection, node) then
      stale[#stale + 1] = id
    elseif session_erase(record_key, keys, id, record, pointer, now) then
      corrupt[#corrupt + 1] = id
    else
      removed[#removed + 1] = id
      removed[#removed + 1] = record.raw
    end
  end
end
local reply = { 'ok', #removed / 2, #stale, #corrupt, dropped }
for _, texts in ipairs({ removed, stale, corrupt }) do
  for _, text in ipairs(texts) do reply[#reply + 1] = text end
end
return reply
