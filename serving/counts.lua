-- Shared counts. A part of the library that functions.lua begins.

-- Sets with a member for each item, or for each position of a list.
local LARGE = {shown = true, clicked = true, response = true}

local function kind_of(key)
  return string.match(key, '}:(%a+)')
end

-- How far a shard has come: whether an addition is due, and a step that notes the offsets seen.
local function front(key, sources, first)
  local applied, newest = {}, {}
  for at = first, #sources do
    local held = tonumber(redis.call('HGET', key, sources[at]) or -1)
    applied[at - first], newest[at - first] = held, held
  end
  local function is_due(source, high, low)
    local offset = high * 4294967296 + low
    if offset > newest[source] then newest[source] = offset end
    return offset > applied[source]
  end
  local function note()
    for at = first, #sources do
      local offset = newest[at - first]
      -- Also where all was applied before: see `merge`.
      if offset >= 0 then redis.call('HSET', key, sources[at], string.format('%.0f', offset)) end
    end
  end
  return is_due, note
end

-- KEYS: offsets, popularity, offsets of what came of lists, then one sorted set per item, query or
--       country of the pairs, and at last those of what came of lists.
-- ARGV: half the most neighbours per set; most popular items; time to live of a query's or
--       country's set ms;
--       additions to popularity; additions to the sets; how many of the sets are none of what
--       came of lists, which have offsets of their own, for they stay when another generation of
--       counts is taken into use; then the sources (identity of topic, partition).
--       An addition: index of its source u16, offset u48, for a pair the index of the set's key
--       u16, item 8 bytes, weight f64; big-endian.
-- An addition whose offset this shard has already applied for its source is left out.
local function count(keys, args)
  local first_source, own_sets = 7, tonumber(args[6])
  local is_due, note = front(keys[1], args, first_source)
  local is_due_of_list, note_of_lists
  if #keys - 3 > own_sets then
    is_due_of_list, note_of_lists = front(keys[3], args, first_source)
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
    if (index < own_sets and is_due or is_due_of_list)(source, high, low) then
      make_room(keys[index + 4])
      redis.call('ZINCRBY', keys[index + 4], weight, item)
    end
  end
  for key in pairs(room) do
    -- Items end with the catalogue; of all else there is no end.
    if not string.find(key, ':with:', 1, true) then redis.call('PEXPIRE', key, args[3]) end
  end
  local size, most = redis.call('ZCARD', keys[2]), tonumber(args[2])
  if size > 2 * most then redis.call('ZREMRANGEBYRANK', keys[2], 0, size - most - 1) end
  note()
  if note_of_lists then note_of_lists() end
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
redis.register_function{
  function_name = '@LIBRARY@_strongest', callback = strongest, flags = {'no-writes'}
}
