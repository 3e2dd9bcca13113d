-- What was shown to a user, and what came of it. A part of the library that functions.lua begins.
--
-- Beside the user's last list, newest first, a block for each list of the attribution window:
--       size of the rest u16 | rec_id 16 bytes | event time u48 | length u8 and bundle |
--       number of items n u8 | hashes, 6 bytes each | source bits, a byte each | entries
-- An entry says which record was the first to tell something of items of the list: kind u8 (0 shown,
-- 1 clicked, ...) | origin of the record | number u8 | for each: place in the list u8, position at
-- which it was shown u16. The same record therefore gets the same answer when it comes again.

local MOST_LISTS = 8
local REC_ID = 16
local ITEM = 6

local function blocks_of(held)
  local blocks, at = {}, 1
  while at <= #held do
    local size = struct.unpack('>I2', held, at)
    blocks[#blocks + 1] = string.sub(held, at, at + 1 + size)
    at = at + 2 + size
  end
  return blocks
end

local function rec_id_of(block)
  return string.sub(block, 3, 2 + REC_ID)
end

local function listed_at(block)
  return time_of(block, 3 + REC_ID)
end

-- Remember a list, unless it is remembered: what is known to have come of it must not be lost. Of the
-- others those stay that the window reaches.
function remember(key, list, window)
  local held = redis.call('HGET', key, 'shown') or ''
  if not string.find(held, string.sub(list, 1, REC_ID), 1, true) then
    local earliest, kept, at = time_of(list, 1 + REC_ID) - window, {}, 1
    while at <= #held and #kept < MOST_LISTS - 1 do
      local size = 2 + struct.unpack('>I2', held, at)
      -- In the order in which they came: behind an old one there may be newer ones.
      if time_of(held, at + 2 + REC_ID) >= earliest then
        kept[#kept + 1] = string.sub(held, at, at + size - 1)
      end
      at = at + size
    end
    redis.call('HSET', key, 'shown',
      struct.pack('>I2', #list) .. list .. table.concat(kept))
  end
end

-- Where the parts of a block are: its bundle, the number of items, and where their hashes, their
-- source bits and the entries begin.
local function parts_of(block)
  local at = 3 + REC_ID + 6
  local length = string.byte(block, at)
  local bundle, hashes = string.sub(block, at, at + length), at + length + 2
  local count = string.byte(block, at + length + 1)
  return bundle, count, hashes, hashes + ITEM * count, hashes + (ITEM + 1) * count
end

-- What is known to have come of a list: by place which record was the first to tell this kind, and
-- at which position; the positions of what was shown; and which record told first of each click.
local function told(block, entries, kind)
  local first, positions, shown, clicked, at = {}, {}, {}, {}, entries
  while at <= #block do
    local of, origin, count = string.byte(block, at), string.sub(block, at + 1, at + ORIGIN),
      string.byte(block, at + 1 + ORIGIN)
    at = at + 2 + ORIGIN
    for _ = 1, count do
      local place, position = struct.unpack('>BI2', block, at)
      if of == kind then first[place], positions[place] = origin, position end
      if of == 0 then shown[place] = position end
      if of == 1 then clicked[place] = origin end
      at = at + 3
    end
  end
  return first, positions, shown, clicked
end

-- Whether a record came in before this one: of its partition, one that comes again must not find what
-- has been told since.
local function came_before(told_by, origin)
  return string.sub(told_by, 1, 4) ~= string.sub(origin, 1, 4) or is_newer(origin, told_by)
end

-- Join what an event tells of items to a list. Returns the block, and an answer: the bundle, and of
-- each item of which this very record was the first to tell it: position u16, source bits u8, hash.
-- Nil where the list has none of the items; with `clicked_only`, none that was clicked before.
local function joined(block, kind, origin, items, clicked_only)
  local bundle, count, hashes, bits, entries = parts_of(block)
  local places = {}
  for place = 0, count - 1 do
    places[string.sub(block, hashes + ITEM * place, hashes + ITEM * place + ITEM - 1)] = place
  end
  local first, positions, shown, clicked = told(block, entries, kind)
  local found, seen, own, fresh = false, {}, {}, {}
  for at = 1, #items, ITEM do
    local item = string.sub(items, at, at + ITEM - 1)
    local place = places[item]
    local is_due = not clicked_only or clicked[place] and came_before(clicked[place], origin)
    if place and is_due and not seen[place] then
      found, seen[place] = true, true
      if not first[place] then
        first[place] = origin
        positions[place] = kind == 0 and (at + ITEM - 1) / ITEM or shown[place] or place + 1
        fresh[#fresh + 1] = struct.pack('>BI2', place, positions[place])
      end
      if first[place] == origin then
        own[#own + 1] = struct.pack('>I2', positions[place])
          .. string.sub(block, bits + place, bits + place) .. item
      end
    end
  end
  if not found then return nil end
  if #fresh > 0 then
    local whole = string.sub(block, 3) .. string.char(kind) .. origin .. string.char(#fresh)
      .. table.concat(fresh)
    block = struct.pack('>I2', #whole) .. whole
  end
  return block, bundle .. table.concat(own)
end

-- KEYS: last list. ARGV: attribution window ms; events: kind u8, origin, event time u48, rec_id (zeros
-- for the newest list in which the item was clicked), number of items u16, their hashes.
-- Returns of each event what `joined` answers; an empty string where no list fits.
local function attribute(keys, args)
  local blocks = blocks_of(redis.call('HGET', keys[1], 'shown') or '')
  local window, events = tonumber(args[1]), args[2]
  local answers, is_joined, at = {}, false, 1
  while at <= #events do
    local kind, origin = string.byte(events, at), string.sub(events, at + 1, at + ORIGIN)
    at = at + 1 + ORIGIN
    local time, rec_id = time_of(events, at), string.sub(events, at + 6, at + 5 + REC_ID)
    local count = struct.unpack('>I2', events, at + 6 + REC_ID)
    local items = string.sub(events, at + 8 + REC_ID, at + 7 + REC_ID + ITEM * count)
    at = at + 8 + REC_ID + ITEM * count
    answers[#answers + 1] = ''
    for number, block in ipairs(blocks) do
      local is_any = rec_id == string.rep('\0', REC_ID)
      if (is_any or rec_id_of(block) == rec_id) and math.abs(time - listed_at(block)) <= window then
        local changed, answer = joined(block, kind, origin, items, is_any)
        if answer then
          answers[#answers] = answer
          -- Also where nothing is new: a WAIT behind it waits only where something was written.
          blocks[number], is_joined = changed, true
          break
        end
      end
    end
  end
  if is_joined then redis.call('HSET', keys[1], 'shown', table.concat(blocks)) end
  return answers
end

redis.register_function('@LIBRARY@_attribute', attribute)
