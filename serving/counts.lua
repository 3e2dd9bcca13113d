-- Shared counts. A part of the library that functions.lua begins.

-- Add sums to a shard.
-- KEYS: offsets, popularity, offsets of what came of lists; then strings of rows, one for each item,
--       query or country; and at last sorted sets of what came of lists.
-- ARGV: how many items of a string are sure to stay; most popular items; time to live of what is no
--       item's ms;
--       sums of popularity: item 8 bytes, weight f64;
--       of each string how many sums, u32; these sums, as rows;
--       of each sorted set how many sums, u32; these sums: member 8 bytes, weight f64; big-endian.
local function add_sums(keys, args)
  local most, most_popular = tonumber(args[1]), tonumber(args[2])
  local function add_members(key, sums, first, last)
    for at = first, last, 16 do
      local member, weight = struct.unpack('>c8d', sums, at)
      redis.call('ZINCRBY', key, weight, member)
    end
  end
  add_members(keys[2], args[4], 1, #args[4])
  local size = redis.call('ZCARD', keys[2])
  if size > 2 * most_popular then
    redis.call('ZREMRANGEBYRANK', keys[2], 0, size - most_popular - 1)
  end
  local strings, first = #args[5] / 4, 1
  for nth = 1, strings do
    local key, last = keys[3 + nth], first + ROW * struct.unpack('>I4', args[5], 4 * nth - 3)
    add_rows(key, string.sub(args[6], first, last - 1), most)
    -- Items end with the catalogue; of all else there is no end.
    if not string.find(key, ':with:', 1, true) then redis.call('PEXPIRE', key, args[3]) end
    first = last
  end
  first = 1
  for nth = 1, #args[7] / 4 do
    local key, last = keys[3 + strings + nth], first + 16 * struct.unpack('>I4', args[7], 4 * nth - 3)
    size = redis.call('ZCARD', key)
    if size >= most_popular then
      -- By a quarter each time: a cut at every addition would starve newcomers.
      redis.call('ZREMRANGEBYRANK', key, 0, size - math.floor(most_popular * 3 / 4) - 1)
    end
    add_members(key, args[8], first, last - 1)
    redis.call('PEXPIRE', key, args[3])
    first = last
  end
end

-- KEYS and ARGV: those of `add_sums`; then for how many sources there are additions that are none of
--       what came of lists, which have offsets of their own, for they stay when another generation
--       of counts is taken into use; then for each of these, and for each source of what came of
--       lists, its name (identity of topic, partition) and the first and last offset of its
--       additions.
-- Adds the sums and notes the offsets if this shard has applied none of them before. Else it changes
-- nothing and returns of each source up to where it has.
local function count(keys, args)
  local of_lists, applied, is_new = 10 + 3 * tonumber(args[9]), {}, true
  for at = 10, #args, 3 do
    local held = redis.call('HGET', at < of_lists and keys[1] or keys[3], args[at])
    applied[#applied + 1] = tonumber(held or -1)
    is_new = is_new and applied[#applied] < tonumber(args[at + 1])
  end
  if not is_new then return applied end
  add_sums(keys, args)
  for at = 10, #args, 3 do
    -- Also where nothing was left to add: see `merge`.
    local newest = math.max(applied[(at - 7) / 3], tonumber(args[at + 2]))
    redis.call('HSET', at < of_lists and keys[1] or keys[3], args[at], string.format('%.0f', newest))
  end
  return {}
end

-- KEYS: sorted sets of items. ARGV: how many of each at most.
-- Returns of each its strongest members and their weights, 16 bytes each: a client reads thousands
-- of them at once, where parsing the server's own reply would hold up its event loop for a second.
local function strongest(keys, args)
  local found = {}
  for at, key in ipairs(keys) do
    local members = redis.call('ZREVRANGE', key, 0, args[1] - 1, 'WITHSCORES')
    for place = 2, #members, 2 do members[place] = struct.pack('>d', tonumber(members[place])) end
    found[at] = table.concat(members)
  end
  return found
end

redis.register_function('@LIBRARY@_count', count)
redis.register_function{
  function_name = '@LIBRARY@_strongest', callback = strongest, flags = {'no-writes'}
}
