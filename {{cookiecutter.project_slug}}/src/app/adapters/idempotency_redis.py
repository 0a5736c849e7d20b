"""Idempotency records in Redis: one script, and so one round trip, for each step.

An operation runs at most once per lease, as far as Redis remembers: the answer is kept after the effect, so a crash
between the two makes a repetition run again when the lease is over. What Redis forgets, it forgets for the store too:
at a restart without persistence, at a failover to a replica that lags behind, and when `maxmemory` is reached with any
policy but `noeviction`, with which it refuses new keys instead and the store is unavailable. Time is the server's.

A record is a hash. Redis deletes it when nobody needs it any more: neither a repetition nor a running operation. A key
whose value is no record, because something else wrote it or took fields away, is told from a free one: its operation
may have run, so it is refused, and goes after the time that its answer would have been kept for.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, ClassVar

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from ..core.idempotency import Claim, Decision, Outcome, Record, decide
from ..core.idempotency_answer import Answer
from ..core.idempotency_errors import IdempotencyStoreError
from ..settings_groups import STEP_SECONDS
from .redis import command_span

_BATCH = 500

_NOW = """
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local function text(moment) return string.format('%.6f', moment) end
local function keep_until(moment) redis.call('PEXPIRE', KEYS[1], math.max(1, math.ceil((moment - now) * 1000))) end
"""
# What a claim sees is what `core.idempotency.decide` decides on: only with the conditions here is a claim atomic.
BEGIN = (
    _NOW
    + """
local fingerprint, owner, lease, ttl = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local found = redis.pcall('HMGET', KEYS[1], 'fingerprint', 'owner', 'lease_until', 'expires_at', 'answer')
local exists = found.err or redis.call('EXISTS', KEYS[1]) == 1
if exists then
  local lease_until, expires_at = tonumber(found[3] or ''), tonumber(found[4] or '')
  if found.err or not (found[1] and found[2] and lease_until and expires_at) then
    if redis.call('PTTL', KEYS[1]) < 0 then keep_until(now + ttl) end
    return {'damaged'}
  end
  local running = not found[5] and lease_until > now
  local over = expires_at <= now and not running
  local abandoned = not found[5] and lease_until <= now and found[1] == fingerprint
  if not (over or abandoned) then
    return {'found', found[1], found[3], found[4], found[5], text(now)}
  end
  redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], 'fingerprint', fingerprint, 'owner', owner,
  'lease_until', text(now + lease), 'expires_at', text(now + ttl))
keep_until(now + math.max(lease, ttl))
return {'claimed'}
"""
)
_HELD = """
local found = redis.pcall('HMGET', KEYS[1], 'owner', 'answer', 'expires_at')
if found.err or found[1] ~= ARGV[1] or found[2] then return 0 end
"""
COMPLETE = (
    _NOW
    + _HELD
    + """
local ends = now + tonumber(ARGV[3])
redis.call('HSET', KEYS[1], 'answer', ARGV[2], 'expires_at', text(ends))
keep_until(ends)
return 1
"""
)
RENEW = (
    _NOW
    + _HELD
    + """
local ends = now + tonumber(ARGV[2])
redis.call('HSET', KEYS[1], 'lease_until', text(ends))
keep_until(math.max(ends, tonumber(found[3] or '') or ends))
return 1
"""
)
RELEASE = _HELD + "return redis.call('DEL', KEYS[1])"


class _Keys:
    """How records are named: the service's own prefix, then the caller, then the key, both as hashes."""

    def __init__(self, service: str) -> None:
        self._prefix = f"{service}:idempotency:"

    def of(self, claim: Claim) -> list[str]:
        return [f"{self._prefix}{claim.caller}:{claim.key}"]

    def pattern(self, caller: str) -> str:
        """Return what matches all keys of a caller."""
        plain = "".join(f"\\{character}" if character in "*?[]^\\" else character for character in self._prefix)
        return f"{plain}{caller}:*"


def _began(reply: Sequence[bytes | None], claim: Claim) -> Decision:
    kind, *found = (None if part is None else part.decode(errors="surrogateescape") for part in reply)
    if kind == "claimed":
        return Decision(Outcome.RUN)
    if kind == "damaged":
        return Decision(Outcome.NOT_REPLAYABLE, damaged=True)
    fingerprint, lease_until, expires_at, answer, now = found
    record = Record(str(fingerprint), float(lease_until or 0), float(expires_at or 0), answer)
    return decide(record, claim.fingerprint, float(now or 0))


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        msg = f"the Redis store failed: {type(error).__name__}"
        raise IdempotencyStoreError(msg) from error


