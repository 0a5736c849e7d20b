"""What only the store in Django's database does: statements and round trips, outages, transactions around it."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.db import connections, transaction

from app.core.idempotency import Claim, Outcome, new_claim
from app.core.idempotency_answer import Answer
from app.core.idempotency_errors import IdempotencyStoreError
from app.web import idempotency_store
from app.web.idempotency_statements import CLAIM
from app.web.idempotency_store import OrmIdempotencyStore
from app.web.unit_of_work import AtomicWork

from ..proxy import Proxy, proxy_to
from .databases import ENGINES, SERVER, create_tables, named, own_url, query
from .keyed import in_thread

ANSWER = Answer(201, (), b"{}")
LONG = 60.0
SHORT = 0.05
TIMEOUT = 0.3
# Less than a connection is waited for, far more than the store's own time.
GUARD = 2.5


def claim(key: str = "k") -> Claim:
    """Return a claim of an owner of its own."""
    return new_claim(caller="ada", operation=("POST", "/orders"), key=key, fingerprint="f")


def begin(store: OrmIdempotencyStore, of: Claim, *, lease: float = LONG, ttl: float = LONG) -> Outcome:
    """Return what a request comes to."""
    return store.begin(of, lease=lease, ttl=ttl).outcome


@pytest.fixture(params=ENGINES)
def name(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: Any) -> Iterator[str]:
    """Return the name of a database of each kind, with the table of records."""
    with own_url(request.param, tmp_path) as url, named(url, django_db_blocker) as found:
        create_tables(found, "service.IdempotencyRecord")
        yield found


@pytest.fixture
def postgresql(tmp_path: Path, django_db_blocker: Any) -> Iterator[str]:
    """Return the name of a database on PostgreSQL, with the table of records."""
    with own_url("postgresql", tmp_path) as url, named(url, django_db_blocker) as found:
        create_tables(found, "service.IdempotencyRecord")
        yield found


class Seen:
    """The first words of the statements of this thread's connection."""

    def __init__(self, name: str) -> None:
        self.words: list[str] = []
        connections[name].execute_wrappers.insert(0, self)

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        """Note a statement."""
        self.words.append(sql.split()[0])
        return execute(sql, params, many, context)

    def take(self) -> list[str]:
        """Return what came since the last time."""
        words, self.words = self.words, []
        return words


def test_statements(name: str) -> None:
    """A claim is one statement on PostgreSQL, a new one is on SQLite too; an answer adds one to the transaction."""
    store, first, seen = OrmIdempotencyStore(name), claim(), Seen(name)
    is_sqlite = connections[name].vendor == "sqlite"
    begin(store, first)
    assert seen.take() == (["INSERT"] if is_sqlite else ["WITH"])
    with transaction.atomic(using=name):
        store.complete(first, ANSWER, ttl=LONG, transaction=True)
    assert sorted(seen.take()) == (["BEGIN", "UPDATE"] if is_sqlite else ["UPDATE"])
    assert begin(store, claim()) is Outcome.REPLAY
    assert seen.take() == (["INSERT", "SELECT"] if is_sqlite else ["WITH"])


def test_one_record_per_key(name: str) -> None:
    """However often a key is used, it has one record."""
    store = OrmIdempotencyStore(name)
    for _ in range(3):
        assert begin(store, claim(), lease=SHORT, ttl=SHORT) is Outcome.RUN
        time.sleep(SHORT * 2)
    assert query(name, "SELECT count(*) FROM idempotency_records") == [(1,)]


