--[[
  mend_key: give a key a TTL again, or set aside its value if that has a foreign type or was found to be broken; or
  report which of that is wrong.

  KEYS[1]  target    string  {ns:p}:<name>; of any type
  KEYS[2]  aside     string  {ns:p}:aside:<name>
  ARGV[1]  now_ms    integer from 0; empty: the server's clock
  ARGV[2]  want      word: tell, mend
  ARGV[3]  name      text of at least 1 byte; of the key behind its tag
  ARGV[4]  type      word: string, zset, stream, any; what it has to be
  ARGV[5]  until_ms  integer from 0; when it must expire if it has no TTL; past: in a moment
  ARGV[6]  found     text; empty: nothing is broken; the SHA-1 of the broken string, in hex digits
  ARGV[7]  aside_ms  integer from 1; default: 604800000; how long it stays set aside

  Replies
    {"ok", wrong...}  what is wrong, or was until now: "value", it has a foreign type or is broken; else "ttl", it has
                      none
  Writes: target, aside.
  Again:  the same state; what was repaired is no longer wrong.
  Uses:   call, args, clock, permission, typed
]]

call_alone()
local target_key, aside_key = unpack(KEYS)
local now, mend = clock_now(ARGV[1]), args_choice(ARGV[2], 'want', 'mend', 'tell')
local name = ARGV[3]
if name == '' then error('cloakroom: name is no text of at least 1 byte') end
local kind_wanted = args_word(ARGV[4], 'type', { string = 'string', zset = 'zset', stream = 'stream', any = 'any' })
local gone_at, found = args_integer(ARGV[5], 'until_ms', 0), ARGV[6]
local aside = args_integer(ARGV[7], 'aside_ms', 1)

local kind = redis.call('TYPE', target_key).ok
if kind == 'none' then return { 'ok' } end
local is_broken = kind_wanted ~= 'any' and kind ~= kind_wanted
if not is_broken and found ~= '' then is_broken = redis.sha1hex(typed_call('GET', target_key)) == found end
if not is_broken and redis.call('PTTL', target_key) ~= -1 then return { 'ok' } end
if not mend then return { 'ok', is_broken and 'value' or 'ttl' } end

permission_ask()
if not is_broken then
  redis.call('PEXPIRE', target_key, math.max(gone_at - now, 1))
  return { 'ok', 'ttl' }
end
redis.call('RENAME', target_key, aside_key)
redis.call('PEXPIRE', aside_key, aside)
return { 'ok', 'value' }
