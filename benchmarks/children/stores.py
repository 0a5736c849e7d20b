"""What a store of idempotency records is asked for, counted, and the same done by its bare client: the floor."""

import asyncio
import secrets
import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg
from app.bootstrap import Services
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from sqlalchemy import event
from sqlalchemy.engine import URL, Engine

KINDS = ("plain", "new", "replay")
TABLE = "idempotency_records"
HASH_LENGTH = 64
# Until a server that was told to has changed how it logs, or what it logged is in its file.
SETTLE_SECONDS = 0.5
One = Callable[[str], Awaitable[None]]
Step = Callable[[], Awaitable[object]]
Statement = tuple[str, Any]
Asked = dict[str, dict[str, int]]


class Store:
    """A store without round trips, as that in memory.

    Args:
        one: Sends one request of a kind.
    """

    def __init__(self, one: One) -> None:
        self.one = one
        self.floors: dict[str, Step] = {}

    async def count(self, log: str) -> Asked:  # noqa: ARG002 -- only a server has one
        """Return how often a request of each kind asks for what."""
        return {}


class SqlStore(Store):
    """A store in the service's database.

    Args:
        one: Sends one request of a kind.
        address: Where the database is, when it is a server that can log what it runs.
    """

    def __init__(self, one: One, address: str) -> None:
        super().__init__(one)
        self._address = address

    async def count(self, log: str) -> Asked:
        """Return the store's statements for each kind, and all that the server ran for it, where there is one."""
        asked: Asked = {}
        for kind in KINDS:
            with recorded() as statements:
                await self.one(kind)
            asked[kind] = {"of the store": len(of_store(statements))}
        if log:
            await log_statements(self._address)
            for kind in KINDS:
                before = logged(log)
                await self.one(kind)
                await asyncio.sleep(SETTLE_SECONDS)
                asked[kind]["on the server"] = logged(log) - before
        return asked


class RedisStore(Store):
    """A store in Redis.

    Args:
        one: Sends one request of a kind.
        url: Where Redis is.
    """

    def __init__(self, one: One, url: str) -> None:
        super().__init__(one)
        self._url = url

    async def count(self, log: str) -> Asked:  # noqa: ARG002 -- Redis says it over a connection
        """Return the commands of each kind, as Redis sees them; those of a script are none of the client's."""
        asked: Asked = {}
        for kind in KINDS:
            with monitored(self._url) as commands:
                await self.one(kind)
            asked[kind] = {"round trips": sum(commands.values())}
        return asked


@asynccontextmanager
async def opened(services: Services, one: One) -> AsyncIterator[Store]:
    """Give the store that the services use, with its floors.

    Args:
        services: The application's.
        one: Sends one request of a kind.
    """
    if services.settings.idempotency.store == "redis":
        url = str(services.settings.redis_url)
        async with AsyncRedis.from_url(url) as client:
            yield await redis_store(client, one, url)
    elif services.settings.idempotency.store == "sql":
        url = services.database.url
        async with bare(url) as execute:
            yield await sql_store(execute, SqlStore(one, address(url)))
    else:
        yield Store(one)


async def sql_store(execute: Callable[[Statement], Awaitable[object]], store: SqlStore) -> Store:
    """Give a store its floors: its own statements on a bare connection, under ever new keys."""
    with recorded() as statements:
        await store.one("new")
    new = of_store(statements)
    key = common_key(new)
    with recorded() as statements:
        await store.one("replay")
    replay = of_store(statements)

    async def new_key() -> None:
        other = secrets.token_hex(32)
        for statement in new:
            await execute(replaced(statement, key, other))

    async def known_key() -> None:
        for statement in replay:
            await execute(statement)

    store.floors = {"new": new_key, "replay": known_key}
    return store


