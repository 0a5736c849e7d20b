"""`@idempotent` on every store, on an event loop and without one: an effect happens once per key."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.adapters.unit_of_work import SyncUnitOfWork, UnitOfWork
from app.core.errors import BusinessRuleError
from app.core.idempotency_errors import (
    IdempotencyInProgressError,
    IdempotencyKeyReusedError,
    IdempotencyNotReplayableError,
    IdempotencyStoreError,
    IdempotencyUsageError,
)

from ..conftest import Log
from ..idempotent_functions import MODES, PLACES, Bench, Receipt, nothing, open_bench

ORDER, OTHER = UUID(int=1), UUID(int=2)
LEASE = 0.6


@pytest.fixture(params=[f"{place}-{mode}" for place in PLACES for mode in MODES])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Return a store of each kind, bound."""
    place, mode = request.param.split("-")
    async with open_bench(place, mode, tmp_path) as opened:
        yield opened


# Only what runs on an event loop can be cancelled, or block one.
on_event_loop = pytest.mark.parametrize("bench", [f"{place}-async" for place in PLACES], indirect=True)


def hold(bench: Bench) -> tuple[Any, threading.Event]:
    """Make a function wait within its run; return what waits until it runs, and what lets it go on."""
    runs, goes_on = threading.Event(), threading.Event()

    def wait() -> None:
        runs.set()
        assert goes_on.wait(10)

    bench.before = wait if bench.mode == "sync" else lambda: asyncio.to_thread(wait)

    async def until_it_runs() -> None:
        assert await asyncio.to_thread(runs.wait, 10)
        bench.before = nothing

    return until_it_runs, goes_on


async def test_repetition(bench: Bench) -> None:
    """A repeated call gets an equal result of the same type; the function does not run again."""
    fulfil = bench.function()
    first = await bench.call(fulfil, ORDER)
    again = await bench.call(fulfil, note="-", order_id=ORDER)
    assert (first, type(again)) == (again, Receipt)
    assert await bench.effects() == ["-"]
    assert (bench.counted("run"), bench.counted("replay")) == (1, 1)


async def test_other_arguments(bench: Bench) -> None:
    """A key that comes with other arguments is refused, and nothing is done."""
    fulfil = bench.function()
    await bench.call(fulfil, ORDER)
    with pytest.raises(IdempotencyKeyReusedError):
        await bench.call(fulfil, ORDER, "other")
    assert await bench.effects() == ["-"]


async def test_arguments_that_may_differ(bench: Bench) -> None:
    """A function can say that its arguments are not compared."""
    fulfil = bench.function(fingerprint=None)
    first = await bench.call(fulfil, ORDER, "first")
    assert await bench.call(fulfil, ORDER, "second") == first


async def test_other_keys(bench: Bench) -> None:
    """Two keys, two functions and two callers are independent."""
    calls = [(bench.function(), ORDER), (bench.function(), OTHER), (bench.function(name="refund"), ORDER)]
    calls.append((bench.function(caller=lambda note: f"user {note}"), ORDER))
    for function, order_id in calls:
        await bench.call(function, order_id)
    assert await bench.effects() == ["-"] * 4


async def test_exception(bench: Bench) -> None:
    """An exception undoes what was done and frees the key: the next call runs, with other arguments too."""
    fulfil = bench.function()

    def fail() -> None:
        raise BusinessRuleError

    bench.after = fail
    with pytest.raises(BusinessRuleError):
        await bench.call(fulfil, ORDER)
    assert await bench.effects() == []
    bench.after = nothing
    await bench.call(fulfil, ORDER, "again")
    assert await bench.effects() == ["again"]


