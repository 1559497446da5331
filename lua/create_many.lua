--[[
  create_many: make many sessions at one instant, each as create makes it, if nothing is in its way.

  KEYS[1]   expiry        zset   {ns:p}:expiry
  KEYS[2+]  session       group  record string {ns:p}:session:<id>, user zset {ns:p}:user:<user>:sessions,
                                 connection string {ns:p}:connection:<connection>:session,
                                 node zset {ns:p}:node:<node>:sessions; at most 100
  ARGV[1]   now_ms        integer from 0; empty: the server's clock
  ARGV[2]   bound_ms      integer from 0; empty: none; a time of the server from before the call began
  ARGV[3]   lifetime_ms   integer from 0; 0: none; default: 0
  ARGV[4]   grace_ms      integer from 1; default: 3600000
  ARGV[5]   tombstone_ms  integer from 1; default: 30000
  ARGV[6+]  session       group  id (utf-8 of 1 to 128 bytes), user (utf-8 of up to 256 bytes; empty: none),
                                 connection (utf-8 of up to 256 bytes; empty: none),
                                 node (utf-8 of up to 256 bytes; empty: none), op_id (8 bytes; empty: none),
                                 status (word: active, suspended; default: active),
                                 ttl_ms (integer from 1 to 315360000000; default: 1800000),
                                 entries (entries of up to 15728640 bytes; empty: none)

  Replies
    {"ok", created_at, position...}
      All are made, at version 1 and last used at created_at, except those at these positions in the group, from 1:
      something is in their way or foreign, they are here already, or the call comes too late to know. Run
      create for each of those, with its op_id: it answers why. A session expires its ttl after
      created_at, or its lifetime if that is shorter. The script does not count a user's sessions: if those
      have a limit, run create.
    {"corrupt", key}  the partition's stream of events has a foreign type
  Writes: expiry, session_record, session_user, session_connection, session_node.
  Events: created.
  Again:  the same state; it names all that it made, and create recognises those by op_id.
  Uses:   event, args, clock, permission, typed, freeze, record, entries, index, session
]]

local member_count, stream_at, tell, streams = event_call_members()
local expiry_key = KEYS[1]
local now_ms, bound_ms, lifetime_ms, grace_ms, tombstone_ms = unpack(ARGV, 1, 5)

