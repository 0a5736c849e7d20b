"""What happens to a message on a stream, each as one script: it is in one place or the other, never in none.

`KEYS` are the stream, the sorted set of those that are put off, the stream of dead letters and the key of who holds an
ordered stream. `ARGV` begins with the group and this consumer. What is put off, buried or given back must be the
consumer's own: who has it by now, decides.
"""

_OWN = """
local stream, delayed, dead, holder = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group, me = ARGV[1], ARGV[2]
local function own(id) return #redis.call('XPENDING', stream, group, id, id, 1, me) > 0 end
local function entry(id)
  local found = redis.call('XRANGE', stream, id, id)[1]
  local fields = {}
  if not found then return nil end
  for i = 1, #found[2], 2 do fields[found[2][i]] = found[2][i + 1] end
  return {fields['body'] or '', fields['headers'] or '{}', fields['attempt'] or '1', fields['deliveries'] or '0'}
end
local function add(body, headers, attempt, deliveries)
  redis.call('XADD', stream, '*', 'body', body, 'headers', headers, 'attempt', attempt, 'deliveries', deliveries)
end
local function remove(id)
  redis.call('XACK', stream, group, id)
  redis.call('XDEL', stream, id)
end
local function now()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end
"""
# ARGV: ids.
ACKNOWLEDGE = (
    _OWN
    + """
redis.call('XACK', stream, group, unpack(ARGV, 3))
redis.call('XDEL', stream, unpack(ARGV, 3))
"""
)
# ARGV: id, seconds.
TRY_AGAIN = (
    _OWN
    + """
local id, delay = ARGV[3], tonumber(ARGV[4])
local found = own(id) and entry(id)
if not found then return end
local attempt = string.format('%d', tonumber(found[3]) + 1)
if delay > 0 then
  redis.call('ZADD', delayed, string.format('%.6f', now() + delay), cmsgpack.pack({id, found[1], found[2], attempt}))
else
  add(found[1], found[2], attempt, '0')
end
remove(id)
"""
)
# ARGV: how many at most. Returns in how many seconds the next one is due, or nothing, as text.
MOVE_DUE = (
    _OWN
    + """
local moment = now()
for _, packed in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', moment, 'LIMIT', 0, ARGV[3])) do
  local found = cmsgpack.unpack(packed)
  add(found[2], found[3], found[4], '0')
  redis.call('ZREM', delayed, packed)
end
local first = redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')
return first[2] and string.format('%.6f', tonumber(first[2]) - moment) or ''
"""
)
# ARGV: id, deliveries without this one, and whether its place in the stream is kept.
GIVE_BACK = (
    _OWN
    + """
local id, deliveries, in_place = ARGV[3], ARGV[4], ARGV[5] == '1'
local found = own(id) and entry(id)
if not found then return end
if in_place then
  local counted = tonumber(deliveries) - tonumber(found[4])
  redis.call('XCLAIM', stream, group, '-', 0, id, 'RETRYCOUNT', counted, 'JUSTID')
else
  add(found[1], found[2], found[3], deliveries)
  remove(id)
end
"""
)
# ARGV: id, why.
BURY = (
    _OWN
    + """
local id = ARGV[3]
local found = own(id) and entry(id)
if not found then return end
redis.call('XADD', dead, '*', 'body', found[1], 'headers', found[2], 'why', ARGV[4])
remove(id)
"""
)
# ARGV: milliseconds that an ordered stream is held for or 0, ids.
KEEP = (
    _OWN
    + """
if ARGV[3] ~= '0' and redis.call('GET', holder) == me then redis.call('PEXPIRE', holder, ARGV[3]) end
for i = 4, #ARGV do
  if own(ARGV[i]) then redis.call('XCLAIM', stream, group, me, 0, ARGV[i], 'JUSTID') end
end
"""
)
# ARGV: milliseconds that the stream is held for, how many at most, how many are in hand. Returns entries, each with how
# often it was handed out: first those that another one left behind, then new ones.
TAKE_IN_ORDER = (
    _OWN
    + """
local time, limit, in_hand = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local held_by = redis.call('GET', holder)
if held_by and held_by ~= me then return {} end
redis.call('SET', holder, me, 'PX', time)
local taken = {}
for _, pending in ipairs(redis.call('XPENDING', stream, group, '-', '+', limit + in_hand)) do
  if #taken < limit and (pending[2] ~= me or pending[3] >= time) then
    local found = redis.call('XCLAIM', stream, group, me, 0, pending[1])[1]
    if found then
      taken[#taken + 1] = {found[1], found[2], pending[4] + 1}
    else
      redis.call('XACK', stream, group, pending[1])
    end
  end
end
if #taken < limit then
  local read = redis.call('XREADGROUP', 'GROUP', group, me, 'COUNT', limit - #taken, 'STREAMS', stream, '>')
  for _, found in ipairs(read and read[1][2] or {}) do
    taken[#taken + 1] = {found[1], found[2], 1}
  end
end
return taken
"""
)
# ARGV: id.
REPLAY = (
    _OWN
    + """
local found = redis.call('XRANGE', dead, ARGV[3], ARGV[3])[1]
if not found then return end
local fields = {}
for i = 1, #found[2], 2 do fields[found[2][i]] = found[2][i + 1] end
add(fields['body'] or '', fields['headers'] or '{}', '1', '0')
redis.call('XDEL', dead, ARGV[3])
"""
)
# ARGV: milliseconds after which a consumer that has nothing counts as gone.
FORGET_CONSUMERS = (
    _OWN
    + """
for _, found in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local consumer = {}
  for i = 1, #found, 2 do consumer[found[i]] = found[i + 1] end
  if consumer['name'] ~= me and consumer['pending'] == 0 and consumer['idle'] > tonumber(ARGV[3]) then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer['name'])
  end
end
"""
)
# ARGV: milliseconds after which what a consumer has is another one's. Lets everything of this one's be that at once.
LEAVE = (
    _OWN
    + """
if redis.call('GET', holder) == me then redis.call('DEL', holder) end
local left = redis.call('XPENDING', stream, group, '-', '+', 10000, me)
for _, pending in ipairs(left) do
  redis.call('XCLAIM', stream, group, me, 0, pending[1], 'IDLE', ARGV[3], 'JUSTID')
end
if #left == 0 then redis.call('XGROUP', 'DELCONSUMER', stream, group, me) end
"""
)
