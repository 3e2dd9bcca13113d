-- What a build of a whole generation asks of the server. A part of the library that functions.lua
-- begins.

-- KEYS: profile and identity of each of some users.
-- Returns of each the stored value and the identity as they are, '' for none.
local function held(keys)
  local found = {}
  for at, key in ipairs(keys) do found[at] = redis.call('GET', key) or '' end
  return found
end

-- KEYS: profile and identity of each of some users.
-- ARGV: time to live ms; of each user the stamp of the value that the new one was made from, '' for
--       none; the new value.
-- Returns '1' for each user whose value was replaced; '0' where another value stands there, or a
-- forget marker or link, so that the records have to be merged by `merge`.
local function replace(keys, args)
  local flags = {}
  for at = 1, #keys, 2 do
    local stamp, is_same = args[at + 1]
    if stamp == '' then
      is_same = redis.call('EXISTS', keys[at]) == 0
    else
      is_same = redis.call('GETRANGE', keys[at], -STAMP, -1) == stamp
    end
    if is_same and redis.call('EXISTS', keys[at + 1]) == 0 then
      redis.call('SET', keys[at], args[at + 2], 'PX', args[1])
      flags[#flags + 1] = '1'
    else
      flags[#flags + 1] = '0'
    end
  end
  return table.concat(flags)
end

-- Members of a sorted set and their weights, of which there may be hundreds.
local function put(key, rows)
  for at = 1, #rows, 512 do
    redis.call('ZADD', key, unpack(rows, at, math.min(at + 511, #rows)))
  end
end

-- Add so many sums to a set, of which the strongest members are kept.
local function add_to(key, sums, first, count, most)
  local size = redis.call('ZCARD', key)
  local last = first + (count - 1) * 16
  if size > 0 and size + count <= most then
    for at = first, last, 16 do
      local member, weight = struct.unpack('>c8d', sums, at)
      redis.call('ZINCRBY', key, weight, member)
    end
    return
  end
  local weights, members = {}, {}
  if size > 0 then
    local rows = redis.call('ZRANGE', key, 0, -1, 'WITHSCORES')
    for at = 1, #rows, 2 do
      members[#members + 1] = rows[at]
      weights[rows[at]] = tonumber(rows[at + 1])
    end
    redis.call('DEL', key)
  end
  for at = first, last, 16 do
    local member, weight = struct.unpack('>c8d', sums, at)
    if not weights[member] then members[#members + 1] = member end
    weights[member] = (weights[member] or 0) + weight
  end
  if size > 0 then
    table.sort(members, function(a, b)
      if weights[a] ~= weights[b] then return weights[a] > weights[b] end
      return is_newer(a, b)
    end)
  end
  local rows = {}
  for at = 1, math.min(#members, most) do
    rows[#rows + 1] = weights[members[at]]
    rows[#rows + 1] = members[at]
  end
  put(key, rows)
end

-- KEYS: offsets, popularity, then sorted sets of this shard, of which each has one sum or more.
-- ARGV: number of this part of the build, higher than all before it;
--       most members of a set of pairs; most popular items; time to live of a query's or country's
--       set ms;
--       sums of popularity: item 8 bytes, weight f64;
--       of each set how many sums, u16; these sums, strongest first: member 8 bytes, weight f64.
-- A part that this shard has added before is left out.
local function add(keys, args)
  if tonumber(redis.call('HGET', keys[1], 'build') or -1) >= tonumber(args[1]) then return 0 end
  for at = 1, #args[5], 16 do
    local item, weight = struct.unpack('>c8d', args[5], at)
    redis.call('ZINCRBY', keys[2], weight, item)
  end
  local size, kept = redis.call('ZCARD', keys[2]), tonumber(args[3])
  if size > 2 * kept then redis.call('ZREMRANGEBYRANK', keys[2], 0, size - kept - 1) end
  local most, first = tonumber(args[2]), 1
  for at = 3, #keys do
    local count = struct.unpack('>I2', args[6], 2 * (at - 3) + 1)
    add_to(keys[at], args[7], first, count, most)
    first = first + 16 * count
    if not string.find(keys[at], ':with:', 1, true) then
      redis.call('PEXPIRE', keys[at], args[4])
    end
  end
  redis.call('HSET', keys[1], 'build', args[1])
  return 1
end

-- KEYS: offsets of a shard, where a builder writes down where it is.
-- ARGV: token of the builder; how long it holds the lease, ms; 'take' or 'hold'; a new state, or
-- nothing.
-- Takes the lease, or prolongs it, and writes the state. Returns 0 where another builder has it, or,
-- to hold it, has had it since, and does nothing; else 1 and the state.
local function build(keys, args)
  local time, lease = redis.call('TIME'), redis.call('HGET', keys[1], 'lease')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local is_own = lease and string.sub(lease, 9) == args[1]
  local is_free = not lease or struct.unpack('>d', lease) <= now
  if not is_own and not (is_free and args[3] == 'take') then return {0, ''} end
  redis.call('HSET', keys[1], 'lease', struct.pack('>d', now + tonumber(args[2])) .. args[1])
  if args[4] then redis.call('HSET', keys[1], 'epoch', args[4]) end
  return {1, redis.call('HGET', keys[1], 'epoch') or ''}
end

-- KEYS: the same. ARGV: token of a builder, which gives the lease back.
local function leave(keys, args)
  local lease = redis.call('HGET', keys[1], 'lease')
  if lease and string.sub(lease, 9) == args[1] then redis.call('HDEL', keys[1], 'lease') end
  return 1
end

redis.register_function{
  function_name = '@LIBRARY@_held', callback = held, flags = {'no-writes'}
}
redis.register_function('@LIBRARY@_replace', replace)
redis.register_function('@LIBRARY@_add', add)
redis.register_function('@LIBRARY@_build', build)
redis.register_function('@LIBRARY@_leave', leave)
