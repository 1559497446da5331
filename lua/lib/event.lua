-- event: writes events of sessions to the streams of the partition and of the nodes that have or had them.

-- A call that asks for events passes one more argument, how many events a stream keeps. Behind its other keys it
-- passes those for its events: the partition's stream, the expiry index, and the streams of nodes, in the order in
-- which it passes their indexes. So KEYS[stream_at] is the partition's stream, [stream_at + 2] that of the session's
-- node, [stream_at + 3] that of its new node. `tell` writes an event; nil: the call asks for none. The export
-- replaces the calls of these two functions by their bodies, see call.lua.

-- For an operation without a group.
local function event_call()
  local asks = #ARGV == HEADER_ARGUMENTS + 1
  if #ARGV ~= HEADER_ARGUMENTS and not asks or #KEYS ~= (asks and HEADER_KEYS + HEADER_EVENT_KEYS or HEADER_KEYS) then
    return redis.error_reply(HEADER_WRONG)
  end
  local stream_at = HEADER_KEYS + 1
  local tell, untold = event_teller(asks and stream_at, HEADER_OWN_STREAMS)
  if untold then return untold end
end

-- For an operation with a group, whose members take two arguments or more: also returns how many there are. The
-- streams of their nodes come behind the call's own.
local function event_call_members()
  local member_count, asks = (#ARGV - HEADER_ARGUMENTS) / HEADER_MEMBER_ARGUMENTS, false
  if member_count % 1 ~= 0 then
    member_count, asks = (#ARGV - HEADER_ARGUMENTS - 1) / HEADER_MEMBER_ARGUMENTS, true
  end
  local stream_at = HEADER_KEYS + member_count * HEADER_MEMBER_KEYS + 1
  if member_count % 1 ~= 0 or member_count < 0 or member_count > HEADER_MEMBERS
    or #KEYS ~= stream_at - 1 + (asks and HEADER_EVENT_KEYS + member_count * HEADER_MEMBER_STREAMS or 0) then
    return redis.error_reply(HEADER_WRONG)
  end
  local tell, untold, streams = event_teller(asks and stream_at, HEADER_OWN_STREAMS)
  if untold then return untold end
end

local EVENT_TTL, EVENT_TTL_LEAST = 1209600000, 604800000 -- two weeks and one: for so long a reader may be away

-- Returns the function that writes an event. That takes the positions in KEYS of the streams of the session's node and
-- of its former node, if there are any. `first` is the position of the partition's stream, which also takes the place
-- of a missing node's stream; false if the call asks for no events. Behind it come the expiry index and the streams of
-- nodes, of which the first `own` are the call's own. The last argument is how many events a stream keeps. If one of
-- the call's own keys has a foreign type, this returns nil and the reply. The rest are streams of other sessions that
-- the call ends: a foreign one does not prevent that, and gets no event; `lives` marks these, and has the TTLs of the
-- others. An event is written before the record that notes the change. So a call that is repeated after a refused
-- command may write its event twice, but never not at all.
local function event_teller(first, own)
  if not first then return end
  local keep, partition, expiry = ARGV[#ARGV], KEYS[first], KEYS[first + 1]
  if not keep:find('^[1-9]%d*$') or #keep > 9 then error('cloakroom: events is no integer from 1 to 999999999') end
  local lives, is_due = { [expiry] = 'no stream' }, false
  for at = first, #KEYS do
    local stream = KEYS[at]
    if not lives[stream] then
      local kind = redis.call('TYPE', stream).ok
      if kind == 'stream' then
        lives[stream] = redis.call('PTTL', stream)
      elseif kind == 'none' then
        lives[stream] = -2
      elseif at <= first + 1 + own then
        return nil, { 'corrupt', ({ 'events', 'expiry', 'node_events', 'new_node_events' })[at - first + 1] }
      else
        lives[stream] = 'foreign'
      end
      is_due = is_due or kind == 'none' or kind == 'stream' and lives[stream] < EVENT_TTL_LEAST
    end
  end
  local may, lacks = redis.acl_check_cmd, nil
  if may then
    lacks = not (may('XADD', partition) and may('SET', partition))
      or is_due and not (may('PEXPIRE', partition) and may('ZADD', partition))
  else
    -- Redis 6.2 cannot be asked. It checks the ACL before the arguments, and these are invalid. If memory is full, an
    -- event must not be the first write, because everything after the first write would be stored.
    local tried = redis.pcall('XADD', partition, 'x', '', '').err
    if not tried:find('OOM ', 1, true) then
      tried = tried .. redis.pcall('SET', partition, '', 'x').err
      if is_due then
        tried = tried .. redis.pcall('PEXPIRE', partition, 'x').err .. redis.pcall('ZADD', expiry, 'x', '').err
      end
      lacks = tried:find('executing the script', 1, true) or tried:find('ACL failure', 1, true)
        or tried:find('NOPERM', 1, true)
    end
  end
  if lacks then
    local told = 'NOPERM cloakroom: the user may not run XADD, SET, PEXPIRE or ZADD'
    error(may and { err = told } or '-' .. told)
  end
  return function(at, other, what, why, id, user, connection, node, version, new_id)
    local here, before = at and KEYS[at] or partition, other and KEYS[other] or partition
    local stream = partition
    repeat
      local left = lives[stream]
      -- A reader from the beginning finds there that nothing came before.
      if left == -2 then
        redis.call('XADD', stream, '*', 'what', 'begun', 'why', '', 'id', '', 'user', '', 'connection', '', 'node', '',
          'version', '0')
      end
      if left ~= 'foreign' and new_id then
        redis.call('XADD', stream, 'MAXLEN', '~', keep, '*', 'what', what, 'why', why, 'id', id, 'user', user,
          'connection', connection, 'node', node, 'version', version, 'new_id', new_id)
      elseif left ~= 'foreign' then
        redis.call('XADD', stream, 'MAXLEN', '~', keep, '*', 'what', what, 'why', why, 'id', id, 'user', user,
          'connection', connection, 'node', node, 'version', version)
      end
      if left ~= 'foreign' and left < EVENT_TTL_LEAST then
        redis.call('PEXPIRE', stream, EVENT_TTL)
        lives[stream] = EVENT_TTL
        -- The expiry index must live as long as the partition's stream. Otherwise nothing would be left of a session
        -- that expires while nobody reaps. See index_expiry.
        local ends_at = stream == partition and (tonumber(ARGV[1]) or redis.call('TIME')[1] * 1000) + EVENT_TTL
        if ends_at and redis.pcall('ZADD', expiry, 'GT', 'CH', ends_at, '') == 1 then
          redis.call('PEXPIRE', expiry, EVENT_TTL)
        end
      end
      if stream == partition and here ~= partition then
        stream = here
      elseif stream ~= before and before ~= partition then
        stream = before
      else
        stream = nil
      end
    until not stream
  end, nil, lives
end
