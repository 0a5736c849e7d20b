"""Stores in a database, through SQLAlchemy."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, select, text

from app.adapters.database import Database, sync_engine
from app.adapters.idempotency import SqlIdempotencyStore, SyncSqlIdempotencyStore, metadata, records
from app.adapters.unit_of_work import SyncUnitOfWork, UnitOfWork
from app.settings_groups import DatabaseSettings

from ..databases import ENGINES, own_database
from .opened import PATIENCE, Opened, Threaded

KINDS = tuple(f"{engine}-{mode}" for engine in ENGINES for mode in ("async", "sync"))
PLACES = ENGINES
RIVAL = """
from sqlalchemy.engine import make_url
from app.adapters.database import Database
from app.adapters.idempotency import SqlIdempotencyStore

def open_store(url, service):
    return SqlIdempotencyStore(Database(make_url(url)), timeout=10)
"""


@asynccontextmanager
async def open_kind(kind: str, folder: Path, _request: object) -> AsyncIterator[Opened]:
    """Open a store."""
    place, mode = kind.split("-")
    with own_database(place, folder) as url:
        database, engine = Database(url, DatabaseSettings(connect_timeout=PATIENCE)), sync_engine(url)
        inside = create_engine(url.set(drivername="sqlite") if url.get_backend_name() == "sqlite" else url)
        metadata.create_all(inside)

        def damage(**fields: Any) -> None:
            with inside.begin() as connection:
                given = ", ".join(f"{name} = :{name}" for name in fields)
                connection.execute(text(f"UPDATE idempotency_records SET {given}"), fields)

        def dump() -> str:
            with inside.connect() as connection:
                return str(connection.execute(select(records)).all())

        def again() -> Any:
            if mode == "sync":
                return Threaded(SyncSqlIdempotencyStore(engine, timeout=PATIENCE))
            return SqlIdempotencyStore(database, timeout=PATIENCE)

        def work() -> Any:
            return SyncUnitOfWork(engine) if mode == "sync" else UnitOfWork(database, read_only=False)

        try:
            yield Opened(again(), damage, dump, work, again)
        finally:
            await database.aclose()
            engine.dispose()
            inside.dispose()


@contextmanager
def open_place(place: str, folder: Path, _request: object) -> Iterator[tuple[str, str]]:
    """Return where processes share a store, and the name of its owner."""
    with own_database(place, folder) as url:
        engine = sync_engine(url)
        metadata.create_all(engine)
        engine.dispose()
        yield url.render_as_string(hide_password=False), "unused"