def test_key_that_becomes_free_while_it_is_looked_at(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is told to run holds the key, also when it became free between the claim and the look at it."""
    store, mine = OrmIdempotencyStore(name), claim()
    begin(store, claim(), lease=SHORT)
    time.sleep(SHORT * 2)
    vendor = connections[name].vendor
    late = "SELECT NULL, fingerprint, lease_until, expires_at, answer, lease_until + 1 FROM idempotency_records"
    calls = iter([(late,)])

    class Claims(dict[str, Any]):
        def __getitem__(self, vendor: str) -> Any:
            return next(calls, CLAIM[vendor])

    monkeypatch.setattr(idempotency_store, "CLAIM", Claims())
    assert begin(store, mine) is Outcome.RUN
    assert store.complete(mine, ANSWER, ttl=LONG)
    nothing = f"SELECT key FROM idempotency_records WHERE 1 = 2 -- {vendor}"
    monkeypatch.setattr(idempotency_store, "CLAIM", {vendor: (nothing,)})
    assert begin(store, claim("never still")) is Outcome.IN_PROGRESS


def test_table_is_gone(name: str) -> None:
    """A database that fails is an error of the store at every step, which names no value."""
    query(name, "DROP TABLE idempotency_records")
    store = OrmIdempotencyStore(name)
    steps: list[Any] = [
        lambda: store.begin(claim(), lease=LONG, ttl=LONG),
        lambda: store.complete(claim(), ANSWER, ttl=LONG),
        lambda: store.renew(claim(), lease=LONG),
        lambda: store.release(claim()),
        lambda: store.purge(limit=1),
        lambda: store.forget("x"),
    ]
    for step in steps:
        with pytest.raises(IdempotencyStoreError, match=r"^the SQL store failed: \w+Error$"):
            step()
    with transaction.atomic(using=name):
        with pytest.raises(IdempotencyStoreError, match=r"^the SQL store failed: \w+Error$"):
            store.complete(claim(), ANSWER, ttl=LONG, transaction=True)
        connections[name].set_rollback(True)


def test_claim_within_a_transaction(postgresql: str) -> None:
    """A claim lasts although the transaction around it is undone, and others see it at once."""
    store = OrmIdempotencyStore(postgresql)
    with transaction.atomic(using=postgresql):
        assert begin(store, claim()) is Outcome.RUN
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(in_thread(lambda: begin(store, claim()))).result() is Outcome.IN_PROGRESS
        connections[postgresql].set_rollback(True)
    assert begin(store, claim()) is Outcome.IN_PROGRESS


@pytest.mark.parametrize("fields", [{"lease_until": "soon"}, {"expires_at": "late"}], ids=str)
def test_damaged_times(tmp_path: Path, django_db_blocker: Any, fields: dict[str, str]) -> None:
    """SQLite keeps words where a number should be; such a record is told as damaged and does not run again."""
    with own_url("sqlite", tmp_path) as url, named(url, django_db_blocker) as name:
        create_tables(name, "service.IdempotencyRecord")
        store = OrmIdempotencyStore(name)
        begin(store, claim())
        ((column, value),) = fields.items()
        query(name, f"UPDATE idempotency_records SET {column} = %s", [value])
        decision = store.begin(claim(), lease=LONG, ttl=LONG)
        assert (decision.outcome, decision.damaged) == (Outcome.NOT_REPLAYABLE, True)


def test_clean_up_is_shared(postgresql: str) -> None:
    """Clean-ups at the same moment wait for nobody, and delete nothing twice."""
    store = OrmIdempotencyStore(postgresql)
    for number in range(40):
        begin(store, claim(str(number)), lease=SHORT, ttl=SHORT)
    time.sleep(SHORT * 2)
    with ThreadPoolExecutor(8) as pool:
        deleted = list(pool.map(in_thread(lambda _: store.purge(limit=10)), range(8)))
    assert max(deleted) <= 10
    assert sum(deleted) + store.purge(limit=40) == 40


def test_what_another_one_cleans_up_is_not_waited_for(postgresql: str) -> None:
    """A clean-up goes past what another transaction holds."""
    store = OrmIdempotencyStore(postgresql)
    for key in ("held", "free"):
        begin(store, claim(key), lease=SHORT, ttl=SHORT)
    time.sleep(SHORT * 2)
    with transaction.atomic(using=postgresql), connections[postgresql].cursor() as cursor:
        cursor.execute("SELECT * FROM idempotency_records WHERE key = %s FOR UPDATE", [claim("held").key])
        assert store.purge(limit=10) == 1


# Outages of a server.


@dataclass(frozen=True, slots=True)
class Far:
    """A store whose PostgreSQL is behind a proxy."""

    proxy: Proxy
    name: str
    store: OrmIdempotencyStore


@pytest.fixture
def far(tmp_path: Path, django_db_blocker: Any) -> Iterator[Far]:
    """Return a way to PostgreSQL that can fail."""
    host, port = SERVER.split("@")[-1].split("/")[0].split(":")
    with own_url("postgresql", tmp_path) as url:
        with named(url, django_db_blocker) as near:
            create_tables(near, "service.IdempotencyRecord")
        with proxy_to(host, int(port)) as proxy:
            through = url.replace(f"{host}:{port}", f"127.0.0.1:{proxy.port}")
            with named(through, django_db_blocker, pool_size=1, pool_overflow=0, connect_timeout=TIMEOUT) as name:
                yield Far(proxy, name, OrmIdempotencyStore(name, timeout=TIMEOUT))
                proxy.go_on()


def test_round_trips(far: Far) -> None:
    """A step is one round trip on a connection that the request has already."""
    first = claim()
    begin(far.store, claim("another"))
    steps: list[Any] = [
        lambda: begin(far.store, first),
        lambda: far.store.complete(first, ANSWER, ttl=LONG),
        lambda: begin(far.store, claim()),
    ]
    for step in steps:
        before = far.proxy.round_trips
        step()
        assert far.proxy.round_trips - before == 1


def test_server_that_hangs(far: Far) -> None:
    """A server that hangs costs a bounded time, on a connection that is there and on a new one; then all goes on."""
    begin(far.store, claim("before"))
    far.proxy.hang()
    for _ in range(3):
        started = time.monotonic()
        with pytest.raises(IdempotencyStoreError, match="the SQL store failed"):
            begin(far.store, claim("meanwhile"))
        assert time.monotonic() - started < GUARD
    far.proxy.go_on()
    _once_up(far)
    assert begin(far.store, claim("before")) is Outcome.IN_PROGRESS


def query_in(name: str) -> None:
    """Run a statement in the transaction that is open."""
    with connections[name].cursor() as cursor:
        cursor.execute("SELECT 1")


def _once_up(far: Far) -> None:
    """Wait until the pool has connected: an attempt from before may have to fail first."""
    deadline = time.monotonic() + 30
    while True:
        try:
            assert begin(far.store, claim("after")) is Outcome.RUN
        except IdempotencyStoreError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return


def test_answer_while_the_server_hangs(far: Far) -> None:
    """An answer that cannot be kept in time fails, its transaction with it, and the transaction can be ended."""
    mine = claim()
    begin(far.store, mine)
    work = AtomicWork(far.name)
    query_in(far.name)
    far.proxy.hang()
    with pytest.raises(IdempotencyStoreError, match="the SQL store failed"):
        far.store.complete(mine, ANSWER, ttl=LONG, transaction=work)
    work.rollback()
    far.proxy.go_on()
    _once_up(far)
    assert begin(far.store, claim()) is Outcome.IN_PROGRESS
    assert far.store.complete(mine, ANSWER, ttl=LONG)


def test_server_that_was_restarted(far: Far) -> None:
    """Pooled connections that the server closed are replaced: nobody notices."""
    store = OrmIdempotencyStore(far.name)
    begin(store, claim())
    connections[far.name].close()
    far.proxy.cut()
    assert begin(store, claim()) is Outcome.IN_PROGRESS


def test_server_that_is_down(django_db_blocker: Any) -> None:
    """A server that nobody can reach is an error of the store at once, for all who wait."""
    with named("postgresql://nobody@127.0.0.1:1/none", django_db_blocker, pool_timeout=30) as name:
        store, barrier = OrmIdempotencyStore(name, timeout=10), threading.Barrier(5)

        def fail(_: int) -> str:
            barrier.wait()
            with pytest.raises(IdempotencyStoreError) as raised:
                begin(store, claim())
            return str(raised.value)

        started = time.monotonic()
        with ThreadPoolExecutor(5) as pool:
            told = set(pool.map(in_thread(fail), range(5)))
        assert told == {"the SQL store failed: OperationalError"}
        assert time.monotonic() - started < 5
