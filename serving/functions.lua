#!lua name=@LIBRARY@
-- The server's half of nextclick. The library is named by version, so that workers of two
-- versions run side by side during an upgrade.
--
-- Bytes are compared one by one: Lua's own `<` on strings follows the server's locale.

local HEADER = '>BBBI2'
local ORIGIN = 10
local PURCHASE = 5
local DAY_MS = 86400000

local function is_newer(a, b)
  for i = 1, #a do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return false
end

-- Put one record into a section (newest first). Returns the section and whether it was new.
local function insert(section, record, width, bound)
  if section == '' or is_newer(record, string.sub(section, 1, width)) then
    -- What arrives in order goes on top: nothing is newer.
    return record .. string.sub(section, 1, (bound - 1) * width), true
  end
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

local function time_of(section, at)
  local high, low = struct.unpack('>I2I4', section, at)
  return high * 4294967296 + low
end

local function day_of(time)
  return math.min(65535, math.floor(time / DAY_MS))
end

local function purchase_of(record)
  return struct.pack('>I2', day_of(time_of(record, 1))) .. string.sub(record, 13, 20)
end

-- The records of a section that are later than the marker.
local function later(section, width, marker)
  local size = #section
  while size > 0 and time_of(section, size - width + 1) <= marker do size = size - width end
  return string.sub(section, 1, size)
end

-- The purchases later than the marker. A purchase knows only its day: those of the marker's own
-- day are held as long as an interaction proves them, so that no order of events matters.
local function purchases_later(purchases, interactions, marker, widths, bounds)
  local marker_day, size = day_of(marker), #purchases
  while size > 0 and struct.unpack('>I2', purchases, size - widths[3] + 1) <= marker_day do
    size = size - widths[3]
  end
  purchases = string.sub(purchases, 1, size)
  for at = #interactions - widths[1] + 1, 1, -widths[1] do
    local record = string.sub(interactions, at, at + widths[1] - 1)
    if day_of(time_of(record, 1)) > marker_day then break end
    if string.byte(record, 21) == PURCHASE then
      purchases = insert(purchases, purchase_of(record), widths[3], bounds[3])
    end
  end
  return purchases
end

-- The three sections of a stored value, or an error.
local function sections_of(stored, version, widths)
  local format = string.byte(stored, 1) or 0
  if format > version then return nil, 'NEWERFORMAT the profile is of format ' .. format end
  if #stored < 5 then return nil, 'DAMAGED the profile has ' .. #stored .. ' bytes' end
  local _, n1, n2, n3 = struct.unpack(HEADER, stored)
  local a = 5 + n1 * widths[1]
  local b = a + n2 * widths[2]
  if #stored ~= b + n3 * widths[3] then
    return nil, 'DAMAGED the profile of ' .. #stored .. ' bytes does not match its own header'
  end
  return {string.sub(stored, 6, a), string.sub(stored, a + 1, b), string.sub(stored, b + 1)}
end