async def test_still_running(bench: Bench) -> None:
    """While a call runs, the same one is told to come back, and another one under its key is refused."""
    fulfil = bench.function()
    until_it_runs, goes_on = hold(bench)
    first = asyncio.create_task(bench.call(fulfil, ORDER))
    await until_it_runs()
    with pytest.raises(IdempotencyInProgressError) as raised:
        await bench.call(fulfil, ORDER)
    assert raised.value.retryable
    assert raised.value.retry_after
    with pytest.raises(IdempotencyKeyReusedError):
        await bench.call(fulfil, ORDER, "other")
    goes_on.set()
    await first
    assert await bench.effects() == ["-"]
    assert (bench.counted("in_progress"), bench.counted("mismatch")) == (1, 1)


async def test_waiting(bench: Bench) -> None:
    """A call may wait for the one that runs and gets its result; when that takes too long it gives up."""
    until_it_runs, goes_on = hold(bench)
    first = asyncio.create_task(bench.call(bench.function(), ORDER))
    await until_it_runs()
    with pytest.raises(IdempotencyInProgressError):
        await bench.call(bench.function(wait=0.1), ORDER)
    second = asyncio.create_task(bench.call(bench.function(wait=30), ORDER))
    await asyncio.sleep(0.1)
    goes_on.set()
    assert await second == await first
    assert await bench.effects() == ["-"]


async def test_many_at_once(bench: Bench) -> None:
    """Of many calls at once one runs, and all get its result."""
    fulfil = bench.function(wait=30)
    results = await asyncio.gather(*(bench.call(fulfil, ORDER) for _ in range(10)))
    assert len({result.model_dump_json() for result in results}) == 1
    assert await bench.effects() == ["-"]


async def test_long_function_keeps_its_key(bench: Bench) -> None:
    """A function that takes longer than the lease keeps its key, without being asked."""
    fulfil = bench.function(lease=LEASE)
    until_it_runs, goes_on = hold(bench)
    first = asyncio.create_task(bench.call(fulfil, ORDER))
    await until_it_runs()
    await asyncio.sleep(LEASE * 2)
    with pytest.raises(IdempotencyInProgressError):
        await bench.call(fulfil, ORDER)
    goes_on.set()
    await first
    assert await bench.effects() == ["-"]
    assert bench.counted("lease_lost") == 0


