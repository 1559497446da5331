--[[
  get: read one live session.

  KEYS[1]  record  string  {ns:p}:session:<id>
  ARGV[1]  now_ms  integer from 0; empty: the server's clock

  Replies
    {"ok", record}
    {"moved", new_id}  call again with it, once
    {"departed", place}  it has departed to that place
    {"missing"}
    {"rotated"}        a login gave it a newer id, which is not revealed
    {"corrupt", key}
  Writes: nothing.
  Again:  reads again.
  Uses:   call, args, clock, typed, freeze, record
]]

call_alone()
local record_key = KEYS[1]
local now = clock_now(ARGV[1])

local record, refusal = record_live(record_key, now)
if not record then return refusal end
return { 'ok', record.raw }
