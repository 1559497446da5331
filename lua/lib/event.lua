-- event: what becomes of sessions, told in the streams of the partition and of the nodes that have or had them.

-- A call that asks for events passes one argument more, how many of them a stream keeps, and behind its other keys
-- those for its events: the partition's stream, the expiry index, and the streams of nodes, in the order in which it
-- passes their indexes. So KEYS[stream_at] is the partition's stream, [stream_at + 2] that of the session's node,
-- [stream_at + 3] that of its new one. `tell` tells an event; nil: the call asks for none. The export puts these two
-- bodies in the place of their calls, see call.lua.

-- Of an operation without a group.
local function event_call()
  local asks = #ARGV == HEADER_ARGUMENTS + 1
  if #ARGV ~= HEADER_ARGUMENTS and not asks or #KEYS ~= (asks and HEADER_KEYS + HEADER_EVENT_KEYS or HEADER_KEYS) then
    return redis.error_reply(HEADER_WRONG)
  end
  local stream_at = HEADER_KEYS + 1
  local tell, untold = event_teller(asks and stream_at, HEADER_OWN_STREAMS)
  if untold then return untold end
end

-- Of an operation with one, whose members take two arguments or more: how many there are, too. The streams of their
-- nodes stand behind the call's own.
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

-- The function that tells an event, which takes which of KEYS are the streams of the session's node and of the one
-- before, if there are any. `first` is which of KEYS is the partition's stream, which stands in for that of no node, or
-- false where the call asks for no events: then there is nothing to tell by. Behind it stand the expiry index and the
-- streams of nodes, of which the first `own` are the call's own. How many events a stream keeps is the last
-- argument. Nil, and the reply for a foreign type, where one of those is. The rest are of sessions that the call ends
-- beside its own: a foreign one keeps nobody from that, and is told nothing; `lives` says which are, and of the others
-- how long they live. An event comes before the record that notes the change: so who repeats a call that was refused a
-- command tells it twice, but never not at all.
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
    -- Redis 6.2 cannot be asked. It looks at the ACL before it looks at arguments, and these are in vain. Where memory
    -- is full none is to be the first write, behind which anything would be stored.
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
      -- Who reads from the beginning finds there that nothing was before.
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
        -- The expiry index lives as long as the partition's stream, or of what expires while nobody reaps nothing would
        -- say that it was there. See index_expiry.
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