@asynccontextmanager
async def bare(url: URL) -> AsyncIterator[Callable[[Statement], Awaitable[object]]]:
    """Give what runs a statement on one connection of the driver alone, each in a transaction of its own."""
    if url.get_backend_name() == "sqlite":
        connection = sqlite3.connect(str(url.database), isolation_level=None)
        connection.execute("PRAGMA synchronous=NORMAL")

        async def on_sqlite(statement: Statement) -> object:
            return connection.execute(*statement).fetchall()

        yield on_sqlite
        connection.close()
        return
    async with await psycopg.AsyncConnection.connect(address(url), autocommit=True) as server:

        async def on_postgresql(statement: Statement) -> object:
            return await (await server.execute(*statement)).fetchall()

        yield on_postgresql


async def redis_store(client: AsyncRedis, one: One, url: str) -> Store:
    """Return a store whose floors are as many scripts as it runs, each of which touches one key."""
    store = RedisStore(one, url)
    claim = await client.script_load("return redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'fingerprint', ARGV[2])")
    keep = await client.script_load("return redis.call('HSET', KEYS[1], 'answer', ARGV[1])")
    look = await client.script_load("return redis.call('HMGET', KEYS[1], 'owner', 'fingerprint', 'answer')")

    async def new_key() -> None:
        key = secrets.token_hex(32)
        await client.evalsha(claim, 1, key, key[:32], key)
        await client.evalsha(keep, 1, key, "x" * 300)

    known = secrets.token_hex(32)
    await client.evalsha(claim, 1, known, known[:32], known)
    await client.evalsha(keep, 1, known, "x" * 300)
    store.floors = {"new": new_key, "replay": lambda: client.evalsha(look, 1, known)}
    return store


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Collect the statements that are sent within the block, whatever engine sends them."""
    statements: list[Statement] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def of_store(statements: list[Statement]) -> list[Statement]:
    """Return those that are about idempotency records."""
    return [statement for statement in statements if TABLE in statement[0]]


def common_key(statements: list[Statement]) -> str:
    """Return the key that all statements of a new key are about: the one hash that each of them has."""
    hashes = [
        {value for value in values(given) if isinstance(value, str) and len(value) == 64} for _, given in statements
    ]
    (key,) = set.intersection(*hashes)
    return str(key)


def values(parameters: Any) -> list[Any]:
    """Return the values of parameters, which have names or places."""
    return list(parameters.values() if isinstance(parameters, dict) else parameters)


def replaced(statement: Statement, old: str, new: str) -> Statement:
    """Return a statement about another key."""
    text, given = statement
    if isinstance(given, dict):
        return text, {name: new if value == old else value for name, value in given.items()}
    return text, tuple(new if value == old else value for value in given)


def address(url: URL) -> str:
    """Return a database's address as its driver alone takes it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


async def log_statements(server: str) -> None:
    """Have a PostgreSQL write every statement to its log from now on."""
    async with await psycopg.AsyncConnection.connect(server, autocommit=True) as connection:
        await connection.execute("ALTER SYSTEM SET log_statement = 'all'")
        await connection.execute("SELECT pg_reload_conf()")
    await asyncio.sleep(SETTLE_SECONDS)


def logged(log: str) -> int:
    """Return how many statements stand in the log of a PostgreSQL, those that begin and end transactions included."""
    lines = Path(log).read_text(encoding="utf-8").splitlines()
    return sum("LOG:  statement:" in line or "LOG:  execute" in line for line in lines)


@contextmanager
def monitored(url: str) -> Iterator[Counter[str]]:
    """Count the commands that clients send to a Redis within the block."""
    commands: Counter[str] = Counter()
    end = secrets.token_hex(16)
    with Redis.from_url(url) as client, client.monitor() as monitor:

        def listen() -> None:
            for seen in monitor.listen():
                if end in seen["command"]:
                    return
                commands[seen["command"].split()[0].upper()] += seen["client_type"] != "lua"

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        yield commands
        with Redis.from_url(url) as other:
            other.echo(end)
        listener.join()
    # What opens the connection that says that it is over.
    for name in ("HELLO", "CLIENT", "SELECT"):
        del commands[name]
