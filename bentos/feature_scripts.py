"""The steps that Redis takes at once: scripts in its Lua, so that no reader and no other writer sees half of one.

Every script reads and computes before it writes, so an error in it leaves all as it was. MessagePack and not JSON is
the form of events, because Redis' Lua writes numbers to JSON with 14 digits and a time in µs has 16.
Next module: `bentos.feature_versions`, what is loaded and for how long.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from bentos.features import LAST_EVENTS

CORRUPT: Final = "CORRUPT"
"""First word of the error when what is stored of a user cannot be read."""
DAY_SECONDS: Final = 86_400


class EventLimits(NamedTuple):
    """What is kept of events. The order is that of the script's arguments."""

    events: int = LAST_EVENTS
    """Events of a user."""
    event_ids: int = 1_000
    """Event ids of a user; with more in the time below, the oldest are forgotten earlier."""
    event_id_seconds: int = 7 * DAY_SECONDS
    """How long an event id is remembered: sent again within it, the event is not taken again."""
    seen_bytes: int = 262_144
    """Longest list of seen items of a user; beyond it the items seen first are forgotten."""
    retention_seconds: int = 90 * DAY_SECONDS
    """A user who is in no facts file is forgotten so long after the last event."""


ADD_EVENT: Final = """
local seen_key, events_key, ids_key = unpack(KEYS)
local id, item, rating, at = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local most_events, most_ids, id_seconds = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local most_bytes, retention = tonumber(ARGV[8]), ARGV[9]
local now = tonumber(redis.call('TIME')[1])
local taken = redis.call('ZSCORE', ids_key, id)
if taken and tonumber(taken) > now - id_seconds then return 0 end

local seen = redis.call('GET', seen_key) or ''
local stored = redis.call('GET', events_key)
-- Of a loaded user the facts have no end; of others they end some time after the last event.
local for_ever = redis.call('PTTL', seen_key) == -1 or redis.call('PTTL', events_key) == -1
local ok, packed = pcall(function()
  local events = stored and cmsgpack.unpack(stored) or {}
  local place = #events + 1
  while place > 1 and events[place - 1][3] > at do place = place - 1 end
  table.insert(events, place, {item, rating, at})
  while #events > most_events do table.remove(events, 1) end
  return cmsgpack.pack(events)
end)
if not ok then return redis.error_reply('CORRUPT events of the user') end
if not string.find('\\n' .. seen .. '\\n', '\\n' .. item .. '\\n', 1, true) then
  seen = seen == '' and item or seen .. '\\n' .. item
  if #seen > most_bytes then
    local cut = string.find(seen, '\\n', #seen - most_bytes, true)
    seen = string.sub(seen, cut + 1)
  end
end

if for_ever then
  redis.call('SET', seen_key, seen)
  redis.call('SET', events_key, packed)
else
  redis.call('SET', seen_key, seen, 'EX', retention)
  redis.call('SET', events_key, packed, 'EX', retention)
end
redis.call('ZADD', ids_key, now, id)
redis.call('ZREMRANGEBYSCORE', ids_key, '-inf', now - id_seconds)
redis.call('ZREMRANGEBYRANK', ids_key, 0, -most_ids - 1)
redis.call('EXPIRE', ids_key, id_seconds)
return 1
"""
"""KEYS: seen, events, event ids. ARGV: event id, item, rating, µs, then `EventLimits`. 1, or 0 for an id taken."""

LOAD_FACTS: Final = """
local most_events = tonumber(ARGV[1])
local function seen_of_both(ours, theirs)
  local all, known = {ours}, {}
  for item in string.gmatch(ours, '[^\\n]+') do known[item] = true end
  for item in string.gmatch(theirs, '[^\\n]+') do
    if not known[item] then all[#all + 1] = item end
  end
  return table.concat(all, '\\n')
end
local function name(event) return event[1] .. string.format('\\n%.0f', event[3]) end
local function events_of_both(ours, theirs)
  local all, known = cmsgpack.unpack(ours), {}
  for _, event in ipairs(all) do known[name(event)] = true end
  for _, event in ipairs(cmsgpack.unpack(theirs)) do
    if not known[name(event)] then
      local place = #all + 1
      while place > 1 and all[place - 1][3] > event[3] do place = place - 1 end
      table.insert(all, place, event)
    end
  end
  while #all > most_events do table.remove(all, 1) end
  return cmsgpack.pack(all)
end
local merged = 0
for i = 1, #KEYS, 2 do
  for j, of_both in ipairs({seen_of_both, events_of_both}) do
    local key, value = KEYS[i + j - 1], ARGV[i + j]
    local read, there = pcall(redis.call, 'GET', key)
    if read and there and there ~= value then
      local ok, both = pcall(of_both, value, there)
      if ok then value, merged = both, merged + 1 end
    end
    redis.call('SET', key, value)
  end
end
return merged
"""
"""KEYS: seen and events of each user in turn. ARGV: most events, then the values. What is there already, and later, is
kept; what cannot be read is replaced. The number of values that were merged."""

KEEP: Final = """
local pinned = redis.call('SCARD', KEYS[1]) > 0
for i = 2, #KEYS do
  if pinned then redis.call('PERSIST', KEYS[i])
  else redis.call('EXPIRE', KEYS[i], tonumber(ARGV[1]) + (i + tonumber(ARGV[3])) % tonumber(ARGV[2])) end
end
return pinned and 1 or 0
"""
"""KEYS: the pins of a version, then keys of it. ARGV: seconds, the spread in seconds, and where in it to begin.
Whether it is pinned now.

A version is taken in portions of keys. Each looks at the pins of its own moment, and whoever changes the pins goes
over all keys afterwards: so the last change wins on every key."""
