-- clock: the one clock of the engine, Redis TIME in milliseconds.

-- TIME moves within a script on Redis 7.0, so a script calls this once. A test may set the time instead.
local function clock_now(override)
  if override ~= '' then return args_integer(override, 'now_ms', 0) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
