"""Connections are bounded in time, and a database that was away is used again without anybody's help."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from app.adapters.database import WITHOUT_LIMITS, Database, sync_engine
from app.adapters.database_connection import connect_arguments, database_address
from app.migrations import migrate
from app.settings import Settings
from app.settings_groups import DatabaseSettings

from ..databases import CountedDatabase, own_database
from ..servers import Server, deaf_server, private_postgresql, silent_server

POSTGRESQL = make_url("postgresql+psycopg://me@db/app")
LIMITS = "-c statement_timeout=30000 -c lock_timeout=5000 -c idle_in_transaction_session_timeout=300000"


def address_of(server: Server) -> URL:
    """Return where a server is, with the service's driver."""
    return database_address(Settings(database_url=server.url))


def arguments(url: str = "postgresql+psycopg://me@db/app", **settings: float) -> dict[str, object]:
    """Return what the driver without an event loop is told."""
    return connect_arguments(make_url(url), DatabaseSettings.model_validate(settings), is_async=False)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("sqlite:///x.db", "sqlite+aiosqlite:///x.db"),
        ("postgresql://db/app", "postgresql+psycopg://db/app"),
        ("postgresql+psycopg://u:p%40@db/app", "postgresql+psycopg://u:p%40@db/app"),
    ],
)
def test_drivers(given: str, used: str) -> None:
    """An address gets the asynchronous driver, and keeps its password."""
    assert database_address(Settings(database_url=given)).render_as_string(hide_password=False) == used


def test_arguments() -> None:
    """The server ends what takes too long, and a connection that the network lost is found."""
    assert arguments() == {
        "connect_timeout": 2,
        "tcp_user_timeout": 10_000,
        "keepalives_idle": 10,
        "keepalives_interval": 3,
        "keepalives_count": 3,
        "options": LIMITS,
    }


def test_arguments_switched_off() -> None:
    """What is switched off is not sent, as a pooler between may want it."""
    off = arguments(statement_timeout=0, lock_timeout=0, idle_transaction_timeout=0, tcp_timeout=0, connect_timeout=3.5)
    assert off == {"connect_timeout": 4}


def test_url_wins() -> None:
    """What the URL says itself stays: its parameters, and its options behind ours, where the later one wins."""
    url = "postgresql+psycopg://me@db/app?connect_timeout=9&keepalives_idle=7&options=-csearch_path%3Dx"
    told = arguments(url)
    assert {"connect_timeout", "keepalives_idle"}.isdisjoint(told)
    assert told["options"] == f"{LIMITS} -csearch_path=x"


def test_sqlite_waits_for_a_lock() -> None:
    """SQLite knows one limit, and waits a while also without one."""
    assert arguments("sqlite:///x.db", lock_timeout=2) == {"timeout": 2}
    assert arguments("sqlite:///x.db", lock_timeout=0) == {"timeout": 5}


def test_migrations_have_no_limits() -> None:
    """What an engine is given without settings may take its time."""
    told = connect_arguments(POSTGRESQL, WITHOUT_LIMITS, is_async=False)
    assert "options" not in told


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Return a PostgreSQL that may be stopped, with the service's tables."""
    with private_postgresql() as own:
        migrate(address_of(own))
        yield own


@pytest.fixture
async def database(server: Server, counted: CountedDatabase) -> AsyncIterator[Database]:
    """Return a database on the server."""
    opened = Database(address_of(server), metrics=counted)
    yield opened
    await opened.aclose()


@pytest.fixture
def counted() -> CountedDatabase:
    """Return what the database is counted with."""
    return CountedDatabase()


