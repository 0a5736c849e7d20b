"""Why a database failed, from what its driver says."""

import sqlite3

import psycopg
import pytest

from app.core.query_failures import query_failure


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (psycopg.errors.QueryCanceled(), "timeout"),
        (psycopg.errors.LockNotAvailable(), "timeout"),
        (psycopg.errors.IdleInTransactionSessionTimeout(), "timeout"),
        (psycopg.errors.DeadlockDetected(), "conflict"),
        (psycopg.errors.SerializationFailure(), "conflict"),
        (psycopg.errors.UniqueViolation(), "constraint"),
        (psycopg.errors.AdminShutdown(), "unavailable"),
        (psycopg.errors.TooManyConnections(), "unavailable"),
        (psycopg.errors.UndefinedTable(), "other"),
        (psycopg.OperationalError(), "other"),
        (ValueError(), "other"),
    ],
)
def test_reason(error: Exception, reason: str) -> None:
    """An SQLSTATE, by its class or as a whole, is one of a few words."""
    assert query_failure(error) == reason


@pytest.mark.parametrize(
    ("code", "reason"), [(5, "timeout"), (5 | 2 << 8, "timeout"), (2067, "constraint"), (1, "other")]
)
def test_reason_of_sqlite(code: int, reason: str) -> None:
    """A result code of SQLite is too, however far it is refined."""
    error = sqlite3.OperationalError()
    error.sqlite_errorcode = code
    assert query_failure(error) == reason
