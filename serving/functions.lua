#!lua name=@LIBRARY@
-- The server's half of nextclick: profiles and last lists; counts.lua and feedback.lua follow in the
-- same library.
-- It is named by its own text, so that workers of two versions run side by side in an upgrade.
--
-- Bytes are compared one by one: Lua's own `<` on strings follows the server's locale.

local VERSION, OLDEST = @VERSION@, @OLDEST_VERSION@
local WIDTHS, BOUNDS = {@WIDTHS@}, {@BOUNDS@}
local HEADER, HEADER_SIZE = '>BBBI2B', 6
local HEADER_BEFORE_TRAITS, FIRST_WITH_TRAITS = '>BBBI2', 3
local MOST_ATTRIBUTES = @MOST_ATTRIBUTES@
local ANSWER = '>dBI2I2I2I4'
local IDENTITY = @IDENTITY_BYTES@
local ORIGIN = 10
local ADMISSION = ORIGIN + IDENTITY
local MOST_ADMISSIONS = @MOST_ADMISSIONS@
local STAMP = @STAMP_BYTES@
local LINK = 23
local MOST_LINKS = 16
local KIND = 17
local PURCHASE = 5
local LINKED = 128
-- Of interactions and queries the byte that tells that a record came from an anonymous id, and from
-- which value on it does.
local FLAGS, LINKED_FROM = {KIND, WIDTHS[2]}, {LINKED, 1}
local DAY_MS = 86400000

local remember -- defined in feedback.lua

local function is_newer(a, b)
  for i = 1, #a do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
  end
  return false
end

-- Put one record into a section (newest first). Returns the section, whether it was new, and the
-- place (from 0) where it stands or would stand.
local function insert(section, record, which)
  local width, bound = WIDTHS[which], BOUNDS[which]
  if section == '' or is_newer(record, string.sub(section, 1, width)) then
    -- What arrives in order goes on top: nothing is newer.
    return record .. string.sub(section, 1, (bound - 1) * width), true, 0
  end
  local low, high = 0, #section / width
  while low < high do
    local middle = math.floor((low + high) / 2)
    local at = string.sub(section, middle * width + 1, (middle + 1) * width)
    if at == record then return section, false, middle end
    if is_newer(at, record) then low = middle + 1 else high = middle end
  end
  if low >= bound then return section, false, low end
  local kept = string.sub(section, low * width + 1, (bound - 1) * width)
  return string.sub(section, 1, low * width) .. record .. kept, true, low
end

