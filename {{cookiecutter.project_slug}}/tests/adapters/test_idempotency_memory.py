"""What only the memory store does: it is bounded, serves threads, and refuses to be one of several."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.adapters.idempotency_memory import MAX_RECORDS, SyncMemoryIdempotencyStore, _Records
from app.core.idempotency import Claim, Outcome, new_claim
from app.core.idempotency_answer import Answer
from app.core.idempotency_errors import IdempotencyStoreError

from ..processes import run_python

ANSWER = Answer(201, (), b"{}")
LONG = 60.0


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock that the store reads."""
    clock = Clock()
    monkeypatch.setattr("app.adapters.idempotency_memory.time.monotonic", clock)
    return clock


def claim(key: str = "k", fingerprint: str = "f") -> Claim:
    """Return a claim of an owner of its own."""
    return new_claim(caller="ada", operation=("POST", "/orders"), key=key, fingerprint=fingerprint)


def begin(store: SyncMemoryIdempotencyStore, of: Claim, *, lease: float = LONG, ttl: float = LONG) -> Outcome:
    """Return what a request comes to."""
    return store.begin(of, lease=lease, ttl=ttl).outcome


def finish(store: SyncMemoryIdempotencyStore, key: str, *, ttl: float = LONG, answer: Answer = ANSWER) -> None:
    """Run a request from its beginning to its end."""
    of = claim(key)
    assert begin(store, of, ttl=ttl) is Outcome.RUN
    assert store.complete(of, answer, ttl=ttl)


def test_bounded() -> None:
    """The oldest answers go first, never a running request; when all are running no more is taken."""
    store = SyncMemoryIdempotencyStore(max_records=3)
    running, first, second = claim("running"), claim("first"), claim("second")
    for one in (running, second, first):
        begin(store, one)
    for one in (first, second):
        store.complete(one, ANSWER, ttl=LONG)
    assert begin(store, claim("third")) is Outcome.RUN
    assert begin(store, claim("second")) is Outcome.REPLAY
    assert begin(store, claim("running")) is Outcome.IN_PROGRESS
    assert begin(store, claim("fourth")) is Outcome.RUN
    with pytest.raises(IdempotencyStoreError, match="the memory store holds 3 running requests and takes no more"):
        begin(store, claim("fifth"))
    assert store.complete(running, ANSWER, ttl=LONG)
    assert begin(store, claim("fifth")) is Outcome.RUN


def test_what_is_over_goes_first(clock: Clock) -> None:
    """What expired or was abandoned is forgotten before an answer that is still good, however old that is."""
    store = SyncMemoryIdempotencyStore(max_records=3)
    finish(store, "good")
    finish(store, "old", ttl=1)
    begin(store, claim("abandoned"), lease=2, ttl=2)
    clock.now = 1.5
    assert begin(store, claim("new 1")) is Outcome.RUN
    clock.now = 2.5
    assert begin(store, claim("new 2")) is Outcome.RUN
    assert begin(store, claim("good")) is Outcome.REPLAY


def test_renewed_is_not_over(clock: Clock) -> None:
    """A running request that was renewed is not what is over, also when its first lease ended long ago."""
    store, slow = SyncMemoryIdempotencyStore(max_records=2), claim("slow")
    begin(store, slow, lease=1, ttl=1)
    store.renew(slow, lease=LONG)
    begin(store, claim("other"), lease=LONG)
    clock.now = 30
    with pytest.raises(IdempotencyStoreError):
        begin(store, claim("new"))
    assert store.purge(limit=10) == 0
    clock.now = LONG + 1
    assert store.purge(limit=10) == 2


def test_answers_are_bounded_together() -> None:
    """However large answers are, together they stay within a bound; the newest is kept."""
    store = SyncMemoryIdempotencyStore(max_bytes=10_000)
    large = Answer(200, (), b"x" * 4000)
    for key in ("1", "2", "3"):
        finish(store, key, answer=large)
    assert [begin(store, claim(key)) for key in ("3", "2", "1")] == [Outcome.REPLAY, Outcome.REPLAY, Outcome.RUN]
    finish(store, "huge", answer=Answer(200, (), b"x" * 20_000))
    assert begin(store, claim("huge")) is Outcome.REPLAY
    assert begin(store, claim("2")) is Outcome.RUN


def sizes(records: _Records) -> list[int]:
    """Return how much a store keeps, part by part."""
    return [len(records._kept), len(records._finished), len(records._ends), records._bytes]


