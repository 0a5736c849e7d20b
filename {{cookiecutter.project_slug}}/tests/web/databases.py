"""Databases that a test has to itself, under a name of their own in Django's settings."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import psycopg
import pytest
from django.apps import apps
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connections
from django.db.utils import ConnectionHandler

from app.settings_groups import DatabaseSettings
from app.web.configuration import DjangoSettings
from app.web.database import databases

ENGINES = ("sqlite", "postgresql")
SERVER = os.environ.get("TEST_POSTGRESQL_URL", "postgresql://postgres@127.0.0.1:5432/test")
T = TypeVar("T")


@contextmanager
def own_url(engine: str, folder: Path) -> Iterator[str]:
    """Return the address of an empty database; skips by name when its server is not reachable.

    Args:
        engine: `sqlite` or `postgresql`.
        folder: Where a file may be.

    """
    if engine == "sqlite":
        yield f"sqlite:///{folder}/own.db"
        return
    reason = _unreachable()
    if reason:
        pytest.skip(f"PostgreSQL: TEST_POSTGRESQL_URL is not reachable ({reason})")
    schema = f"test_{uuid4().hex}"
    _execute(f"CREATE SCHEMA {schema}")
    try:
        yield f"{SERVER}?options=-csearch_path%3D{schema}"
    finally:
        _execute(f"DROP SCHEMA {schema} CASCADE")


@contextmanager
def named(url: str, blocker: Any, **settings: Any) -> Iterator[str]:
    """Return the name under which Django knows a database while the block runs.

    Args:
        url: Its address.
        blocker: Pytest-django's, which lets nobody near a database otherwise.
        settings: Of the group `DATABASE`.

    """
    name = f"own_{uuid4().hex}"
    wanted = databases(DjangoSettings(database_url=url, database=DatabaseSettings(**settings)))
    connections.settings[name] = ConnectionHandler().configure_settings(wanted)["default"]
    with blocker.unblock():
        try:
            yield name
        finally:
            # On an event loop nobody has one in this thread.
            with suppress(SynchronousOnlyOperation):
                connections[name].close()
            close_pool(name)
            del connections[name], connections.settings[name]


def close_pool(name: str) -> None:
    """Close the connections that a database's pool holds.

    Args:
        name: The database's name in Django's settings.

    """
    close: Callable[[], None] | None = getattr(connections[name], "close_pool", None)
    if close is not None:
        close()


def create_tables(name: str, *models: str) -> None:
    """Create tables.

    Args:
        name: The database's name in Django's settings.
        models: Which ones, as `app_label.Model`.

    """
    with connections[name].schema_editor() as editor:
        for model in models:
            editor.create_model(apps.get_model(model))
    connections[name].close()


def query(name: str, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Run a statement on a connection of its own, and return its rows.

    Args:
        name: The database's name in Django's settings.
        statement: SQL.
        parameters: Its parameters.

    """
    with closing(connections[name].copy()) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall()) if cursor.description else []


class OneThread:
    """A thread that has a connection of its own, for code on an event loop and for transactions.

    Args:
        name: The database's name in Django's settings.

    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread = ThreadPoolExecutor(1)

    def run(self, act: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Return what a function returns in the thread."""
        return self._thread.submit(act, *arguments, **options).result()

    def close(self) -> None:
        """End the thread and its connection."""
        self.run(self._close)
        self._thread.shutdown()

    def _close(self) -> None:
        connections[self._name].close()


@lru_cache(maxsize=1)
def _unreachable() -> str:
    """Return why the server cannot be used, or nothing."""
    try:
        _execute("SELECT 1")
    except psycopg.OperationalError as error:
        return str(error).splitlines()[0]
    return ""


def _execute(statement: str) -> None:
    # A test that failed may have left a connection: dropping must not wait for it forever.
    options = "-clock_timeout=10s"
    with psycopg.connect(SERVER, connect_timeout=3, autocommit=True, options=options) as connection:
        connection.execute(statement.encode())