async def test_lost_claim(bench: Bench, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lost its claim cannot complete it: undone where effect and record are one, else told in log and metrics."""
    slow, quick = bench.function(lease=0.05), bench.function()
    until_it_runs, goes_on = hold(bench)
    bench.fail(monkeypatch, "renew", IdempotencyStoreError("away"))
    first = asyncio.create_task(bench.call(slow, ORDER))
    await until_it_runs()
    async with asyncio.timeout(10):
        while not log.named("idempotency.renewal_failed"):  # noqa: ASYNC110 -- a thread may bring it about
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    kept = await bench.call(quick, ORDER)
    goes_on.set()
    if bench.is_transactional:
        with pytest.raises(IdempotencyInProgressError):
            await first
    else:
        await first
    assert await bench.effects() == (["-"] if bench.is_transactional else ["-", "-"])
    assert await bench.call(quick, ORDER) == kept
    assert (bench.counted("lease_lost"), len(log.named("idempotency.lease_lost"))) == (1, 1)
    assert len(log.named("idempotency.renewal_failed")) == 1


async def test_expiry(bench: Bench) -> None:
    """A result is kept for its time; then the call counts as new."""
    fulfil = bench.function(ttl=0.2)
    await bench.call(fulfil, ORDER)
    await asyncio.sleep(0.3)
    await bench.call(fulfil, ORDER)
    assert await bench.effects() == ["-", "-"]


async def test_store_is_away_at_the_start(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its store a function does not run, unless the settings say so."""
    bench.fail(monkeypatch, "begin", IdempotencyStoreError("away"))
    with pytest.raises(IdempotencyStoreError):
        await bench.call(bench.function(), ORDER)
    assert await bench.effects() == []
    assert bench.counted("store_error") == 1


async def test_store_is_away_and_functions_run(bench: Bench, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to run without a store, a function does so each time, with a warning."""
    bench.fail(monkeypatch, "begin", IdempotencyStoreError("away"))
    bench.idempotency.journal._rejects = False
    for _ in range(2):
        assert (await bench.call(bench.function(), ORDER)).order_id == ORDER
    assert await bench.effects() == ["-", "-"]
    assert len(log.named("idempotency.unprotected")) == 2


async def test_store_is_away_at_the_end(bench: Bench, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that cannot be kept undoes the effect where both are one; else it is returned, and the loss is told."""
    bench.fail(monkeypatch, "complete", IdempotencyStoreError("away"))
    if bench.is_transactional:
        with pytest.raises(IdempotencyStoreError):
            await bench.call(bench.function(), ORDER)
        assert await bench.effects() == []
        return
    assert (await bench.call(bench.function(), ORDER)).order_id == ORDER
    assert await bench.effects() == ["-"]
    assert [line["operation"] for line in log.named("error.reported")] == ["idempotency.answer_lost"]
    with pytest.raises(IdempotencyInProgressError):
        await bench.call(bench.function(), ORDER)


async def test_key_that_cannot_be_freed(bench: Bench, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the key cannot be freed after a failure, the caller still hears of the failure."""

    def fail() -> None:
        raise BusinessRuleError

    bench.after = fail
    bench.fail(monkeypatch, "release", IdempotencyStoreError("away"))
    with pytest.raises(BusinessRuleError):
        await bench.call(bench.function(), ORDER)
    assert len(log.named("idempotency.release_failed")) == 1


async def test_result_that_cannot_be_kept(bench: Bench) -> None:
    """A result of another type than the annotated one is an error before anything lasts."""
    bench.result = lambda *_: object()
    with pytest.raises(IdempotencyUsageError, match="nothing was done: received a object"):
        await bench.call(bench.function(), ORDER)
    assert await bench.effects() == []
    bench.result = lambda order_id, note: Receipt(order_id=order_id, note=note)
    await bench.call(bench.function(), ORDER)


async def test_large_result(bench: Bench) -> None:
    """A result larger than the limit is returned, but not kept; a repetition is told that the function ran."""
    bench.idempotency.settings.__dict__["max_response_bytes"] = 20
    assert (await bench.call(bench.function(), ORDER)).order_id == ORDER
    with pytest.raises(IdempotencyNotReplayableError):
        await bench.call(bench.function(), ORDER)
    assert await bench.effects() == ["-"]


async def test_failed_commit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the commit fails the caller hears of it, nothing lasts, and the key is free."""
    fulfil = bench.function()

    def fails(_self: object) -> Any:
        msg = "gone"
        raise ConnectionError(msg)

    with monkeypatch.context() as patch:
        for kind in (UnitOfWork, SyncUnitOfWork):
            patch.setattr(kind, "commit", fails)
        with pytest.raises(ConnectionError):
            await bench.call(fulfil, ORDER)
    assert await bench.effects() == []
    await bench.call(fulfil, ORDER)
    assert await bench.effects() == ["-"]


@on_event_loop
async def test_cancelled(bench: Bench) -> None:
    """A cancelled call undoes what it did and frees its key."""
    started = asyncio.Event()

    def wait() -> Any:
        started.set()
        return asyncio.Event().wait()

    bench.after = wait
    call = asyncio.create_task(bench.call(bench.function(), ORDER))
    await started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    bench.after = nothing
    await bench.call(bench.function(), ORDER)
    assert await bench.effects() == ["-"]


@on_event_loop
async def test_no_event_loop_is_blocked(bench: Bench) -> None:
    """On an event loop, waiting for a call that runs elsewhere lets other tasks run."""
    until_it_runs, goes_on = hold(bench)
    first = asyncio.create_task(bench.call(bench.function(), ORDER))
    await until_it_runs()
    second = asyncio.create_task(bench.call(bench.function(wait=30), ORDER))
    for _ in range(100):
        await asyncio.sleep(0.001)
    assert not second.done()
    goes_on.set()
    assert await second == await first
