"""One contract for every store: memory, SQLite, PostgreSQL and Redis, each with an event loop and without one."""

import asyncio
import base64
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import pytest

from app.adapters.idempotency_memory import MemoryIdempotencyStore, SyncMemoryIdempotencyStore
from app.adapters.idempotency_redis import RedisIdempotencyStore, SyncRedisIdempotencyStore
from app.adapters.idempotency_stores import store_beside, sync_store_beside
from app.adapters.redis import create_redis, create_sync_redis
from app.core.idempotency import Claim, Decision, IdempotencyStore, Outcome, Record, decide, digest, new_claim
from app.core.idempotency_answer import Answer
from app.settings import ConfigurationError, Settings
from app.settings_groups import IdempotencySettings

from ..conftest import Log
from ..idempotency_stores import KINDS, PLACES, SQL_KINDS, Opened, broken_answers, open_place, open_store
from ..processes import PATIENCE, variables

HEADERS = (("content-type", "application/json"), ("location", "/orders/1"), ("etag", '"1"'))
ANSWER = Answer(201, HEADERS, b'{"id":"\xff\x00"}')
LONG = 60.0
SHORT = 0.05


def claim(key: str = "k", fingerprint: str = "f", caller: str = "ada") -> Claim:
    """Return a claim of an owner of its own."""
    return new_claim(caller=caller, operation=("POST", "/orders"), key=key, fingerprint=fingerprint)


async def begin(store: IdempotencyStore, of: Claim, *, lease: float = LONG, ttl: float = LONG) -> Outcome:
    """Return what a request comes to."""
    return (await store.begin(of, lease=lease, ttl=ttl)).outcome


async def finish(store: IdempotencyStore, of: Claim, answer: Answer = ANSWER, *, ttl: float = LONG) -> None:
    """Run a request from its beginning to its end."""
    assert await begin(store, of) is Outcome.RUN
    assert await store.complete(of, answer, ttl=ttl)


async def pause() -> None:
    """Wait until what was to last for a short time is over."""
    await asyncio.sleep(SHORT * 2)


@pytest.fixture(params=KINDS)
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    """Return a store of each kind, with ways around it."""
    async with open_store(request.param, tmp_path, request) as found:
        yield found


@pytest.fixture
def store(opened: Opened) -> IdempotencyStore:
    """Return a store of each kind."""
    return opened.store


@pytest.fixture(params=SQL_KINDS)
async def sql(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opened]:
    """Return a SQL store of each kind."""
    async with open_store(request.param, tmp_path, request) as found:
        yield found


# What a request comes to.


async def test_first_use_runs(store: IdempotencyStore) -> None:
    """A new key runs; until it is finished it is in progress for the same request and refused for another."""
    assert await begin(store, claim()) is Outcome.RUN
    assert await begin(store, claim()) is Outcome.IN_PROGRESS
    assert await begin(store, claim(fingerprint="other")) is Outcome.MISMATCH
    assert await begin(store, claim("another key")) is Outcome.RUN


async def test_finished_is_replayed(store: IdempotencyStore) -> None:
    """A finished request is replayed with status, headers and exact bytes, as often as it is repeated."""
    await finish(store, claim())
    for _ in range(3):
        assert await store.begin(claim(), lease=LONG, ttl=LONG) == Decision(Outcome.REPLAY, ANSWER)


async def test_other_request_is_refused_after_the_end(store: IdempotencyStore) -> None:
    """A finished key is refused for another request, and still replays for the same one."""
    await finish(store, claim())
    assert await begin(store, claim(fingerprint="other")) is Outcome.MISMATCH
    assert await begin(store, claim()) is Outcome.REPLAY


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"\x1f\x8b\x08\x00\xff",
        "text \u00e9\U0001f600\u2028".encode(),
        bytes(range(256)) * 4096,
        b"x" * 2**20,
    ],
    ids=["empty", "NUL", "gzip", "text", "1 MiB of bytes", "1 MiB of text"],
)
async def test_every_body_comes_back(store: IdempotencyStore, body: bytes) -> None:
    """Whatever a body is made of, it comes back byte for byte."""
    answer = Answer(204 if not body else 200, HEADERS, body)
    await finish(store, claim(), answer)
    assert (await store.begin(claim(), lease=LONG, ttl=LONG)).answer == answer