-- Ordinarily: nothing is in the way of any session, not even an earlier one of the batch, and no key is foreign.
-- Uncertain cases, and arguments that are not plainly right, are left to the form below.
if member_count > 0 and (now_ms .. bound_ms .. lifetime_ms .. grace_ms .. tombstone_ms):find('^%d*$')
  and lifetime_ms ~= '' and grace_ms ~= '' and tombstone_ms ~= '' then
  -- They are digits, with which Lua can calculate.
  local lifetime, grace, tombstone = lifetime_ms + 0, grace_ms + 0, tombstone_ms + 0
  local now, bound = tonumber(now_ms), tonumber(bound_ms)
  if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
  end
  local ordinary = lifetime <= ARGS_MOST and grace >= 1 and grace <= ARGS_MOST and tombstone >= 1
    and tombstone <= ARGS_MOST and now <= ARGS_MOST and (not bound or bound <= ARGS_MOST and now - bound < tombstone)
  -- As locals, because Lua looks globals up by name each time.
  local unpack, find, pack_fields, unpack_fields = unpack, string.find, struct.pack, struct.unpack
  local keys, arguments = KEYS, ARGV
  -- The keys that must be absent; those of indexes of users and nodes, each with its session; the pairs for the
  -- expiry index.
  local vacant, seen, sessions, owners, owned, expiries, longest = {}, {}, {}, {}, {}, {}, 0
  -- The values of the session before: usually all have the same ttl.
  local earlier_ttl, expires_at, rest, times
  for place = 1, member_count do
    local record_key, user_key, connection_key, node_key = unpack(keys, place * 4 - 2, place * 4 + 1)
    local id, user, connection, node, op_id, status, ttl_ms, entries = unpack(arguments, place * 8 - 2, place * 8 + 5)
    if ttl_ms ~= earlier_ttl then
      local ttl = not find(ttl_ms, '%D') and tonumber(ttl_ms) or 0
      ordinary = ordinary and ttl >= 1 and ttl <= ARGS_TTL_MOST
      local ends_at, deadline = now + ttl, 0
      if lifetime > 0 then deadline = now + lifetime end
      if lifetime > 0 and ends_at > deadline then ends_at = deadline end
      earlier_ttl, expires_at, rest = ttl_ms, ('%.0f'):format(ends_at), ends_at + grace - now
      if rest > longest then longest = rest end
      times = pack_fields(RECORD_BEHIND_OP_IDS, now, RECORD_GAP_NONE, RECORD_GAP_NONE, RECORD_GAP_NONE, 1, now, ttl,
        deadline, now, ends_at, ends_at + grace)
    end
    local position, size, listed = 1, #entries, 0
    while position + ENTRY_HEADER_SIZE <= size + 1 do
      local kind, key_size, value_size = unpack_fields(ENTRY_HEADER, entries, position)
      if kind < 1 or kind > 2 or value_size == 0 then break end
      position, listed = position + ENTRY_HEADER_SIZE + key_size + value_size, listed + 1
    end
    ordinary = ordinary and position == size + 1 and size <= ENTRIES_MOST and listed < RECORD_LISTED_MOST
      and #op_id == ARGS_TOKEN_SIZE and op_id ~= '\0\0\0\0\0\0\0\0' and (status == 'active' or status == 'suspended')
      and id ~= '' and #id <= 128 and #user <= 256 and #connection <= 256 and #node <= 256
      and not find(id .. user .. connection .. node, '[\128-\255]')
      and not seen[record_key] and (connection == '' or not seen[connection_key])
      and not (tell and streams[keys[stream_at + 1 + place]] == 'foreign')
    if not ordinary then break end
    local session = { id, rest, record_key, pack_fields(RECORD_BEFORE_OP_IDS, RECORD_FORMAT, RECORD_LIVE,
      status == 'active' and RECORD_ACTIVE or RECORD_SUSPENDED, #user, #connection, #node, size, size, listed)
      .. op_id .. RECORD_OTHERS_NONE .. times .. user .. connection .. node .. entries }
    seen[record_key], vacant[#vacant + 1] = true, record_key
    if connection ~= '' then
      seen[connection_key], vacant[#vacant + 1], session[5] = true, connection_key, connection_key
    end
    if user ~= '' then owners[#owners + 1], owned[#owned + 1] = user_key, session end
    if node ~= '' then owners[#owners + 1], owned[#owned + 1] = node_key, session end
    sessions[place], expiries[place * 2 - 1], expiries[place * 2] = session, expires_at, id
  end
  if ordinary and redis.call('EXISTS', unpack(vacant)) == 0 then
    -- How long each index lives.
    local kind, lives = redis.call('TYPE', expiry_key).ok, {}
    local are_fresh = not owners[1] or redis.call('EXISTS', unpack(owners)) == 0
    for _, owner in ipairs(owners) do
      if are_fresh then
        lives[owner] = 0
      elseif not lives[owner] and (kind == 'zset' or kind == 'none') then
        kind, lives[owner] = redis.call('TYPE', owner).ok, redis.call('PTTL', owner)
      end
    end
    ordinary = kind == 'zset' or kind == 'none'
    local may, key = redis.acl_check_cmd, expiry_key
    if ordinary and (not may or may('PEXPIRE', key) and may('SET', key) and may('ZADD', key) and may('ZREM', key)) then
      redis.call('ZADD', expiry_key, unpack(expiries))
      -- See index_expiry.
      local noted = now + longest - (now + longest) % grace + grace
      if redis.call('ZADD', expiry_key, 'GT', 'CH', noted, '') == 1
        and type(redis.pcall('PEXPIRE', expiry_key, noted - now)) ~= 'number' then
        redis.call('ZREM', expiry_key, '')
        redis.call('PEXPIRE', expiry_key, noted - now)
      end
      -- As text, because each command would convert a number to text again.
      local created_at, earlier_rest, rest_text = ('%.0f'):format(now), nil, nil
      for at, owner in ipairs(owners) do
        local id, rest = unpack(owned[at], 1, 2)
        redis.call('ZADD', owner, created_at, id)
        if lives[owner] < rest then
          lives[owner] = rest + grace
          redis.call('PEXPIRE', owner, rest + grace)
        end
      end
      for place, session in ipairs(sessions) do
        local id, rest, record_key, record, connection_key = unpack(session, 1, 5)
        if tell then
          local _, user, connection, node = unpack(arguments, place * 8 - 2, place * 8 + 1)
          tell(stream_at + 1 + place, nil, 'created', '', id, user, connection, node, '1')
        end
        if rest ~= earlier_rest then earlier_rest, rest_text = rest, ('%.0f'):format(rest) end
        redis.call('SET', record_key, record, 'PX', rest_text)
        if connection_key then redis.call('SET', connection_key, id, 'PX', rest_text) end
      end
      return { 'ok', now }
    end
  end
end

-- Otherwise:
local now, bound = clock_now(now_ms), args_optional_integer(bound_ms, 'bound_ms', 0)
local lifetime, grace = args_integer(lifetime_ms, 'lifetime_ms', 0), args_integer(grace_ms, 'grace_ms', 1)
local tombstone = args_integer(tombstone_ms, 'tombstone_ms', 1)
local sessions = {}
for place = 1, member_count do
  local record_key, user_key, connection_key, node_key = unpack(KEYS, place * 4 - 2, place * 4 + 1)
  local id, user, connection, node, op_id, status, ttl, entries = unpack(ARGV, place * 8 - 2, place * 8 + 5)
  id, user, connection, node = args_id(id), args_names(user, connection, node)
  args_stored(id, user, connection, node, 'id user connection node')
  ttl = args_integer(ttl, 'ttl_ms', 1, ARGS_TTL_MOST)
  local _, listed = entries_argument(entries, 'entries')
  op_id = args_optional_token(op_id, 'op_id')
  sessions[place] = {
    id = id, record_key = record_key,
    keys = { expiry = expiry_key, user = user_key, connection = connection_key, node = node_key },
    record = record_new(record_status(status), user, connection, node, entries, listed, ttl,
      lifetime, op_id, now),
    stale = args_stale(op_id, bound, tombstone, now),
    foreign = tell and streams[KEYS[stream_at + 1 + place]] == 'foreign',
  }
end

-- All arguments are checked by now: a session with a foreign key is taken back, and nothing else can fail after a
-- write.
permission_ask()
local reply = { 'ok', now }
for place, session in ipairs(sessions) do
  local record_key, keys, id, record = session.record_key, session.keys, session.id, session.record
  -- An earlier session of the batch may be in the way too.
  local vacant, fresh = session_vacant(record_key, keys, record.node)
  if not vacant or session.stale or session.foreign
    or session_make(record_key, keys, id, record, grace, now, fresh, tell, stream_at + 1 + place) then
    reply[#reply + 1] = place
  end
end
return reply