async def test_limits_hold(server: Server, counted: CountedDatabase) -> None:
    """A statement, and one that waits for a lock, end after their time, and are counted so."""
    database = Database(address_of(server), DatabaseSettings(statement_timeout=0.2, lock_timeout=0.05), metrics=counted)
    async with database.session() as session:
        with pytest.raises(OperationalError) as slow:
            await session.execute(text("SELECT pg_sleep(60)"))
    async with database.engine.begin() as first:
        await first.execute(text("SELECT pg_advisory_xact_lock(1)"))
        async with database.session() as session:
            with pytest.raises(OperationalError) as blocked:
                await session.execute(text("SELECT pg_advisory_xact_lock(1)"))
    await database.aclose()
    assert isinstance(slow.value.orig, psycopg.errors.QueryCanceled)
    assert isinstance(blocked.value.orig, psycopg.errors.LockNotAvailable)
    assert counted.failures == ["timeout", "timeout"]


async def test_idle_transaction_ends(server: Server, counted: CountedDatabase) -> None:
    """A transaction that does nothing gives its locks back, and its connection is not used again."""
    database = Database(address_of(server), DatabaseSettings(idle_transaction_timeout=0.3), metrics=counted)
    async with database.session() as session:
        pid = (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        with psycopg.connect(server.url, autocommit=True) as other:
            while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone():
                other.execute("SELECT pg_sleep(0.01)")
        with pytest.raises(DBAPIError) as ended:
            await session.execute(text("SELECT 1"))
    assert ended.value.connection_invalidated
    async with database.session() as session:
        assert (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one() != pid
    await database.aclose()
    assert counted.failures == ["unavailable"]


@pytest.mark.parametrize("peer", [silent_server, deaf_server])
async def test_peer_that_does_not_answer(
    peer: Callable[[], AbstractContextManager[int]], counted: CountedDatabase
) -> None:
    """A peer that takes no connection, or takes it and says nothing, is given up by the time that is set."""
    with peer() as port:
        database = Database(
            make_url(f"postgresql+psycopg://me@127.0.0.1:{port}/x"),
            DatabaseSettings(connect_timeout=0.05),
            metrics=counted,
        )
        with pytest.raises(OperationalError, match=r"no connection within 0\.05 s \(DATABASE__CONNECT_TIMEOUT\)"):
            await database.ping()
        await database.aclose()
    assert counted.failures == ["unavailable"]


def test_peer_that_does_not_answer_without_a_loop() -> None:
    """Without an event loop the driver's own limit holds, which is two seconds at the least."""
    with silent_server() as port:
        engine = sync_engine(make_url(f"postgresql+psycopg://me@127.0.0.1:{port}/x"))
        with pytest.raises(OperationalError, match="connection timeout expired"):
            engine.connect()
        engine.dispose()


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_restart(server: Server, database: Database, counted: CountedDatabase, end: str) -> None:
    """The first statement after a restart works, on each connection that was open before."""

    async def ask() -> None:
        async with database.session() as first, database.session() as second:
            await first.execute(text("SELECT 1"))
            await second.execute(text("SELECT 1"))

    await ask()
    getattr(server, end)()
    server.start()
    await ask()
    # Of what was found broken in time nobody has heard.
    assert counted.failures == []


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_restart_without_a_loop(server: Server, end: str) -> None:
    """The same holds for code without an event loop."""
    engine = sync_engine(address_of(server))
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    getattr(server, end)()
    server.start()
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    engine.dispose()


async def test_statement_that_a_restart_ends(server: Server, database: Database, counted: CountedDatabase) -> None:
    """A transaction that the end of the server breaks is an outage; the next one works."""
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
        server.stop()
        with pytest.raises(DBAPIError):
            await session.execute(text("SELECT 1"))
    assert counted.failures == ["unavailable"]
    server.start()
    await database.ping()


def test_options_and_limits(tmp_path: Path) -> None:
    """Options of the URL and the limits hold together."""
    with own_database("postgresql", tmp_path) as url:
        engine = sync_engine(url, DatabaseSettings(statement_timeout=7))
        with engine.connect() as connection:
            schema = connection.execute(text("SHOW search_path")).scalar_one()
            limit = connection.execute(text("SHOW statement_timeout")).scalar_one()
        engine.dispose()
    assert (schema[:5], limit) == ("test_", "7s")
