"""What only a database does: statements and round trips, outages, damage that its columns let in."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, false, func, select
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.adapters.database import Database, sync_engine
from app.adapters.database_connection import database_address
from app.adapters.idempotency import (
    MemoryIdempotencyStore,
    SqlIdempotencyStore,
    SyncMemoryIdempotencyStore,
    SyncSqlIdempotencyStore,
    idempotency_store,
    metadata,
    records,
    sync_idempotency_store,
)
from app.adapters.idempotency_statements import CLAIM
from app.adapters.unit_of_work import SyncUnitOfWork, UnitOfWork
from app.core.idempotency import Claim, Decision, Outcome, new_claim
from app.core.idempotency_answer import Answer
from app.core.idempotency_errors import IdempotencyStoreError
from app.settings import Settings
from app.settings_groups import IdempotencySettings

from ..databases import ENGINES, own_database
from ..idempotency_stores import Threaded, open_store
from ..proxy import Proxy, proxy_to

ANSWER = Answer(201, (), b"{}")
LONG = 60.0
SHORT = 0.05
TIMEOUT = 0.3
# Less than psycopg waits for a connection or for a cancelled statement, far more than the store's own time.
GUARD = 2.5


def claim(key: str = "k") -> Claim:
    """Return a claim of an owner of its own."""
    return new_claim(caller="ada", operation=("POST", "/orders"), key=key, fingerprint="f")


async def begin(store: Any, of: Claim, *, lease: float = LONG, ttl: float = LONG) -> Outcome:
    """Return what a request comes to; fails the test when that takes for ever."""
    async with asyncio.timeout(GUARD):
        decision: Decision = await store.begin(of, lease=lease, ttl=ttl)
        return decision.outcome


@pytest.fixture(params=ENGINES)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    """Return a database of each kind, with the table of records."""
    with own_database(request.param, tmp_path) as url:
        database = Database(url)
        async with database.engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
        yield database
        await database.aclose()


@contextmanager
def statements_of(engine: Engine) -> Iterator[list[str]]:
    """Note the first word of every statement."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement.split()[0])

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


async def test_statements(database: Database) -> None:
    """A claim is one statement on PostgreSQL, a new one is on SQLite too; an answer adds one to the transaction."""
    store, first = SqlIdempotencyStore(database), claim()
    is_sqlite = database.url.get_backend_name() == "sqlite"
    with statements_of(database.engine.sync_engine) as seen:
        await begin(store, first)
        assert seen == (["INSERT"] if is_sqlite else ["WITH"])
        work = UnitOfWork(database, read_only=False)
        await (await work.session.connection()).execute(select(1))
        del seen[:]
        await store.complete(first, ANSWER, ttl=LONG, transaction=work)
        assert seen == ["UPDATE"]
        await work.commit()
        await work.aclose()
        del seen[:]
        assert await begin(store, claim()) is Outcome.REPLAY
        assert seen == (["INSERT", "SELECT"] if is_sqlite else ["WITH"])


async def test_one_record_per_key(database: Database) -> None:
    """However often a key is used, it has one record."""
    store = SqlIdempotencyStore(database)
    for _ in range(3):
        assert await begin(store, claim(), lease=SHORT, ttl=SHORT) is Outcome.RUN
        await asyncio.sleep(SHORT * 2)
    async with database.session(read_only=True) as session:
        assert (await session.execute(select(func.count()).select_from(records))).scalar_one() == 1