async def test_answer_without_a_body(store: IdempotencyStore) -> None:
    """An answer that was too large to keep is known to have been given."""
    await finish(store, claim(), Answer(200, (), None))
    decision = await store.begin(claim(), lease=LONG, ttl=LONG)
    assert (decision.outcome, decision.damaged) == (Outcome.NOT_REPLAYABLE, False)


async def test_same_decision_everywhere(opened: Opened, request: pytest.FixtureRequest) -> None:
    """Whatever a store knows of a key, it decides as the core does."""
    now = time.monotonic() if "memory" in request.node.callspec.id else time.time()
    for past, lease, expiry, other in product((None, ANSWER.dump()), (-9, 9), (-9, 9), (False, True)):
        record = Record("f", now + lease, now + expiry, past)
        await begin(opened.store, claim())
        fields = {"lease_until": record.lease_until, "expires_at": record.expires_at, "answer": past}
        opened.damage(**{name: value for name, value in fields.items() if value is not None})
        fingerprint = "other" if other else "f"
        found = await opened.store.begin(claim(fingerprint=fingerprint), lease=LONG, ttl=LONG)
        assert (record, found) == (record, decide(record, fingerprint, now))
        assert await opened.store.forget(claim().caller) == 1


# Whose a key is.


async def test_callers_are_independent(store: IdempotencyStore) -> None:
    """The same key of another caller is another key, also for somebody who guesses how both are joined."""
    await finish(store, claim("c", caller="a:b"))
    assert await begin(store, claim("b:c", caller="a")) is Outcome.RUN
    assert await begin(store, claim("c", caller="anonymous")) is Outcome.RUN
    assert await begin(store, claim("c", caller="a:b")) is Outcome.REPLAY


async def test_neither_key_nor_body_is_stored(opened: Opened) -> None:
    """The store sees no caller, no key and no request body, only hashes of them."""
    of = claim("k-visible", digest(b"b-visible"), "u-visible")
    await finish(opened.store, of)
    assert of.key in opened.dump()
    assert "visible" not in opened.dump()


async def test_forgetting_a_caller(store: IdempotencyStore) -> None:
    """All records of a caller can be deleted, running ones too, and nobody else's; each is counted once."""
    mine, running, theirs = claim("1"), claim("2"), claim("1", caller="bob")
    for one in (mine, theirs):
        await finish(store, one)
    await begin(store, running)
    assert await store.forget(mine.caller) == 2
    assert await store.forget(mine.caller) == 0
    assert not await store.complete(running, ANSWER, ttl=LONG)
    assert await begin(store, claim("1")) is Outcome.RUN
    assert await begin(store, claim("1", caller="bob")) is Outcome.REPLAY


async def test_forgetting_many(store: IdempotencyStore) -> None:
    """A caller with more records than one step takes loses them all."""
    for number in range(600):
        await begin(store, claim(str(number)))
    assert await store.forget(claim().caller) == 600
    assert await begin(store, claim("599")) is Outcome.RUN


# Releasing, and what is final.


async def test_release_frees_the_key(store: IdempotencyStore) -> None:
    """A released key is new again, for any request."""
    first = claim()
    await begin(store, first)
    await store.release(first)
    await store.release(first)
    assert await begin(store, claim(fingerprint="other")) is Outcome.RUN


async def test_finished_cannot_be_undone(store: IdempotencyStore) -> None:
    """Once finished, a record is not released, renewed or finished again, even by its owner."""
    first = claim()
    await finish(store, first)
    await store.release(first)
    assert not await store.renew(first, lease=LONG)
    assert not await store.complete(first, Answer(200, (), b"late"), ttl=LONG)
    assert (await store.begin(claim(), lease=LONG, ttl=LONG)).answer == ANSWER


