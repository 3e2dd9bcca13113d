-- What goes with an item, follows a query or is popular in a country: for each a string of rows. A
-- part of the library that functions.lua begins.
--
-- An addition is a row behind the others, of the same item too: whoever reads adds them up. When
-- they have become too many, they are added up here, and the strongest stay. Sorted sets take five
-- times the processor: they write weights as text of 17 digits, and read it for every comparison.

-- A row: item 6 bytes, weight f64, big-endian.
local ROW, FORMAT = 14, 'c6d'

-- Items and their weights, one after the other: each item once, in the order of their first rows.
local function added_up(rows)
  local values = {struct.unpack('>' .. string.rep(FORMAT, #rows / ROW), rows)}
  local sums, place = {}, {}
  for at = 1, #rows / ROW * 2, 2 do
    local item, weight = values[at], values[at + 1]
    if place[item] then
      sums[place[item]] = sums[place[item]] + weight
    else
      place[item] = #sums + 2
      sums[#sums + 1], sums[#sums + 2] = item, weight
    end
  end
  return sums
end

-- Those with the greatest weights, at most so many; of equal weights the higher items.
local function strongest_of(sums, most)
  if #sums <= 2 * most then return sums end
  local ascending = {}
  for at = 2, #sums, 2 do ascending[at / 2] = sums[at] end
  table.sort(ascending)
  local least, equal, kept = ascending[#ascending - most + 1], {}, {}
  for at = 1, #sums, 2 do
    if sums[at + 1] > least then
      kept[#kept + 1], kept[#kept + 2] = sums[at], sums[at + 1]
    elseif sums[at + 1] == least then
      equal[#equal + 1] = sums[at]
    end
  end
  table.sort(equal, is_newer)
  for at = 1, most - #kept / 2 do kept[#kept + 1], kept[#kept + 2] = equal[at], least end
  return kept
end

-- Add rows to those of a key, of which `most` are sure to stay.
local function add_rows(key, rows, most)
  -- Half as many again, so that what is new has a chance to grow, and most additions cost little.
  if redis.call('APPEND', key, rows) <= most * 3 / 2 * ROW then return end
  local sums = strongest_of(added_up(redis.call('GET', key)), most)
  redis.call('SET', key, struct.pack('>' .. string.rep(FORMAT, #sums / 2), unpack(sums)))
end

-- KEYS: strings of rows. Returns each.
local function rows(keys)
  local found = redis.call('MGET', unpack(keys))
  for at = 1, #keys do found[at] = found[at] or '' end
  return found
end

redis.register_function{
  function_name = '@LIBRARY@_rows', callback = rows, flags = {'no-writes'}
}