@pytest.mark.parametrize("ttl", [SHORT, LONG])
async def test_key_that_becomes_free_while_it_is_looked_at(
    database: Database, ttl: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is told to run holds the key, also when it became free between the claim and the look at it."""
    await begin(SqlIdempotencyStore(database), claim(), lease=SHORT, ttl=ttl)
    await asyncio.sleep(SHORT * 2)
    dialect = database.url.get_backend_name()
    real, calls = CLAIM[dialect], iter([True])
    columns = (records.c.fingerprint, records.c.lease_until, records.c.expires_at, records.c.answer)
    found = select(func.nullif(1, 1).label("claimed"), *columns, (records.c.expires_at + LONG).label("now"))
    too_early = (select(records.c.key).where(false()), found)

    class Claims(dict[str, Any]):
        def __getitem__(self, name: str) -> Any:
            return too_early if next(calls, False) else real

    monkeypatch.setattr("app.adapters.idempotency_sql.CLAIM", Claims())
    store, mine = SqlIdempotencyStore(database), claim()
    assert await begin(store, mine) is Outcome.RUN
    assert next(calls, None) is None
    assert await store.complete(mine, ANSWER, ttl=LONG)


async def test_key_that_never_holds_still(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that is always about to become free is told as in progress, not looked at for ever."""
    nothing = select(records.c.key).where(false())
    monkeypatch.setattr("app.adapters.idempotency_sql.CLAIM", {database.url.get_backend_name(): (nothing,)})
    assert await begin(SqlIdempotencyStore(database), claim()) is Outcome.IN_PROGRESS


@pytest.mark.parametrize("kind", ["sqlite-async", "sqlite-sync"])
@pytest.mark.parametrize("fields", [{"lease_until": "soon"}, {"expires_at": "late"}], ids=str)
async def test_damaged_times(kind: str, fields: dict[str, Any], tmp_path: Path) -> None:
    """SQLite keeps words where a number should be; such a record is told as damaged and does not run again."""
    async with open_store(kind, tmp_path) as opened:
        await begin(opened.store, claim())
        opened.damage(**fields)
        decision = await opened.store.begin(claim(), lease=LONG, ttl=LONG)
        assert (decision.outcome, decision.damaged) == (Outcome.NOT_REPLAYABLE, True)


async def test_table_is_gone(database: Database) -> None:
    """A database that fails is an error of the store at every step, which names no value."""
    async with database.engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
    store, work = SqlIdempotencyStore(database), UnitOfWork(database, read_only=False)
    steps: dict[str, Any] = {
        "begin": store.begin(claim(), lease=LONG, ttl=LONG),
        "complete": store.complete(claim(), ANSWER, ttl=LONG),
        "renew": store.renew(claim(), lease=LONG),
        "release": store.release(claim()),
        "purge": store.purge(limit=1),
        "forget": store.forget("x"),
        # Last: on SQLite the transaction stays open, and others would wait for it.
        "complete in a transaction": store.complete(claim(), ANSWER, ttl=LONG, transaction=work),
    }
    for step in steps.values():
        with pytest.raises(IdempotencyStoreError, match=r"^the SQL store failed: \w+Error$"):
            await step
    await work.aclose()


class Base(DeclarativeBase):
    """Tables of this module."""


class Note(Base):
    """Something that an operation writes."""

    __tablename__ = "notes"
    text: Mapped[str] = mapped_column(primary_key=True)


async def test_failure_of_the_operation_stays_its_own(database: Database) -> None:
    """What the operation has not written yet, and must not write, fails as its own and not as the store's."""
    async with database.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    store, mine, work = SqlIdempotencyStore(database), claim(), UnitOfWork(database, read_only=False)
    await begin(store, mine)
    work.session.add(Note(text="twice"))
    await work.session.flush()
    work.session.expunge_all()
    work.session.add(Note(text="twice"))
    assert await store.complete(mine, ANSWER, ttl=LONG, transaction=work)
    with pytest.raises(IntegrityError):
        await work.commit()
    await work.aclose()
    assert await begin(store, claim()) is Outcome.IN_PROGRESS


async def test_clean_up_is_shared(tmp_path: Path) -> None:
    """Clean-ups at the same moment wait for nobody, and delete nothing twice."""
    async with open_store("postgresql-async", tmp_path) as opened:
        for number in range(40):
            await begin(opened.store, claim(str(number)), lease=SHORT, ttl=SHORT)
        await asyncio.sleep(SHORT * 2)
        deleted = await asyncio.gather(*(opened.store.purge(limit=10) for _ in range(8)))
        assert max(deleted) <= 10
        assert sum(deleted) + await opened.store.purge(limit=40) == 40


async def test_what_another_one_cleans_up_is_not_waited_for(tmp_path: Path) -> None:
    """A clean-up goes past what another transaction holds."""
    async with open_store("postgresql-async", tmp_path) as opened:
        assert opened.work is not None
        await begin(opened.store, claim("held"), lease=SHORT, ttl=SHORT)
        await begin(opened.store, claim("free"), lease=SHORT, ttl=SHORT)
        await asyncio.sleep(SHORT * 2)
        work = opened.work()
        await (await work.session.connection()).execute(
            select(records).where(records.c.key == claim("held").key).with_for_update()
        )
        async with asyncio.timeout(GUARD):
            assert await opened.store.purge(limit=10) == 1
        await work.aclose()


async def test_settings_choose(settings: Settings) -> None:
    """Unless the settings name another place, records are in the database."""
    database, engine = Database(database_address(settings)), sync_engine(database_address(settings))
    assert isinstance(idempotency_store(settings, database), SqlIdempotencyStore)
    assert isinstance(sync_idempotency_store(settings, engine), SyncSqlIdempotencyStore)
    in_memory = settings.model_copy(update={"idempotency": IdempotencySettings(store="memory")})
    assert isinstance(idempotency_store(in_memory, database), MemoryIdempotencyStore)
    assert isinstance(sync_idempotency_store(in_memory, engine), SyncMemoryIdempotencyStore)
    await database.aclose()
    engine.dispose()


# Outages of a server.


@dataclass(frozen=True, slots=True)
class Far:
    """A store whose PostgreSQL is behind a proxy, and what opens it."""

    proxy: Proxy
    database: Database
    engine: Engine

    def store(self, mode: str) -> Any:
        """Return a store with an event loop or without one."""
        if mode == "sync":
            return Threaded(SyncSqlIdempotencyStore(self.engine, timeout=TIMEOUT))
        return SqlIdempotencyStore(self.database, timeout=TIMEOUT)


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[Far]:
    """Return a way to PostgreSQL that can fail."""
    with own_database("postgresql", tmp_path) as url:
        near = sync_engine(url)
        metadata.create_all(near)
        near.dispose()
        with proxy_to(str(url.host), url.port or 5432) as proxy:
            through = url.set(host="127.0.0.1", port=proxy.port)
            database, engine = Database(through), sync_engine(through)
            yield Far(proxy, database, engine)
            proxy.go_on()
            await database.aclose()
            engine.dispose()


MODES = pytest.mark.parametrize("mode", ["async", "sync"])


@MODES
async def test_round_trips(far: Far, mode: str) -> None:
    """A step is one round trip, besides the one that tells whether the connection is alive."""
    store, first = far.store(mode), claim()
    await begin(store, claim("another"))
    for step in (
        lambda: begin(store, first),
        lambda: store.renew(first, lease=LONG),
        lambda: store.complete(first, ANSWER, ttl=LONG),
        lambda: begin(store, claim()),
    ):
        before = far.proxy.round_trips
        await step()
        assert far.proxy.round_trips - before <= 2


@MODES
async def test_server_that_hangs(far: Far, mode: str) -> None:
    """A server that hangs costs a bounded time; when it goes on so does the store, without a restart."""
    store = far.store(mode)
    await begin(store, claim("before"))
    far.proxy.hang()
    # The second time there is no connection any more; for a new one libpq waits two seconds, which a loop cuts short.
    for _ in range(1 if mode == "sync" else 2):
        with pytest.raises(IdempotencyStoreError, match="the SQL store failed"):
            await begin(store, claim("meanwhile"))
    far.proxy.go_on()
    assert await begin(store, claim("after")) is Outcome.RUN
    assert await begin(store, claim("before")) is Outcome.IN_PROGRESS


async def test_many_while_the_server_hangs(far: Far) -> None:
    """More requests than there are connections all fail in time while the server hangs."""
    store = far.store("async")
    # To open so many connections at once may take a busy machine longer than a step is given.
    patient = SqlIdempotencyStore(far.database, timeout=GUARD)
    await asyncio.gather(*(begin(patient, claim(str(number))) for number in range(15)))
    far.proxy.hang()
    failed = await asyncio.gather(*(begin(store, claim(f"x{n}")) for n in range(40)), return_exceptions=True)
    assert {type(one) for one in failed} == {IdempotencyStoreError}
    far.proxy.go_on()
    assert await begin(store, claim("after")) is Outcome.RUN


async def test_server_that_never_answered(far: Far) -> None:
    """A server that takes connections and never says a word costs a bounded time."""
    far.proxy.hang()
    with pytest.raises(IdempotencyStoreError, match="the SQL store failed: TimeoutError"):
        await begin(far.store("async"), claim())


def test_server_that_never_answered_without_a_loop(far: Far) -> None:
    """Without an event loop such a server costs what libpq waits at the least, not what the service would."""
    far.proxy.hang()
    asked: list[Any] = []
    event.listen(far.engine, "do_connect", lambda *given: asked.append(given[-1]["connect_timeout"]))
    store = SyncSqlIdempotencyStore(far.engine, timeout=TIMEOUT)
    with pytest.raises(IdempotencyStoreError, match="the SQL store failed"):
        store.begin(claim(), lease=LONG, ttl=LONG)
    assert asked


@MODES
async def test_answer_while_the_server_hangs(far: Far, mode: str) -> None:
    """An answer that cannot be kept in time fails, its transaction with it, and the transaction can be ended."""
    store, mine = far.store(mode), claim()
    await begin(store, mine)
    work: Any = Threaded(SyncUnitOfWork(far.engine)) if mode == "sync" else UnitOfWork(far.database, read_only=False)
    plain = work._plain if mode == "sync" else work
    if mode == "sync":
        await asyncio.to_thread(plain.session.connection)
    else:
        await plain.session.connection()
    far.proxy.hang()
    async with asyncio.timeout(GUARD):
        with pytest.raises(IdempotencyStoreError, match="the SQL store failed"):
            await store.complete(mine, ANSWER, ttl=LONG, transaction=plain)
        await work.rollback()
        await (work.close() if mode == "sync" else work.aclose())
    far.proxy.go_on()
    assert await begin(store, claim()) is Outcome.IN_PROGRESS
    assert await store.complete(mine, ANSWER, ttl=LONG)


@MODES
async def test_server_that_was_restarted(far: Far, mode: str) -> None:
    """Connections that the server closed are replaced: nobody notices."""
    store = far.store(mode)
    await begin(store, claim())
    far.proxy.cut()
    assert await begin(store, claim()) is Outcome.IN_PROGRESS


@MODES
async def test_server_that_is_down(mode: str) -> None:
    """A server that nobody can reach is an error of the store."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    url = URL.create("postgresql+psycopg", "nobody", host="127.0.0.1", port=port, database="none")
    database, engine = Database(url), sync_engine(url)
    store: Any = Threaded(SyncSqlIdempotencyStore(engine)) if mode == "sync" else SqlIdempotencyStore(database)
    with pytest.raises(IdempotencyStoreError, match="the SQL store failed: OperationalError"):
        await begin(store, claim())
    await database.aclose()
    engine.dispose()


async def test_record_within(database: Database) -> None:
    """A record within a transaction is one statement, and lasts or is undone with it."""
    store, first = SqlIdempotencyStore(database), claim()
    for commits, expected in ((False, Outcome.RUN), (True, Outcome.RUN), (True, Outcome.REPLAY)):
        work = UnitOfWork(database, read_only=False)
        with statements_of(database.engine.sync_engine) as seen:
            decision = await store.record(claim(), ANSWER, ttl=LONG, transaction=work)
        assert decision.outcome is expected
        wanted = ["INSERT"] if expected is Outcome.RUN else ["INSERT", "SELECT"]
        assert [one for one in seen if one != "BEGIN"] == wanted
        await (work.commit() if commits else work.rollback())
        await work.aclose()
    assert decision.answer == ANSWER
    assert await begin(store, first) is Outcome.REPLAY


async def test_record_and_a_claim(database: Database) -> None:
    """A record within a transaction heeds a claim that holds, and takes over one that was abandoned."""
    store = SqlIdempotencyStore(database)

    async def recorded(of: Claim) -> Outcome:
        work = UnitOfWork(database, read_only=False)
        decision = await store.record(of, ANSWER, ttl=LONG, transaction=work)
        await (work.commit() if decision.outcome is Outcome.RUN else work.rollback())
        await work.aclose()
        return decision.outcome

    assert await begin(store, claim()) is Outcome.RUN
    assert await recorded(claim()) is Outcome.IN_PROGRESS
    assert await recorded(claim()._replace(fingerprint="other")) is Outcome.MISMATCH
    assert await begin(store, claim("short"), lease=SHORT) is Outcome.RUN
    await asyncio.sleep(SHORT * 2)
    assert await recorded(claim("short")) is Outcome.RUN
    assert await recorded(claim("short")) is Outcome.REPLAY


async def test_record_is_purged(database: Database) -> None:
    """A record within a transaction is purged when its time is over, as any other."""
    store = SqlIdempotencyStore(database)
    work = UnitOfWork(database, read_only=False)
    await store.record(claim(), ANSWER, ttl=SHORT, transaction=work)
    await work.commit()
    await work.aclose()
    await asyncio.sleep(SHORT * 2)
    assert await store.purge(limit=10) == 1