async def test_what_was_never_claimed(store: IdempotencyStore) -> None:
    """Nothing can be finished, renewed or released that is not held."""
    assert not await store.complete(claim(), ANSWER, ttl=LONG)
    assert not await store.renew(claim(), lease=LONG)
    await store.release(claim())
    assert await begin(store, claim()) is Outcome.RUN


# Leases.


async def test_take_over_after_the_lease(store: IdempotencyStore) -> None:
    """After the lease one request takes the key over, and only for the same request."""
    await begin(store, claim(), lease=SHORT)
    await pause()
    assert await begin(store, claim(fingerprint="other")) is Outcome.MISMATCH
    assert await begin(store, claim()) is Outcome.RUN
    assert await begin(store, claim()) is Outcome.IN_PROGRESS


async def test_late_owner_is_fenced_off(store: IdempotencyStore) -> None:
    """Who lost the key can no longer finish, renew or release it."""
    late, new = claim(), claim()
    await begin(store, late, lease=SHORT)
    await pause()
    await begin(store, new)
    assert not await store.complete(late, Answer(200, (), b"late"), ttl=LONG)
    assert not await store.renew(late, lease=LONG)
    await store.release(late)
    assert await begin(store, claim()) is Outcome.IN_PROGRESS
    assert await store.complete(new, ANSWER, ttl=LONG)
    assert not await store.complete(late, Answer(200, (), b"late"), ttl=LONG)
    assert (await store.begin(claim(), lease=LONG, ttl=LONG)).answer == ANSWER


async def test_owner_may_finish_late_when_nobody_took_over(store: IdempotencyStore) -> None:
    """A lease that ended unnoticed does no harm."""
    slow = claim()
    await begin(store, slow, lease=SHORT)
    await pause()
    assert await store.complete(slow, ANSWER, ttl=LONG)
    assert await begin(store, claim()) is Outcome.REPLAY


async def test_renewed_lease(store: IdempotencyStore) -> None:
    """A renewed lease holds the key, as often as it is renewed."""
    slow = claim()
    await begin(store, slow, lease=SHORT)
    for lease in (SHORT, LONG):
        assert await store.renew(slow, lease=lease)
    await pause()
    assert await begin(store, claim()) is Outcome.IN_PROGRESS