class RedisIdempotencyStore:
    """Keeps records in Redis, for code on an event loop.

    Args:
        client: The client, as `redis.create_redis` makes it.
        service: The service's name: services that share a Redis do not share keys.
        timeout: Seconds that a step may take.

    """

    transactional: ClassVar[bool] = False

    def __init__(self, client: AsyncRedis, *, service: str, timeout: float = STEP_SECONDS) -> None:
        self._client = client
        self._keys = _Keys(service)
        self._timeout = timeout
        self._begin = client.register_script(BEGIN)
        self._complete = client.register_script(COMPLETE)
        self._renew = client.register_script(RENEW)
        self._release = client.register_script(RELEASE)

    async def begin(self, claim: Claim, *, lease: float, ttl: float) -> Decision:
        """Take the claim, or say what stands in its way."""
        async with self._step("EVALSHA"):
            reply = await self._begin(self._keys.of(claim), [claim.fingerprint, claim.owner, lease, ttl])
        return _began(reply, claim)

    async def complete(
        self,
        claim: Claim,
        answer: Answer,
        *,
        ttl: float,
        transaction: Any = None,  # noqa: ARG002 -- Redis cannot join one
    ) -> bool:
        """Keep the answer; False when the claim was lost."""
        async with self._step("EVALSHA"):
            return bool(await self._complete(self._keys.of(claim), [claim.owner, answer.dump(), ttl]))

    async def renew(self, claim: Claim, *, lease: float) -> bool:
        """Extend the lease."""
        async with self._step("EVALSHA"):
            return bool(await self._renew(self._keys.of(claim), [claim.owner, lease]))

    async def release(self, claim: Claim) -> None:
        """Free the key."""
        async with self._step("EVALSHA"):
            await self._release(self._keys.of(claim), [claim.owner])

    async def purge(self, *, limit: int) -> int:  # noqa: ARG002 -- as every store has it
        """Do nothing: Redis deletes by itself what is over."""
        return 0

    async def forget(self, caller: str) -> int:
        """Delete every record of a caller; looks through all keys of the database in many short steps."""
        forgotten, cursor, pattern = 0, None, self._keys.pattern(caller)
        while cursor != 0:
            async with self._step("SCAN"):
                cursor, keys = await self._client.scan(cursor or 0, match=pattern, count=_BATCH)
            if keys:
                async with self._step("UNLINK"):
                    forgotten += await self._client.unlink(*keys)
        return forgotten

    @asynccontextmanager
    async def _step(self, command: str) -> AsyncIterator[None]:
        with _failing(), command_span(self._client, command):
            async with asyncio.timeout(self._timeout):
                yield


class SyncRedisIdempotencyStore:
    """The same for code that runs no event loop; the client's own time-outs bound a step.

    Args:
        client: The client, as `redis.create_sync_redis` makes it.
        service: The service's name: services that share a Redis do not share keys.

    """

    transactional: ClassVar[bool] = False

    def __init__(self, client: Redis, *, service: str) -> None:
        self._client = client
        self._keys = _Keys(service)
        self._begin = client.register_script(BEGIN)
        self._complete = client.register_script(COMPLETE)
        self._renew = client.register_script(RENEW)
        self._release = client.register_script(RELEASE)

    def begin(self, claim: Claim, *, lease: float, ttl: float) -> Decision:
        """Take the claim, or say what stands in its way."""
        with self._step("EVALSHA"):
            reply = self._begin(self._keys.of(claim), [claim.fingerprint, claim.owner, lease, ttl])
        return _began(reply, claim)

    def complete(
        self,
        claim: Claim,
        answer: Answer,
        *,
        ttl: float,
        transaction: Any = None,  # noqa: ARG002 -- Redis cannot join one
    ) -> bool:
        """Keep the answer; False when the claim was lost."""
        with self._step("EVALSHA"):
            return bool(self._complete(self._keys.of(claim), [claim.owner, answer.dump(), ttl]))

    def renew(self, claim: Claim, *, lease: float) -> bool:
        """Extend the lease."""
        with self._step("EVALSHA"):
            return bool(self._renew(self._keys.of(claim), [claim.owner, lease]))

    def release(self, claim: Claim) -> None:
        """Free the key."""
        with self._step("EVALSHA"):
            self._release(self._keys.of(claim), [claim.owner])

    def purge(self, *, limit: int) -> int:  # noqa: ARG002 -- as every store has it
        """Do nothing: Redis deletes by itself what is over."""
        return 0

    def forget(self, caller: str) -> int:
        """Delete every record of a caller; looks through all keys of the database in many short steps."""
        forgotten, cursor, pattern = 0, None, self._keys.pattern(caller)
        while cursor != 0:
            with self._step("SCAN"):
                cursor, keys = self._client.scan(cursor or 0, match=pattern, count=_BATCH)
            if keys:
                with self._step("UNLINK"):
                    forgotten += self._client.unlink(*keys)
        return forgotten

    @contextmanager
    def _step(self, command: str) -> Iterator[None]:
        with _failing(), command_span(self._client, command):
            yield