def test_memory_is_flat() -> None:
    """However many keys come, are answered, are released or expire, what is kept stops growing."""
    store = SyncMemoryIdempotencyStore()
    most = [0, 0, 0, 0]
    for number in range(3 * MAX_RECORDS):
        finish(store, str(number))
        released = claim(f"released {number}")
        begin(store, released)
        store.release(released)
        most = [max(pair) for pair in zip(most, sizes(store._records), strict=True)]
    kept, finished, ends, size = most
    # Each time one of them makes room for the key that is then released.
    assert kept == finished == MAX_RECORDS - 1
    assert ends <= 4 * MAX_RECORDS
    assert size == finished * len(ANSWER.body or b"")
    assert begin(store, claim(str(3 * MAX_RECORDS - 1))) is Outcome.REPLAY
    assert begin(store, claim("0")) is Outcome.RUN


def test_released_and_forgotten_leave_nothing() -> None:
    """What was released, forgotten or is over takes no room."""
    store, first = SyncMemoryIdempotencyStore(), claim("1")
    begin(store, first)
    store.release(first)
    finish(store, "2")
    assert store.forget(claim().caller) == 1
    kept, finished, _, size = sizes(store._records)
    assert (kept, finished, size) == (0, 0, 0)


def test_threads() -> None:
    """Of many threads at once with one key exactly one runs, each time."""
    store, barrier = SyncMemoryIdempotencyStore(), threading.Barrier(8)

    def one_thread(_number: int) -> list[Outcome]:
        outcomes = []
        for key in range(200):
            barrier.wait()
            outcomes.append(begin(store, claim(str(key))))
        return outcomes

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(one_thread, range(8)))
    for of_one_key in zip(*outcomes, strict=True):
        assert sorted(of_one_key) == [Outcome.IN_PROGRESS] * 7 + [Outcome.RUN]


# One of several processes.

SHARED = "IDEMPOTENCY__STORE: received 'memory'; {}, and each process would run what is to run once"
INHERIT = """
import asyncio, os
from app.adapters.idempotency_memory import MemoryIdempotencyStore, SyncMemoryIdempotencyStore
from app.core.idempotency import new_claim
from app.settings import ConfigurationError

store, sync = MemoryIdempotencyStore(), SyncMemoryIdempotencyStore()
claim = new_claim(caller="ada", operation=(), key="k", fingerprint="f")
if os.fork():
    _, status = os.wait()
    asyncio.run(store.begin(claim, lease=1, ttl=1))
    sync.begin(claim, lease=1, ttl=1)
    raise SystemExit(os.waitstatus_to_exitcode(status))
for use in (lambda: sync.begin(claim, lease=1, ttl=1), lambda: asyncio.run(store.begin(claim, lease=1, ttl=1))):
    try:
        use()
    except ConfigurationError as error:
        print(error, flush=True)
os._exit(0)
"""


def test_fork_that_inherits_it() -> None:
    """A fork of the process refuses the store that it inherited, with the remedy; the process itself goes on."""
    ended = run_python("-c", INHERIT)
    assert (ended.stderr, ended.returncode) == ("", 0)
    said = SHARED.format("this process is a fork of the one that made it")
    lines = ended.stdout.splitlines()
    assert [line.startswith(said) for line in lines] == [True, True]
    assert all(line.endswith("for several set sql or redis") for line in lines)


CHILD = """
from multiprocessing import get_context
from app.adapters.idempotency_memory import MemoryIdempotencyStore, SyncMemoryIdempotencyStore
from app.settings import ConfigurationError

def build():
    for kind in (MemoryIdempotencyStore, SyncMemoryIdempotencyStore):
        try:
            kind()
        except ConfigurationError as error:
            print(error, flush=True)

if __name__ == "__main__":
    build()
    child = get_context("spawn").Process(target=build)
    child.start()
    child.join()
    raise SystemExit(child.exitcode)
"""


def test_child_that_builds_one(tmp_path: Path) -> None:
    """A process that was started as one of several cannot build the store; the one that started it can."""
    script = tmp_path / "script.py"
    script.write_text(CHILD)
    ended = run_python(str(script))
    assert (ended.stderr, ended.returncode) == ("", 0)
    said = SHARED.format("this process is a child of another one")
    assert [line.startswith(said) for line in ended.stdout.splitlines()] == [True, True]