async def test_clock_of_the_caller_does_not_matter(store: IdempotencyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose clock is an hour off neither takes over what runs nor forgets what was answered."""
    now, first = time.time, claim()
    await begin(store, first, lease=LONG, ttl=LONG)
    for hours in (-1, 1):
        monkeypatch.setattr(time, "time", lambda hours=hours: now() + hours * 3600)
        assert await begin(store, claim()) is Outcome.IN_PROGRESS
    assert await store.renew(first, lease=LONG)
    assert await store.complete(first, ANSWER, ttl=LONG)
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    assert await begin(store, claim()) is Outcome.REPLAY


# Expiry.


async def test_expiry(store: IdempotencyStore) -> None:
    """An answer is kept for its time from when it was given; then the key is new, for any request."""
    await finish(store, claim(), ttl=SHORT)
    await pause()
    assert await begin(store, claim(fingerprint="other")) is Outcome.RUN


async def test_time_to_live_counts_from_the_answer(store: IdempotencyStore) -> None:
    """A slow operation's answer is kept as long as a fast one's."""
    slow = claim()
    await begin(store, slow, ttl=SHORT)
    await pause()
    assert await store.complete(slow, ANSWER, ttl=LONG)
    assert await begin(store, claim()) is Outcome.REPLAY


async def test_running_operation_does_not_expire(store: IdempotencyStore) -> None:
    """An operation that takes longer than its answer would be kept is not run a second time beside the first."""
    await begin(store, claim(), lease=LONG, ttl=SHORT)
    await pause()
    assert await begin(store, claim()) is Outcome.IN_PROGRESS
    assert await begin(store, claim(fingerprint="other")) is Outcome.MISMATCH


async def test_renewed_operation_does_not_expire(store: IdempotencyStore) -> None:
    """An operation that renews its lease for longer than its answer would be kept holds the key."""
    slow = claim()
    await begin(store, slow, lease=SHORT, ttl=SHORT)
    assert await store.renew(slow, lease=LONG)
    await pause()
    assert await begin(store, claim(fingerprint="other")) is Outcome.MISMATCH
    assert await store.complete(slow, ANSWER, ttl=LONG)


async def test_abandoned_and_expired(store: IdempotencyStore) -> None:
    """What was abandoned and has expired is new, for any request; who abandoned it cannot finish it any more."""
    late, new = claim(), claim(fingerprint="other")
    await begin(store, late, lease=SHORT, ttl=SHORT)
    await pause()
    assert await begin(store, new) is Outcome.RUN
    assert not await store.complete(late, ANSWER, ttl=LONG)
    assert await store.complete(new, ANSWER, ttl=LONG)


async def test_clean_up(store: IdempotencyStore) -> None:
    """What is over is deleted in bounded steps: nothing that runs, and no answer that is still good."""
    good, running = claim("good"), claim("running")
    await finish(store, good)
    await begin(store, running, ttl=SHORT)
    for number in range(3):
        await finish(store, claim(f"old {number}"), ttl=SHORT)
    await begin(store, claim("abandoned"), lease=SHORT, ttl=SHORT)
    await pause()
    deleted = [await store.purge(limit=3) for _ in range(3)]
    # Redis does so by itself.
    assert deleted in ([3, 1, 0], [0, 0, 0])
    assert await begin(store, claim("good")) is Outcome.REPLAY
    assert await begin(store, claim("running")) is Outcome.IN_PROGRESS
    assert await begin(store, claim("old 0")) is Outcome.RUN


async def test_nothing_is_left_of_what_is_over(opened: Opened) -> None:
    """After a clean-up the store holds nothing that nobody needs."""
    await finish(opened.store, claim("old"), ttl=SHORT)
    await finish(opened.store, claim("good"))
    await pause()
    await opened.store.purge(limit=100)
    assert claim("old").key not in opened.dump()
    assert claim("good").key in opened.dump()


# Many at once.


async def test_one_of_many_runs(store: IdempotencyStore) -> None:
    """Of a hundred requests at once with one key exactly one runs."""
    outcomes = await asyncio.gather(*(begin(store, claim()) for _ in range(100)))
    assert Counter(outcomes) == {Outcome.RUN: 1, Outcome.IN_PROGRESS: 99}


async def test_one_of_many_takes_over(store: IdempotencyStore) -> None:
    """Of fifty requests at once with an abandoned key exactly one runs."""
    await begin(store, claim(), lease=SHORT)
    await pause()
    outcomes = await asyncio.gather(*(begin(store, claim()) for _ in range(50)))
    assert Counter(outcomes) == {Outcome.RUN: 1, Outcome.IN_PROGRESS: 49}


async def test_one_of_many_gets_what_expired(store: IdempotencyStore) -> None:
    """Of fifty requests at once with a key whose answer expired exactly one runs."""
    await finish(store, claim(), ttl=SHORT)
    await pause()
    outcomes = await asyncio.gather(*(begin(store, claim()) for _ in range(50)))
    assert Counter(outcomes) == {Outcome.RUN: 1, Outcome.IN_PROGRESS: 49}


async def test_many_get_one_answer(store: IdempotencyStore) -> None:
    """All who repeat a finished request at once get its answer."""
    await finish(store, claim())
    decisions = await asyncio.gather(*(store.begin(claim(), lease=LONG, ttl=LONG) for _ in range(50)))
    assert decisions == [Decision(Outcome.REPLAY, ANSWER)] * 50


async def test_keys_do_not_block_each_other(store: IdempotencyStore) -> None:
    """Fifty keys at once all run, and all finish."""
    claims = [claim(str(number)) for number in range(50)]
    assert set(await asyncio.gather(*(begin(store, one) for one in claims))) == {Outcome.RUN}
    assert all(await asyncio.gather(*(store.complete(one, ANSWER, ttl=LONG) for one in claims)))


async def test_key_that_comes_and_goes(store: IdempotencyStore) -> None:
    """A key that is released, finished and looked at by many at the same time is never an error, nor held by two."""
    held, most = 0, 0

    async def one_request() -> None:
        nonlocal held, most
        for _ in range(10):
            mine = claim()
            if await begin(store, mine) is Outcome.RUN:
                held, most = held + 1, max(most, held + 1)
                await asyncio.sleep(0)
                held -= 1
                await store.release(mine)

    await asyncio.gather(*(one_request() for _ in range(10)))
    assert (held, most) == (0, 1)


# Records that are no records.


@pytest.mark.parametrize("broken", broken_answers())
async def test_damaged_answer(opened: Opened, broken: str) -> None:
    """An answer that cannot be read is told as damaged: neither an error nor a second run."""
    await finish(opened.store, claim())
    opened.damage(answer=broken_answers()[broken])
    for _ in range(2):
        decision = await opened.store.begin(claim(), lease=LONG, ttl=LONG)
        assert (decision.outcome, decision.damaged) == (Outcome.NOT_REPLAYABLE, True)


async def test_damaged_answer_has_its_time(opened: Opened) -> None:
    """A key with a damaged answer is free again when the answer would have been forgotten."""
    await finish(opened.store, claim(), ttl=SHORT)
    opened.damage(answer="damaged")
    await pause()
    assert await begin(opened.store, claim()) is Outcome.RUN


async def test_answer_of_the_release_before(opened: Opened) -> None:
    """An answer that the release before this one kept is replayed."""
    body = base64.b64encode(b"{}").decode()
    await finish(opened.store, claim())
    opened.damage(answer=json.dumps({"v": 1, "status": 201, "headers": [["a", "b"]], "body": body}))
    decision = await opened.store.begin(claim(), lease=LONG, ttl=LONG)
    assert decision == Decision(Outcome.REPLAY, Answer(201, (("a", "b"),), b"{}"))


# One transaction with the effect.


async def test_answer_commits_with_the_work(sql: Opened) -> None:
    """An answer that was kept in a unit of work lasts when the unit commits, and not when it is undone."""
    assert sql.store.transactional
    assert sql.work is not None
    for key, commits in (("kept", True), ("undone", False)):
        mine, work = claim(key), sql.work()
        await begin(sql.store, mine)
        assert await sql.store.complete(mine, ANSWER, ttl=LONG, transaction=work)
        for step in (work.commit if commits else work.rollback, getattr(work, "aclose", None) or work.close):
            await (step() if asyncio.iscoroutinefunction(step) else asyncio.to_thread(step))
    assert await begin(sql.store, claim("kept")) is Outcome.REPLAY
    assert await begin(sql.store, claim("undone")) is Outcome.IN_PROGRESS


async def test_late_owner_within_a_transaction(sql: Opened) -> None:
    """Who lost the key learns of it before the unit of work commits."""
    assert sql.work is not None
    late, work = claim(), sql.work()
    await begin(sql.store, late, lease=SHORT)
    await pause()
    await begin(sql.store, claim())
    assert not await sql.store.complete(late, ANSWER, ttl=LONG, transaction=work)
    close = getattr(work, "aclose", None)
    await (close() if close else asyncio.to_thread(work.close))


# Several processes.

RIVAL = """
import asyncio, json, sys
from app.core.idempotency import new_claim

async def main():
    url, service, lease = sys.argv[1:]
    store = open_store(url, service)
    print("ready", flush=True)
    for line in sys.stdin:
        claims = [
            new_claim(caller="ada", operation=("POST", "/orders"), key=key, fingerprint="f") for key in json.loads(line)
        ]
        decisions = await asyncio.gather(*(store.begin(one, lease=float(lease), ttl=60) for one in claims))
        print(json.dumps([decision.outcome for decision in decisions]), flush=True)

asyncio.run(main())
"""


@contextmanager
def rival(place: tuple[str, str, str], lease: float) -> Iterator["subprocess.Popen[str]"]:
    """Return a process that claims the keys it reads, and says what each comes to."""
    pipe = subprocess.PIPE
    opening, *where = place
    command = [sys.executable, "-c", opening + RIVAL, *where, str(lease)]
    with subprocess.Popen(command, env=variables(), stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def tell(process: "subprocess.Popen[str]", keys: list[str]) -> None:
    """Have a process claim keys."""
    print(json.dumps(keys), file=process.stdin, flush=True)


def answer_of(process: "subprocess.Popen[str]") -> str:
    """Return the next line of a process."""
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("place", PLACES)
def test_one_of_several_processes_runs(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Of two processes that claim the same keys at the same moment, one gets each."""
    keys = [str(number) for number in range(20)]
    with open_place(place, tmp_path, request) as where, rival(where, LONG) as one, rival(where, LONG) as two:
        for process in (one, two):
            assert answer_of(process) == "ready\n"
        for process in (one, two):
            tell(process, keys * 5)
        outcomes = [json.loads(answer_of(process)) for process in (one, two)]
    runs = Counter(key for found in outcomes for key, outcome in zip(keys * 5, found, strict=True) if outcome == "run")
    assert runs == dict.fromkeys(keys, 1)
    assert {outcome for found in outcomes for outcome in found} == {"run", "in_progress"}


@pytest.mark.parametrize("place", PLACES)
def test_process_that_dies(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """What a killed process held is in progress until its lease ends; then another one takes it over, once."""
    lease = 2.0
    with open_place(place, tmp_path, request) as where, rival(where, lease) as dying, rival(where, LONG) as other:
        for process in (dying, other):
            assert answer_of(process) == "ready\n"
        tell(dying, ["k"])
        assert json.loads(answer_of(dying)) == ["run"]
        dying.send_signal(signal.SIGKILL)
        dying.wait(PATIENCE)
        tell(other, ["k"])
        assert json.loads(answer_of(other)) == ["in_progress"]
        time.sleep(lease)
        tell(other, ["k", "k"])
        assert sorted(json.loads(answer_of(other))) == ["in_progress", "run"]


# Choosing one.


def chosen(settings: Settings, store: str) -> Settings:
    """Return settings that choose a store."""
    own = IdempotencySettings.model_validate({"store": store})
    return settings.model_copy(update={"idempotency": own})


async def test_settings_choose(settings: Settings) -> None:
    """The settings choose the store beside the database, for code with an event loop and for code without one."""
    url = "redis://127.0.0.1:1/0"
    redis, sync_redis = create_redis(url), create_sync_redis(url)
    found = {
        name: (
            type(store_beside(chosen(settings, name), redis)),
            type(sync_store_beside(chosen(settings, name), sync_redis)),
        )
        for name in ("sql", "redis", "memory")
    }
    assert found == {
        "sql": (type(None), type(None)),
        "redis": (RedisIdempotencyStore, SyncRedisIdempotencyStore),
        "memory": (MemoryIdempotencyStore, SyncMemoryIdempotencyStore),
    }
    await redis.aclose()
    sync_redis.close()


def test_redis_needs_a_client(settings: Settings) -> None:
    """Without a client nothing can be kept in Redis, and that is said before anything runs."""
    for choose in (store_beside, sync_store_beside):
        with pytest.raises(ConfigurationError, match=r"received .redis.; allowed only with REDIS_URL"):
            choose(chosen(settings, "redis"))


def test_memory_is_warned_of(settings: Settings, log: Log) -> None:
    """Whoever chooses the memory store is told once what it does not promise; nobody else is."""
    store_beside(chosen(settings, "sql"))
    assert log.named("idempotency.memory_store") == []
    store_beside(chosen(settings, "memory"))
    (line,) = log.named("idempotency.memory_store")
    assert (line["level"], line["promise"]) == ("warning", "for this process only, forgotten at its end")
    sync_store_beside(chosen(settings, "memory"))
    assert len(log.named("idempotency.memory_store")) == 2
