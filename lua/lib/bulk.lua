-- bulk: how much of large sessions one script handles. The reply says how many are left.

-- Removed sessions are not read, but the server frees their memory: 32 MiB take some 2 ms.
local BULK_FREED = 33554432
-- Rewritten sessions go through the script: 1 MiB takes some 4 ms.
local BULK_WRITTEN = 1048576

-- Whether a session of this size is left to another call. The first one never is.
local function bulk_full(total, size, most)
  return total > 0 and total + size > most
end
