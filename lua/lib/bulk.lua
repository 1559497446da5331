-- bulk: how much of large sessions one script handles. Whoever asked for more is told how many are left.

-- What is removed is not read, but the server gives back its memory: 32 MiB take it some 2 ms.
local BULK_FREED = 33554432
-- What is written anew goes through the script: 1 MiB takes some 4 ms.
local BULK_WRITTEN = 1048576

-- Whether one more session of this size is for another call; the first one never is.
local function bulk_full(total, size, most)
  return total > 0 and total + size > most
end