-- KEYS: profile, forget marker, last list, last admissions.
-- ARGV: format version; widths and bounds of the three sections; time to live ms;
--       interactions, each behind its origin (10 bytes that name its Kafka record); queries;
--       time of a forget event or ''.
-- Returns one string, which a client parses fastest:
--       forget marker f64, -1 for none | 1 where a profile was there before, u8 |
--       number of interactions given u16 | size of the merged profile u32 |
--       '1' or '0' per interaction: was it admitted by this very record? | merged profile |
--       the admissions of an earlier call, where this one repeats some of them
--
-- The last admissions make the answer the same for a record that is delivered again because the
-- worker died, or Redis was away, between this call and what had to follow it.
local function merge(keys, args)
  local version, lifetime = tonumber(args[1]), args[8]
  local widths = {tonumber(args[2]), tonumber(args[4]), tonumber(args[6])}
  local bounds = {tonumber(args[3]), tonumber(args[5]), tonumber(args[7])}
  local stored = redis.call('GET', keys[1])
  local interactions, queries, purchases = '', '', ''
  if stored then
    local sections, fault = sections_of(stored, version, widths)
    if fault then return redis.error_reply(fault) end
    interactions, queries, purchases = sections[1], sections[2], sections[3]
  end

  local marker = tonumber(redis.call('GET', keys[2]) or -1)
  local asked = tonumber(args[11]) or -1
  if asked > marker then
    marker = asked
    redis.call('SET', keys[2], args[11])
    redis.call('DEL', keys[3], keys[4])
    interactions = later(interactions, widths[1], marker)
    queries = later(queries, widths[2], marker)
  end

  local step = ORIGIN + widths[1]
  local earlier = redis.call('GET', keys[4]) or ''
  local admitted_earlier = {}
  for at = 1, #earlier, step do admitted_earlier[string.sub(earlier, at, at + step - 1)] = true end

  local flags, admissions, is_any_new, is_any_repeated = {}, {}, false, false
  for at = 1, #args[9], step do
    local admission = string.sub(args[9], at, at + step - 1)
    local record = string.sub(admission, ORIGIN + 1)
    local is_admitted = false
    if time_of(record, 1) > marker then
      interactions, is_admitted = insert(interactions, record, widths[1], bounds[1])
      if string.byte(record, 21) == PURCHASE then
        purchases = insert(purchases, purchase_of(record), widths[3], bounds[3])
      end
      is_any_new = is_any_new or is_admitted
      if not is_admitted and admitted_earlier[admission] then
        is_admitted, is_any_repeated = true, true
      end
    end
    if is_admitted then admissions[#admissions + 1] = admission end
    flags[#flags + 1] = is_admitted and '1' or '0'
  end
  if is_any_new then redis.call('SET', keys[4], table.concat(admissions), 'PX', lifetime) end
  for at = 1, #args[10], widths[2] do
    local record = string.sub(args[10], at, at + widths[2] - 1)
    if time_of(record, 1) > marker then
      queries = insert(queries, record, widths[2], bounds[2])
    end
  end
  if marker >= 0 then
    purchases = purchases_later(purchases, interactions, marker, widths, bounds)
  end

  local value = struct.pack(HEADER, version, #interactions / widths[1], #queries / widths[2],
    #purchases / widths[3]) .. interactions .. queries .. purchases
  if #value == 5 then
    redis.call('DEL', keys[1])
  elseif value ~= stored then
    redis.call('SET', keys[1], value, 'PX', lifetime)
  else
    redis.call('PEXPIRE', keys[1], lifetime)
  end
  return struct.pack('>dBI2I4', marker, stored and 1 or 0, #flags, #value)
    .. table.concat(flags) .. value .. (is_any_repeated and earlier or '')
end

-- KEYS: offsets, popularity, then one sorted set of neighbours per item in the pairs.
-- ARGV: most neighbours per item; most popular items; additions to popularity; additions to
--       neighbours; then the sources (topic and partition).
--       An addition: index of its source u16, offset u48, for a pair the index of the item's key
--       u16, item or neighbour 8 bytes, weight f64; big-endian.
-- An addition whose offset this shard has already applied for its source is left out.
local function count(keys, args)
  local applied, newest = {}, {}
  for at = 5, #args do
    applied[at - 5] = tonumber(redis.call('HGET', keys[1], args[at]) or -1)
    newest[at - 5] = applied[at - 5]
  end
  local function is_due(source, high, low)
    local offset = high * 4294967296 + low
    if offset > newest[source] then newest[source] = offset end
    return offset > applied[source]
  end
  for at = 1, #args[3], 24 do
    local source, high, low, item, weight = struct.unpack('>I2I2I4c8d', args[3], at)
    if is_due(source, high, low) then redis.call('ZINCRBY', keys[2], weight, item) end
  end
  local touched = {}
  for at = 1, #args[4], 26 do
    local source, high, low, index, item, weight = struct.unpack('>I2I2I4I2c8d', args[4], at)
    if is_due(source, high, low) then
      redis.call('ZINCRBY', keys[index + 3], weight, item)
      touched[keys[index + 3]] = true
    end
  end
  local function prune(key, most)
    -- Twice the bound before cutting: cutting at each addition would starve newcomers.
    local size = redis.call('ZCARD', key)
    if size > 2 * most then redis.call('ZREMRANGEBYRANK', key, 0, size - most - 1) end
  end
  for key in pairs(touched) do prune(key, tonumber(args[1])) end
  prune(keys[2], tonumber(args[2]))
  for at = 5, #args do
    if newest[at - 5] > applied[at - 5] then
      redis.call('HSET', keys[1], args[at], string.format('%.0f', newest[at - 5]))
    end
  end
  return 1
end

-- KEYS: a sorted set of items. ARGV: how many at most.
-- Returns its strongest members and their weights, 16 bytes each: a client reads thousands of
-- them at once, where parsing the server's own reply would hold up its event loop for a second.
local function strongest(keys, args)
  local rows = redis.call('ZREVRANGE', keys[1], 0, args[1] - 1, 'WITHSCORES')
  for at = 2, #rows, 2 do rows[at] = struct.pack('>d', tonumber(rows[at])) end
  return table.concat(rows)
end

-- KEYS: last list, forget marker.
-- ARGV: topic, partition, offset; event time ms; list as JSON; time to live ms.
-- A worker woken from the dead can neither overwrite a newer list nor bring back a forgotten one.
-- Returns 1 if the list was kept.
local function keep(keys, args)
  if tonumber(args[4]) <= tonumber(redis.call('GET', keys[2]) or -1) then return 0 end
  local held = redis.call('HMGET', keys[1], 'topic', 'partition', 'offset')
  if held[1] == args[1] and held[2] == args[2] and tonumber(held[3]) > tonumber(args[3]) then
    return 0
  end
  redis.call('HSET', keys[1], 'topic', args[1], 'partition', args[2], 'offset', args[3],
    'list', args[5])
  redis.call('PEXPIRE', keys[1], args[6])
  return 1
end

redis.register_function('@LIBRARY@_merge', merge)
redis.register_function('@LIBRARY@_count', count)
redis.register_function('@LIBRARY@_strongest', strongest)
redis.register_function('@LIBRARY@_keep', keep)
