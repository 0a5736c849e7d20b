"""Stores in a database, through Django's connection."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from django.db import connections

from app.web.idempotency_store import OrmIdempotencyStore
from app.web.unit_of_work import AtomicWork

from ..web.databases import ENGINES, OneThread, create_tables, named, own_url, query
from .opened import Opened

KINDS = tuple(f"orm_{engine}-sync" for engine in ENGINES)
PLACES = tuple(f"orm_{engine}" for engine in ENGINES)
RIVAL = """
import os

def open_store(url, service):
    os.environ.update(DATABASE_URL=url, DJANGO_SETTINGS_MODULE="app.web.settings")
    import django
    django.setup()
    from app.web.idempotency_store import OrmIdempotencyStore
    from app.web.idempotent_functions import ThreadedStore
    return ThreadedStore(OrmIdempotencyStore(timeout=10))
"""


class ThreadWork:
    """A unit of work in a thread of its own, as its transaction must be.

    Args:
        name: The database's name in Django's settings.

    """

    def __init__(self, name: str) -> None:
        self.thread = OneThread(name)
        self._work = self.thread.run(AtomicWork, name)

    def commit(self) -> None:
        """Make what was done permanent."""
        self.thread.run(self._work.commit)

    def rollback(self) -> None:
        """Undo what was done."""
        self.thread.run(self._work.rollback)

    def close(self) -> None:
        """Undo what was not committed."""
        self.thread.run(self._work.close)
        self.thread.close()


class ThreadedOrm:
    """A store whose steps run in threads, none of which keeps its connection.

    Args:
        store: The store.
        name: The database's name in Django's settings.

    """

    def __init__(self, store: OrmIdempotencyStore, name: str) -> None:
        self.transactional = store.transactional
        self._store = store
        self._name = name

    def __getattr__(self, step: str) -> Any:
        """Return a step."""

        def run(*arguments: Any, transaction: ThreadWork | None = None, **options: Any) -> Any:
            method = getattr(self._store, step)
            if transaction is not None:
                return transaction.thread.run(method, *arguments, transaction=transaction, **options)
            try:
                return method(*arguments, **options)
            finally:
                connections[self._name].close()

        async def call(*arguments: Any, **options: Any) -> Any:
            return await asyncio.to_thread(run, *arguments, **options)

        return call


@asynccontextmanager
async def open_kind(kind: str, folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    """Open a store."""
    engine = kind.removeprefix("orm_").removesuffix("-sync")
    with own_url(engine, folder) as url, named(url, request.getfixturevalue("django_db_blocker")) as name:
        await asyncio.to_thread(create_tables, name, "service.IdempotencyRecord")

        def damage(**fields: Any) -> None:
            given = ", ".join(f"{column} = %({column})s" for column in fields)
            OneThread(name).run(query, name, f"UPDATE idempotency_records SET {given}", fields)

        def dump() -> str:
            return str(OneThread(name).run(query, name, "SELECT * FROM idempotency_records"))

        def again() -> Any:
            return cast("Any", ThreadedOrm(OrmIdempotencyStore(name), name))

        yield Opened(again(), damage, dump, lambda: ThreadWork(name), again)


@contextmanager
def open_place(place: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Return where processes share a store, and the name of its owner."""
    with own_url(place.removeprefix("orm_"), folder) as url:
        with named(url, request.getfixturevalue("django_db_blocker")) as name:
            create_tables(name, "service.IdempotencyRecord")
        yield url, "unused"
