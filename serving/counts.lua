-- Shared counts. A part of the library that functions.lua begins.

-- Sets with a member for each item, or for each position of a list.
local LARGE = {shown = true, clicked = true, response = true}

local function kind_of(key)
  return string.match(key, '}:(%a+)')
end

-- KEYS: offsets, popularity, then one sorted set per item, query or country of the pairs.
-- ARGV: half the most neighbours per set; most popular items; time to live of a query's or
--       country's set ms;
--       additions to popularity; additions to the sets; then the sources (identity of topic,
--       partition).
--       An addition: index of its source u16, offset u48, for a pair the index of the set's key
--       u16, item 8 bytes, weight f64; big-endian.
-- An addition whose offset this shard has already applied for its source is left out.
local function count(keys, args)
  local applied, newest, first_source = {}, {}, 6
  for at = first_source, #args do
    applied[at - first_source] = tonumber(redis.call('HGET', keys[1], args[at]) or -1)
    newest[at - first_source] = applied[at - first_source]
  end
  local function is_due(source, high, low)
    local offset = high * 4294967296 + low
    if offset > newest[source] then newest[source] = offset end
    return offset > applied[source]
  end
  for at = 1, #args[4], 24 do
    local source, high, low, item, weight = struct.unpack('>I2I2I4c8d', args[4], at)
    if is_due(source, high, low) then redis.call('ZINCRBY', keys[2], weight, item) end
  end
  -- A set that outgrows its packed form, if only within this call, is never packed again. Cut by
  -- a quarter each time: a cut at every addition would starve newcomers, a deeper one the rest.
  local room = {}
  local function make_room(key)
    if (room[key] or 0) == 0 then
      local limit = 2 * tonumber(args[1])
      -- Most sets are those of items; looking for that costs less than asking for the kind.
      if not string.find(key, ':with:', 1, true) and LARGE[kind_of(key)] then
        limit = tonumber(args[2])
      end
      local size, kept = redis.call('ZCARD', key), math.floor(limit * 3 / 4)
      if size >= limit then
        redis.call('ZREMRANGEBYRANK', key, 0, size - kept - 1)
        size = kept
      end
      room[key] = limit - size
    end
    room[key] = room[key] - 1
  end
  for at = 1, #args[5], 26 do
    local source, high, low, index, item, weight = struct.unpack('>I2I2I4I2c8d', args[5], at)
    if is_due(source, high, low) then
      make_room(keys[index + 3])
      redis.call('ZINCRBY', keys[index + 3], weight, item)
    end
  end
  for key in pairs(room) do
    -- Items end with the catalogue; of all else there is no end.
    if not string.find(key, ':with:', 1, true) then redis.call('PEXPIRE', key, args[3]) end
  end
  local size, most = redis.call('ZCARD', keys[2]), tonumber(args[2])
  if size > 2 * most then redis.call('ZREMRANGEBYRANK', keys[2], 0, size - most - 1) end
  for at = first_source, #args do
    local source = at - first_source
    if newest[source] >= 0 then
      -- Also where all was applied before: see `merge`.
      redis.call('HSET', keys[1], args[at], string.format('%.0f', newest[source]))
    end
  end
  return 1
end

-- KEYS: sorted sets of items. ARGV: how many of each at most.
-- Returns of each its strongest members and their weights, 16 bytes each: a client reads thousands
-- of them at once, where parsing the server's own reply would hold up its event loop for a second.
local function strongest(keys, args)
  local found = {}
  for at, key in ipairs(keys) do
    local rows = redis.call('ZREVRANGE', key, 0, args[1] - 1, 'WITHSCORES')
    for place = 2, #rows, 2 do rows[place] = struct.pack('>d', tonumber(rows[place])) end
    found[at] = table.concat(rows)
  end
  return found
end

redis.register_function('@LIBRARY@_count', count)
redis.register_function('@LIBRARY@_strongest', strongest)