-- Put a trait into its section: of each name the newest, of attributes the newest few names.
-- Returns the section and whether it has changed.
local function put_trait(section, record)
  local width, name = WIDTHS[4], string.sub(record, 7, 8)
  local kept, is_placed, attributes = {}, false, 0
  local function keep(each)
    -- The names 0 and 1 are country and device.
    if string.byte(each, 7) > 0 or string.byte(each, 8) > 1 then
      attributes = attributes + 1
      if attributes > MOST_ATTRIBUTES then return end
    end
    kept[#kept + 1] = each
  end
  for at = 1, #section, width do
    local each = string.sub(section, at, at + width - 1)
    if not is_placed and is_newer(record, each) then
      keep(record)
      is_placed = true
    end
    if string.sub(each, 7, 8) ~= name then
      keep(each)
    elseif not is_placed then
      return section, false
    end
  end
  if not is_placed then keep(record) end
  local result = table.concat(kept)
  return result, result ~= section
end

-- Whether a neighbour of the record at this place has its time and id, and another content.
local function is_conflict(section, width, place)
  local identity = string.sub(section, place * width + 1, place * width + IDENTITY)
  local before = (place - 1) * width
  local after = (place + 1) * width
  return (place > 0 and string.sub(section, before + 1, before + IDENTITY) == identity)
    or string.sub(section, after + 1, after + IDENTITY) == identity
end

local function time_of(section, at)
  local high, low = struct.unpack('>I2I4', section, at)
  return high * 4294967296 + low
end

local function day_of(time)
  return math.min(65535, math.floor(time / DAY_MS))
end

local function purchase_of(record)
  return struct.pack('>I2', day_of(time_of(record, 1))) .. string.sub(record, IDENTITY + 1, KIND - 1)
end

-- The records of a section that are later than the marker.
local function later(section, width, marker)
  local size = #section
  while size > 0 and time_of(section, size - width + 1) <= marker do size = size - width end
  return string.sub(section, 1, size)
end

-- The purchases later than the marker. A purchase knows only its day: those of the marker's own
-- day are held as long as an interaction proves them, so that no order of events matters.
local function purchases_later(purchases, interactions, marker)
  local marker_day, size = day_of(marker), #purchases
  while size > 0 and struct.unpack('>I2', purchases, size - WIDTHS[3] + 1) <= marker_day do
    size = size - WIDTHS[3]
  end
  purchases = string.sub(purchases, 1, size)
  for at = #interactions - WIDTHS[1] + 1, 1, -WIDTHS[1] do
    local record = string.sub(interactions, at, at + WIDTHS[1] - 1)
    if day_of(time_of(record, 1)) > marker_day then break end
    if string.byte(record, KIND) % LINKED == PURCHASE then
      purchases = insert(purchases, purchase_of(record), 3)
    end
  end
  return purchases
end

-- Where the header, each section and the admissions of a stored value end; or nil and an error.
-- Behind them is the stamp; a value that was written before there were stamps has none.
local function ends_of(stored)
  local format = string.byte(stored, 1) or 0
  if format > VERSION then return nil, 'NEWERFORMAT the profile is of format ' .. format end
  local size = format >= FIRST_WITH_TRAITS and HEADER_SIZE or HEADER_SIZE - 1
  if format < OLDEST or #stored < size then
    return nil, 'DAMAGED a profile of ' .. #stored .. ' bytes, format ' .. format
  end
  local n1, n2, n3, n4, _
  if format >= FIRST_WITH_TRAITS then
    _, n1, n2, n3, n4 = struct.unpack(HEADER, stored)
  else
    _, n1, n2, n3 = struct.unpack(HEADER_BEFORE_TRAITS, stored)
    n4 = 0
  end
  local a = size + n1 * WIDTHS[1]
  local b = a + n2 * WIDTHS[2]
  local c = b + n3 * WIDTHS[3]
  local d = c + n4 * WIDTHS[4]
  local behind = (#stored - d) % ADMISSION
  if #stored < d or (behind ~= 0 and behind ~= STAMP) then
    return nil, 'DAMAGED the profile of ' .. #stored .. ' bytes does not match its own header'
  end
  return {size, a, b, c, d, #stored - behind}
end

-- The four sections of a stored value, the admissions behind them, and the stamp. An older format
-- may hold more purchases than this one.
local function sections_of(stored, ends)
  if not stored then return {'', '', '', '', '', ''} end
  local bought = math.min(ends[4], ends[3] + BOUNDS[3] * WIDTHS[3])
  return {string.sub(stored, ends[1] + 1, ends[2]), string.sub(stored, ends[2] + 1, ends[3]),
    string.sub(stored, ends[3] + 1, bought), string.sub(stored, ends[4] + 1, ends[5]),
    string.sub(stored, ends[5] + 1, ends[6]), string.sub(stored, ends[6] + 1)}
end

local function header(size1, size2, size3, size4)
  return struct.pack(HEADER, VERSION, size1 / WIDTHS[1], size2 / WIDTHS[2], size3 / WIDTHS[3],
    size4 / WIDTHS[4])
end

local function packed(sections, admissions, stamp)
  return header(#sections[1], #sections[2], #sections[3], #sections[4])
    .. sections[1] .. sections[2] .. sections[3] .. sections[4] .. admissions .. stamp
end

-- The interactions or queries that are the user's own, or later than the limit.
local function own_or_later(section, which, limit)
  local width, flag, kept = WIDTHS[which], FLAGS[which], {}
  for at = 1, #section, width do
    if string.byte(section, at + flag - 1) < LINKED_FROM[which] or time_of(section, at) > limit then
      kept[#kept + 1] = string.sub(section, at, at + width - 1)
    end
  end
  return table.concat(kept)
end

-- Drop what is not later than the marker, and of what came from anonymous ids what is not later than
-- the limit; of a profile that was written before they were, too: an older generation that is taken
-- back into use. Purchases and traits do not tell whose they are: up to the limit a purchase is held
-- as long as an interaction proves it, and a trait is not. Returns whether there was anything to drop.
local function forget_in(sections, marker, limit)
  if limit < 0 then return false end
  local held = {sections[1], sections[2], sections[3], sections[4]}
  for which = 1, 2 do
    sections[which] = later(sections[which], WIDTHS[which], marker)
    if limit > marker then sections[which] = own_or_later(sections[which], which, limit) end
  end
  sections[3] = purchases_later(sections[3], sections[1], limit)
  sections[4] = later(sections[4], WIDTHS[4], limit)
  for which = 1, 4 do
    if sections[which] ~= held[which] then return true end
  end
  return false
end

-- A user's forget marker (-1 for none), limit and links. A link: 'a' (this anonymous id is the user)
-- or 'k' (this anonymous id is that known user), time of the identify event u48, digest of the other
-- id 16 bytes. Links outlive a forget event: they say whose events must be forgotten too.
--
-- The limit: nothing up to this time is held that came from anonymous ids, because one of them has
-- been forgotten up to then, by itself or with another of its users. Never below the marker; where
-- it is above, it is stored like a link, 'f', time u48, zeros, for earlier versions to leave alone.
local function read_identity(key)
  local held = redis.call('GET', key)
  if not held then return -1, -1, '' end
  local marker, links = struct.unpack('>d', held), string.sub(held, 9)
  for at = 1, #links, LINK do
    if string.sub(links, at, at) == 'f' then
      return marker, math.max(marker, time_of(links, at + 1)),
        string.sub(links, 1, at - 1) .. string.sub(links, at + LINK)
    end
  end
  return marker, marker, links
end

-- Limit, where it is above the marker, and links as they are stored.
local function with_limit(links, marker, limit)
  if limit <= marker then return links end
  local high, low = math.floor(limit / 4294967296), limit % 4294967296
  return 'f' .. struct.pack('>I2I4I8I8', high, low, 0, 0) .. links
end

local function write_identity(key, marker, limit, links, lifetime)
  local value = struct.pack('>d', marker) .. with_limit(links, marker, limit)
  if marker >= 0 then
    redis.call('SET', key, value)
  else
    redis.call('SET', key, value, 'PX', lifetime)
  end
end

-- Links with one more, or with its newer time; newest first, ties by digest and kind.
local function with_link(links, kind, since, digest)
  local found = {}
  for at = 1, #links, LINK do
    local link = string.sub(links, at, at + LINK - 1)
    if string.sub(link, 1, 1) == kind and string.sub(link, 8) == digest then
      if is_newer(string.sub(link, 2, 7), since) then since = string.sub(link, 2, 7) end
    else
      found[#found + 1] = link
    end
  end
  found[#found + 1] = kind .. since .. digest
  table.sort(found, function(a, b)
    return is_newer(string.sub(a, 2) .. a, string.sub(b, 2) .. b)
  end)
  return table.concat(found, '', 1, math.min(#found, MOST_LINKS))
end

-- The admissions that may still be asked for. A worker merges a partition in order, and only when
-- what came before is counted: what lies below its present batch is done.
local function still_open(admissions, events)
  if admissions == '' then return '' end
  local lowest, at = {}, 1
  while at <= #events do
    local source = string.sub(events, at + 1, at + 4)
    if not lowest[source] then lowest[source] = time_of(events, at + 5) end
    at = at + 1 + ORIGIN + WIDTHS[string.byte(events, at)]
  end
  local open = {}
  for place = 1, #admissions, ADMISSION do
    local from = lowest[string.sub(admissions, place, place + 3)]
    if not from or time_of(admissions, place + 4) >= from then
      open[#open + 1] = string.sub(admissions, place, place + ADMISSION - 1)
    end
  end
  return table.concat(open)
end

local function is_among(admissions, admission)
  for at = 1, #admissions, ADMISSION do
    if string.sub(admissions, at, at + ADMISSION - 1) == admission then return true end
  end
  return false
end

-- The purchases with that of an interaction record, if it is one; and whether that was new. Also of
-- a record below the window of interactions: purchases have a longer memory.
local function with_purchase(purchases, record)
  if string.byte(record, KIND) % LINKED ~= PURCHASE then return purchases, false end
  return insert(purchases, purchase_of(record), 3)
end

-- A record of an anonymous id in the known user's profile: it makes no pairs with the user's own
-- events, or the pairs would depend on who came first.
local function linked(record, which)
  if which > 2 then return record end
  if which == 2 then return string.sub(record, 1, -2) .. string.char(1) end
  return string.sub(record, 1, KIND - 1)
    .. string.char(string.byte(record, KIND) % LINKED + LINKED) .. string.sub(record, KIND + 1)
end

-- Unite whole sections with those of the profile; returns whether anything was new.
local function absorb(sections, others, marker, limit, is_linked)
  local is_any_new = false
  for which = 1, 4 do
    local width, since = WIDTHS[which], (is_linked or which == 4) and limit or marker
    for at = 1, #others[which], width do
      local record, is_new = string.sub(others[which], at, at + width - 1), false
      if is_linked then record = linked(record, which) end
      if which == 3 or time_of(record, 1) > since then
        if which == 4 then
          sections[4], is_new = put_trait(sections[4], record)
        else
          sections[which], is_new = insert(sections[which], record, which)
        end
        is_any_new = is_any_new or is_new
        if which == 1 then
          sections[3], is_new = with_purchase(sections[3], record)
          is_any_new = is_any_new or is_new
        end
      end
    end
  end
  return is_any_new
end

-- The usual merge: one event, newer than all in its section, and nothing else. The value is
-- spliced, not taken apart: Lua hashes each string that it makes, byte for byte, and the copies
-- of a profile cost more than all the rest. Returns the value, its admissions and the number of
-- conflicts; or nil where the event has another place.
local function put_on_top(stored, ends, events, stamp)
  local which = string.byte(events, 1)
  local width, from, to = WIDTHS[which], ends[which], ends[which + 1]
  if #events ~= 1 + ORIGIN + width or string.byte(stored, 1) ~= VERSION then return nil end
  local record = string.sub(events, 2 + ORIGIN)
  local newest = string.sub(stored, from + 1, math.min(to, from + width))
  if newest ~= '' and not is_newer(record, newest) then return nil end

  local sizes = {ends[2] - ends[1], ends[3] - ends[2], ends[4] - ends[3], ends[5] - ends[4]}
  local kept = math.min(to - from, (BOUNDS[which] - 1) * width)
  sizes[which] = width + kept
  local between, purchases, traits = string.sub(stored, to + 1, ends[5]), '', ''
  if which == 1 and string.byte(record, KIND) == PURCHASE then
    between = string.sub(stored, to + 1, ends[3])
    purchases = with_purchase(string.sub(stored, ends[3] + 1, ends[4]), record)
    sizes[3], traits = #purchases, string.sub(stored, ends[4] + 1, ends[5])
  end
  local open = still_open(string.sub(stored, ends[5] + 1, ends[6]), events)
  open = string.sub(open .. string.sub(events, 2, 1 + ADMISSION), -MOST_ADMISSIONS * ADMISSION)
  local is_conflict = string.sub(newest, 1, IDENTITY) == string.sub(record, 1, IDENTITY)
  return header(sizes[1], sizes[2], sizes[3], sizes[4])
    .. string.sub(stored, ends[1] + 1, from) .. record
    .. string.sub(stored, from + 1, from + kept) .. between .. purchases .. traits .. open .. stamp,
    open, is_conflict and 1 or 0
end

-- KEYS: profile, identity; with a time to forget until also the last list.
-- ARGV: time to live ms
--       events in order of arrival: section u8 (1 interaction, 2 query), origin (source 4 bytes,
--         offset u48), record
--       stamp of the value that is written
--       where the worker holds the profile and has merged the events itself: the stamp of the
--         value that it holds, and the whole new value, or '' where it is the same; else '' and ''
--       further records without an origin, by section: interactions, queries, purchases, traits
--       for further records that come from an anonymous id: link time u48, digest of that id and,
--         where it has one, its limit u48; or ''
--       with the last list as a key: forget until, ms
--       (behind the stamp all may be left out)
-- Returns an empty string where the worker is right about what is stored; else two strings:
--       forget marker f64, -1 for none | 1 where a profile was there before, u8 | events of this
--       call u16 | conflicting ids u16 | admissions u16 | size of the profile u32 |
--       '1' or '0' per event: was it admitted by this very record? | admissions (origin,
--       identity) in the order in which they came in | limit and links as stored
--       profile | what else is in the value, which is sent as it is to save a copy: admissions,
--       stamp
--
-- The admissions stay in the stored value until the worker has counted them, so that the answer
-- is the same for a record that is delivered again.
local function merge(keys, args)
  local lifetime, events, stamp, held = args[1], args[2], args[3], args[4] or ''
  if held ~= '' and redis.call('GETRANGE', keys[1], -STAMP, -1) == held
    and redis.call('EXISTS', keys[2]) == 0 then
    local proposed = args[5] or ''
    if proposed ~= '' then
      redis.call('SET', keys[1], proposed, 'PX', lifetime)
    else
      redis.call('PEXPIRE', keys[1], lifetime)
    end
    return ''
  end
  local stored = redis.call('GET', keys[1])
  local ends, fault
  if stored then
    ends, fault = ends_of(stored)
    if fault then return redis.error_reply(fault) end
  end
  local marker, limit, links = read_identity(keys[2])
  if stored and limit < 0 and events ~= '' and not args[6] then
    local value, open, conflicts = put_on_top(stored, ends, events, stamp)
    if value then
      if links ~= '' then redis.call('PEXPIRE', keys[2], lifetime) end
      redis.call('SET', keys[1], value, 'PX', lifetime)
      return {struct.pack(ANSWER, marker, 1, 1, conflicts, #open / ADMISSION,
        #value - #open - STAMP)
        .. '1' .. open .. links, value}
    end
  end
  local asked = tonumber(args[11]) or -1
  local link, is_changed = args[10] or '', false
  if asked > marker then
    marker, limit = asked, math.max(asked, limit)
    redis.call('DEL', keys[3])
    is_changed = true
  end
  if link ~= '' then
    links = with_link(links, 'a', string.sub(link, 1, 6), string.sub(link, 7, 22))
    if #link > 22 then limit = math.max(limit, time_of(link, 23)) end
  end
  if asked >= 0 or link ~= '' then
    -- A repeated call writes too: a WAIT behind it waits only where something was written.
    write_identity(keys[2], marker, limit, links, lifetime)
  elseif links ~= '' and marker < 0 then
    redis.call('PEXPIRE', keys[2], lifetime)
  end
  local sections = sections_of(stored, ends)
  is_changed = forget_in(sections, marker, limit) or is_changed

  local open = still_open(sections[5], events)
  local flags, conflicts, at = {}, 0, 1
  while at <= #events do
    local which = string.byte(events, at)
    local width, begin = WIDTHS[which], at + 1 + ORIGIN
    local record = string.sub(events, begin, begin + width - 1)
    local is_admitted = false
    if time_of(record, 1) > marker then
      local place
      sections[which], is_admitted, place = insert(sections[which], record, which)
      local admission = string.sub(events, at + 1, begin + IDENTITY - 1)
      if which == 1 then
        local is_new_purchase
        sections[3], is_new_purchase = with_purchase(sections[3], record)
        is_changed = is_changed or is_new_purchase
      end
      if is_admitted then
        is_changed = true
        open = open .. admission
        if is_conflict(sections[which], width, place) then conflicts = conflicts + 1 end
      else
        is_admitted = is_among(open, admission)
      end
    end
    flags[#flags + 1] = is_admitted and '1' or '0'
    at = begin + width
  end
  open = string.sub(open, -MOST_ADMISSIONS * ADMISSION)

  local others = {args[6] or '', args[7] or '', args[8] or '', args[9] or ''}
  is_changed = absorb(sections, others, marker, limit, link ~= '') or is_changed
  if limit >= 0 and is_changed then
    sections[3] = purchases_later(sections[3], sections[1], limit)
  end

  if not is_changed then stamp = sections[6] end
  local value = packed(sections, open, stamp)
  local size = #value - #open - #stamp
  if size == HEADER_SIZE then
    if stored then redis.call('DEL', keys[1]) end
  elseif is_changed then
    redis.call('SET', keys[1], value, 'PX', lifetime)
  else
    redis.call('PEXPIRE', keys[1], lifetime)
  end
  return {struct.pack(ANSWER, marker, stored and 1 or 0, #flags, conflicts, #open / ADMISSION,
    size) .. table.concat(flags) .. open .. with_limit(links, marker, limit), value}
end

-- KEYS: profile, identity.
-- Returns marker f64 | size of the profile u32 | profile without what is forgotten | limit and links as
-- stored
local function read(keys)
  local stored = redis.call('GET', keys[1])
  local ends, fault
  if stored then
    ends, fault = ends_of(stored)
    if fault then return redis.error_reply(fault) end
  end
  local marker, limit, links = read_identity(keys[2])
  local sections = sections_of(stored, ends)
  forget_in(sections, marker, limit)
  local value = packed(sections, '', '')
  return struct.pack('>dI4', marker, #value) .. value .. with_limit(links, marker, limit)
end

-- KEYS: profile of one generation, and of another. ARGV: 1 where the second is known to be there, and
-- it is to be found out only whether the first is.
-- Returns 0 where there is neither, 1 where they are the same, 2 where there is only the first, 3
-- where there is only the second, 4 where they differ. What stands behind a profile is no part of it.
local function same(keys, args)
  if args[1] then return redis.call('EXISTS', keys[1]) == 1 and 4 or 3 end
  local profiles = {}
  for at = 1, 2 do
    local stored = redis.call('GET', keys[at])
    if stored then
      local ends, fault = ends_of(stored)
      if fault then return redis.error_reply(fault) end
      profiles[at] = string.sub(stored, 1, ends[5])
    end
  end
  if not profiles[1] then return profiles[2] and 3 or 0 end
  if not profiles[2] then return 2 end
  return profiles[1] == profiles[2] and 1 or 4
end

-- KEYS: profile, identity of an anonymous id.
-- ARGV: time to live ms; time of the identify event u48; digest of the known user.
-- From now on a merge into the anonymous profile tells whom it belongs to.
-- Returns like `read`.
local function link(keys, args)
  local marker, limit, links = read_identity(keys[2])
  write_identity(keys[2], marker, limit, with_link(links, 'k', args[2], args[3]), args[1])
  return read(keys)
end

-- KEYS: last list, identity.
-- ARGV: source (identity of topic, partition), offset; event time ms; list as JSON; time to live ms;
--       where feedback is joined to lists: what is remembered of this one, for how many ms.
-- A worker woken from the dead can neither overwrite a newer list nor bring back a forgotten one.
-- Returns 1 if the list was kept.
local function keep(keys, args)
  local marker = read_identity(keys[2])
  if tonumber(args[3]) <= marker then return 0 end
  local held = redis.call('HMGET', keys[1], 'source', 'offset')
  if held[1] == args[1] and tonumber(held[2]) > tonumber(args[2]) then return 0 end
  -- Not before: one that comes again would push out those that came after it.
  if args[6] then remember(keys[1], args[6], tonumber(args[7])) end
  redis.call('HSET', keys[1], 'source', args[1], 'offset', args[2], 'list', args[4])
  redis.call('PEXPIRE', keys[1], args[5])
  return 1
end

redis.register_function('@LIBRARY@_merge', merge)
redis.register_function('@LIBRARY@_link', link)
redis.register_function{
  function_name = '@LIBRARY@_read', callback = read, flags = {'no-writes'}
}
redis.register_function('@LIBRARY@_keep', keep)
redis.register_function{
  function_name = '@LIBRARY@_same', callback = same, flags = {'no-writes'}
}
