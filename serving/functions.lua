#!lua name=@LIBRARY@
-- The server's half of nextclick. The library is named by version, so that workers of two
-- versions run side by side during an upgrade.
--
-- Bytes are compared one by one: Lua's own `<` on strings follows the server's locale.

local HEADER = '>BBBI2'

local function is_newer(a, b)
  for i = 1, #a do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return false
end

-- Put one record into a section (newest first). Returns the section and whether it was new.
local function insert(section, record, width, bound)
  local low, high = 0, #section / width
  while low < high do
    local middle = math.floor((low + high) / 2)
    local at = string.sub(section, middle * width + 1, (middle + 1) * width)
    if at == record then return section, false end
    if is_newer(at, record) then low = middle + 1 else high = middle end
  end
  if low >= bound then return section, false end
  local kept = string.sub(section, low * width + 1, (bound - 1) * width)
  return string.sub(section, 1, low * width) .. record .. kept, true
end

local function time_of(record)
  local high, low = struct.unpack('>I2I4', record)
  return high * 4294967296 + low
end

-- Drop what happened at or before the marker. A purchase knows only its day: those of the
-- marker's own day stay only where a later interaction still proves them.
local function forget(interactions, queries, purchases, marker, widths)
  local marker_day = math.floor(marker / 86400000)
  local kept = {'', '', ''}
  local proven = {}
  for at = 1, #interactions, widths[1] do
    local record = string.sub(interactions, at, at + widths[1] - 1)
    if time_of(record) > marker then
      kept[1] = kept[1] .. record
      proven[string.sub(record, 13, 20)] = true
    end
  end
  for at = 1, #queries, widths[2] do
    local record = string.sub(queries, at, at + widths[2] - 1)
    if time_of(record) > marker then kept[2] = kept[2] .. record end
  end
  for at = 1, #purchases, widths[3] do
    local record = string.sub(purchases, at, at + widths[3] - 1)
    local day = struct.unpack('>I2', record)
    if day > marker_day or (day == marker_day and proven[string.sub(record, 3, 10)]) then
      kept[3] = kept[3] .. record
    end
  end
  return kept[1], kept[2], kept[3]
end

-- KEYS: profile, forget marker, last list.
-- ARGV: format version; widths and bounds of the three sections; time to live ms;
--       new interactions; new queries; time of a forget event or ''.
-- Returns the merged profile and one '1' or '0' per interaction given: was it new?
local function merge(keys, args)
  local version = tonumber(args[1])
  local widths = {tonumber(args[2]), tonumber(args[4]), tonumber(args[6])}
  local bounds = {tonumber(args[3]), tonumber(args[5]), tonumber(args[7])}
  local stored = redis.call('GET', keys[1])
  local interactions, queries, purchases = '', '', ''
  if stored then
    local format, n1, n2, n3 = struct.unpack(HEADER, stored)
    if format > version then
      return redis.error_reply('NEWERFORMAT the profile is of format ' .. format)
    end
    local a = 5 + n1 * widths[1]
    local b = a + n2 * widths[2]
    interactions = string.sub(stored, 6, a)
    queries = string.sub(stored, a + 1, b)
    purchases = string.sub(stored, b + 1, b + n3 * widths[3])
  end

  local changed = false
  local marker = tonumber(redis.call('GET', keys[2]) or -1)
  if args[11] ~= '' then
    local asked = tonumber(args[11])
    if asked > marker then
      marker = asked
      redis.call('SET', keys[2], args[11])
      redis.call('DEL', keys[3])
      interactions, queries, purchases = forget(interactions, queries, purchases, marker, widths)
      changed = true
    end
  end

  local flags = {}
  for at = 1, #args[9], widths[1] do
    local record = string.sub(args[9], at, at + widths[1] - 1)
    local is_new = false
    local time = time_of(record)
    if time > marker then
      interactions, is_new = insert(interactions, record, widths[1], bounds[1])
      local bought = false
      if string.byte(record, 21) == 5 then
        local short = struct.pack('>I2', math.min(65535, math.floor(time / 86400000)))
          .. string.sub(record, 13, 20)
        purchases, bought = insert(purchases, short, widths[3], bounds[3])
      end
      changed = changed or is_new or bought
    end
    flags[#flags + 1] = is_new and '1' or '0'
  end
  for at = 1, #args[10], widths[2] do
    local record = string.sub(args[10], at, at + widths[2] - 1)
    local is_new = false
    if time_of(record) > marker then
      queries, is_new = insert(queries, record, widths[2], bounds[2])
    end
    changed = changed or is_new
  end

  local value = struct.pack(HEADER, version, #interactions / widths[1], #queries / widths[2],
    #purchases / widths[3]) .. interactions .. queries .. purchases
  if #value == 5 then
    redis.call('DEL', keys[1])
  elseif changed then
    redis.call('SET', keys[1], value, 'PX', args[8])
  else
    redis.call('PEXPIRE', keys[1], args[8])
  end
  return {value, table.concat(flags)}
end

-- KEYS: offsets, popularity, then one sorted set of neighbours per item in the pairs.
-- ARGV: source (topic and partition); most neighbours per item; most popular items;
--       additions to popularity: offset u48, item 8 bytes, weight f64 big-endian;
--       additions to neighbours: offset u48, index of the item's key u16, neighbour, weight.
-- An addition whose offset this shard has already applied for this source is left out.
local function count(keys, args)
  local applied = tonumber(redis.call('HGET', keys[1], args[1]) or -1)
  local newest = applied
  local function is_due(high, low)
    local offset = high * 4294967296 + low
    if offset > newest then newest = offset end
    return offset > applied
  end
  for at = 1, #args[4], 22 do
    local high, low, item, weight = struct.unpack('>I2I4c8d', args[4], at)
    if is_due(high, low) then redis.call('ZINCRBY', keys[2], weight, item) end
  end
  local touched = {}
  for at = 1, #args[5], 24 do
    local high, low, index, item, weight = struct.unpack('>I2I4I2c8d', args[5], at)
    if is_due(high, low) then
      redis.call('ZINCRBY', keys[index + 3], weight, item)
      touched[keys[index + 3]] = true
    end
  end
  local function prune(key, most)
    -- Twice the bound before cutting: cutting at each addition would starve newcomers.
    local size = redis.call('ZCARD', key)
    if size > 2 * most then redis.call('ZREMRANGEBYRANK', key, 0, size - most - 1) end
  end
  for key in pairs(touched) do prune(key, tonumber(args[2])) end
  prune(keys[2], tonumber(args[3]))
  if newest > applied then redis.call('HSET', keys[1], args[1], string.format('%.0f', newest)) end
  return newest
end

-- KEYS: last list. ARGV: topic, partition, offset, list as JSON, time to live ms.
-- A worker woken from the dead cannot overwrite a newer list. Returns 1 if it was kept.
local function keep(keys, args)
  local held = redis.call('HMGET', keys[1], 'topic', 'partition', 'offset')
  if held[1] == args[1] and held[2] == args[2] and tonumber(held[3]) > tonumber(args[3]) then
    return 0
  end
  redis.call('HSET', keys[1], 'topic', args[1], 'partition', args[2], 'offset', args[3],
    'list', args[4])
  redis.call('PEXPIRE', keys[1], args[5])
  return 1
end

redis.register_function('@LIBRARY@_merge', merge)
redis.register_function('@LIBRARY@_count', count)
redis.register_function('@LIBRARY@_keep', keep)
