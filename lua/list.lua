--[[
  list: read the live sessions of a page of a user's or node's index, as they all were at one instant, and drop the
  entries that lead nowhere.

  KEYS[1]   owner    zset   {ns:p}:<kind>:<owner>:sessions
  KEYS[2+]  session  group  record string {ns:p}:session:<id>; at most 500; all entries of the page, in order
  ARGV[1]   now_ms   integer from 0; empty: the server's clock
  ARGV[2]   kind     word: user, node
  ARGV[3]   owner    text of 1 to 256 bytes; the user or node
  ARGV[4]   from_ms  integer from 0; default: 0; the score from which on the page was read
  ARGV[5]   skip     integer from 0; default: 0; how many of the entries from there on come before the page
  ARGV[6]   page     integer from 1 to 500; how many entries the page has, if there are so many
  ARGV[7]   changed  word: refuse, part; default: refuse; if the page has changed since it was read: part: reply its
                     beginning, as far as it is declared
  ARGV[8]   bytes    integer from 1; default: 2097152; how many bytes of records the reply has at most, except one
                     record
  ARGV[9+]  session  group  id (text)

  Replies
    {"ok", dropped, (id, record)...}             the live sessions in the order of the page
    {"part", dropped, last_id, (id, record)...}  those of its beginning, up to this entry: continue behind it
    {"need", "page", id...}                      declare these: the page has changed since it was read
    {"corrupt", key}
  Writes: owner.
  Again:  reads again.
  Uses:   call, args, clock, typed, freeze, record
]]

call_members()
local owner_key = KEYS[1]
local now = clock_now(ARGV[1])
local kind = args_choice(ARGV[2], 'kind', 'user', 'node') and 'user' or 'node'
local owner = args_required(ARGV[3], 'owner')
local from, skip = args_integer(ARGV[4], 'from_ms', 0), args_integer(ARGV[5], 'skip', 0)
local page = args_integer(ARGV[6], 'page', 1, 500)
local part = args_choice(ARGV[7], 'changed', 'part', 'refuse')
local bytes = args_integer(ARGV[8], 'bytes', 1)
local declared = {}
for at = 2, #KEYS do declared[ARGV[at + 7]] = KEYS[at] end

local ids = typed_call('ZRANGEBYSCORE', owner_key, from, '+inf', 'LIMIT', skip, page)
if ids.err then return { 'corrupt', 'owner' } end
local same = #ids == #KEYS - 1
for at, id in ipairs(ids) do same = same and id == ARGV[at + 8] end
if not same and not (part and declared[ids[1]]) then return { 'need', 'page', unpack(ids) } end

local found, dead, last = {}, {}, nil
for _, id in ipairs(ids) do
  if not declared[id] then break end
  -- The beginning of a small record is the whole record. A large one is read only if it fits, and never
  -- decoded.
  local record, corrupt = record_find_head(declared[id])
  if record and record.kind == RECORD_LIVE and record[kind] == owner then
    -- An expired one keeps its entries until it is reaped as a whole.
    if record.expires_at > now then
      if record.size > bytes and #found > 0 then break end
      bytes = bytes - record.size
      local raw = record.partial and redis.call('GET', declared[id]) or record.raw
      if record.freeze then raw = record_unless_over(record_decode(raw), now).raw end
      found[#found + 1], found[#found + 2] = id, raw
    end
  elseif not corrupt then
    dead[#dead + 1] = id
  end
  last = id
end
local dropped = #dead > 0 and redis.call('ZREM', owner_key, unpack(dead)) or 0
local reply = last == ids[#ids] and { 'ok', dropped } or { 'part', dropped, last }
for _, text in ipairs(found) do reply[#reply + 1] = text end
return reply
