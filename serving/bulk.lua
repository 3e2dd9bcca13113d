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

-- KEYS and ARGV: those of `add_sums`; then the number of this part of the build, higher than all before
--       it.
-- A part that this shard has added before is left out.
local function add(keys, args)
  if tonumber(redis.call('HGET', keys[1], 'build') or -1) >= tonumber(args[9]) then return 0 end
  add_sums(keys, args)
  redis.call('HSET', keys[1], 'build', args[9])
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
