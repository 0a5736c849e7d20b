"""A SQLite file lets readers work beside one writer, who holds its lock only while it is needed."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, ProgrammingError, connections, transaction

from ..databases import named, query
from ..keyed import in_thread


@pytest.fixture
def name(tmp_path: Path, django_db_blocker: Any) -> Iterator[str]:
    """Return the name of a file in a folder that is not there yet, with a table."""
    with named(f"sqlite:///{tmp_path}/new/folder/own.db", django_db_blocker, lock_timeout=0.2) as found:
        query(found, "CREATE TABLE notes (text varchar(10) PRIMARY KEY)")
        yield found


def write(name: str, text: str) -> None:
    """Write a note in this thread."""
    with connections[name].cursor() as cursor:
        cursor.execute("INSERT INTO notes VALUES (%s)", [text])


def write_elsewhere(name: str, text: str) -> None:
    """Write a note in another thread."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(in_thread(write), name, text).result()


@contextmanager
def lost(name: str) -> Iterator[None]:
    """Begin a transaction, and lose its connection."""
    with transaction.atomic(using=name):
        connections[name].close()
        yield


def both(name: str, *texts: str) -> None:
    """Write notes in one transaction."""
    with transaction.atomic(using=name):
        for text in texts:
            write(name, text)


def notes(name: str) -> list[str]:
    """Return the notes that last."""
    return [text for (text,) in query(name, "SELECT text FROM notes ORDER BY text")]


def test_modes(name: str) -> None:
    """Readers and a writer work side by side, and references are checked."""
    found = {mode: query(name, f"PRAGMA {mode}")[0][0] for mode in ("journal_mode", "synchronous", "foreign_keys")}
    assert found == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1}


def test_lock_is_taken_with_the_first_statement(name: str) -> None:
    """A transaction keeps nobody waiting before its first statement, and everybody who writes from then on."""
    with transaction.atomic(using=name):
        write_elsewhere(name, "a")
        with transaction.atomic(using=name):
            write(name, "b")
        with pytest.raises(OperationalError, match="locked"):
            write_elsewhere(name, "c")
    assert notes(name) == ["a", "b"]


def test_transaction_of_a_lock_that_was_refused(name: str) -> None:
    """Who goes on after the lock was refused is not suddenly without a transaction."""
    other = connections.create_connection(name)
    other.set_autocommit(False, force_begin_transaction_with_broken_autocommit=True)
    other.cursor().execute("INSERT INTO notes VALUES ('held')")
    with transaction.atomic(using=name):
        with pytest.raises(OperationalError, match="locked"):
            write(name, "a")
        other.rollback()
        write(name, "b")
        connections[name].set_rollback(True)
    other.close()
    assert notes(name) == []


def test_undone(name: str) -> None:
    """What a block did is undone with it, within another block too."""
    with transaction.atomic(using=name):
        write(name, "a")
        with pytest.raises(IntegrityError):
            both(name, "b", "a")
    with pytest.raises(IntegrityError):
        both(name, "c", "a")
    assert notes(name) == ["a"]


def test_connection_that_was_lost(name: str) -> None:
    """A connection that was closed within a block begins nothing when it is opened again."""
    with pytest.raises(ProgrammingError), lost(name):
        write(name, "a")
    write(name, "b")
    assert notes(name) == ["b"]


def test_file_that_is_locked_by_its_first_user(tmp_path: Path, django_db_blocker: Any) -> None:
    """Who finds a new file in use by another that starts works with it all the same."""
    path = tmp_path / "own.db"
    with sqlite3.connect(path, isolation_level=None) as first:
        first.execute("BEGIN IMMEDIATE")
        with named(f"sqlite:///{path}", django_db_blocker, lock_timeout=0.1) as name:
            connections[name].ensure_connection()
        first.execute("ROLLBACK")
    first.close()
