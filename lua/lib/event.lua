-- event: what becomes of sessions, told in streams: that of the partition, and those of the nodes that have or had them.

local EVENT_TTL, EVENT_TTL_LEAST = '1209600000', 604800000 -- two weeks and one: for so long a reader may be away

-- Of a call that asks for events, the function that tells one: of the session's node and the one before, if there are any,
-- it takes which of KEYS is the stream. How many events a stream keeps is the last argument; the streams are the keys from
-- `first` on, and the first of them, the partition's, stands in for that of no node. Or nil, and the reply for a foreign
-- type: of one of the first `own` streams, or of any where that is not said. Those behind them are of sessions that the call
-- ends beside its own: a foreign one keeps nobody from that, and is told nothing. An event comes before the record that notes
-- the change: so who repeats a call that was refused a command tells it twice, but never not at all.
local function event_teller(first, own)
  local keep, partition, state = ARGV[#ARGV], KEYS[first], {}
  if not keep:find('^[1-9]%d*$') or #keep > 9 then error('cloakroom: events is no integer from 1 to 999999999') end
  local may, key = redis.acl_check_cmd, partition
  if may and not (may('XADD', key) and may('PTTL', key) and may('PEXPIRE', key) and may('SET', key)) then
    error({ err = 'NOPERM cloakroom: the user may not run XADD, PTTL, PEXPIRE or SET' })
  end
  for at = first, #KEYS do
    local stream = KEYS[at]
    if not state[stream] then
      local kind = redis.call('TYPE', stream).ok
      local is_foreign = kind ~= 'stream' and kind ~= 'none'
      if is_foreign and at < first + (own or #KEYS) then return nil, { 'corrupt', 'events' } end
      state[stream] = is_foreign and 'foreign' or kind
    end
  end
  local function put(stream, what, why, id, user, connection, node, version, new_id)
    local known = state[stream]
    if known == 'foreign' then return end
    -- Who reads from the beginning finds there that nothing was before.
    if known == 'none' then
      redis.call('XADD', stream, '*', 'what', 'begun', 'why', '', 'id', '', 'user', '', 'connection', '', 'node', '',
        'version', '0')
    end
    if new_id then
      redis.call('XADD', stream, 'MAXLEN', '~', keep, '*', 'what', what, 'why', why, 'id', id, 'user', user,
        'connection', connection, 'node', node, 'version', version, 'new_id', new_id)
    else
      redis.call('XADD', stream, 'MAXLEN', '~', keep, '*', 'what', what, 'why', why, 'id', id, 'user', user,
        'connection', connection, 'node', node, 'version', version)
    end
    if known ~= 'told' then
      if redis.call('PTTL', stream) < EVENT_TTL_LEAST then redis.call('PEXPIRE', stream, EVENT_TTL) end
      state[stream] = 'told'
    end
  end
  return function(at, other, what, why, id, user, connection, node, version, new_id)
    put(partition, what, why, id, user, connection, node, version, new_id)
    local here, before = at and KEYS[at] or partition, other and KEYS[other] or partition
    if here ~= partition then put(here, what, why, id, user, connection, node, version, new_id) end
    if before ~= partition and before ~= here then
      put(before, what, why, id, user, connection, node, version, new_id)
    end
  end
end
