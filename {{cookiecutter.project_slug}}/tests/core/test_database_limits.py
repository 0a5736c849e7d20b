"""What a database is told about time limits."""

from typing import Any

from app.core.database_limits import libpq_arguments, sqlite_timeout
from app.settings_groups import DatabaseSettings

WITHOUT: dict[str, Any] = {
    "statement_timeout": 0,
    "lock_timeout": 0,
    "idle_transaction_timeout": 0,
    "tcp_timeout": 0,
}


def test_sqlite() -> None:
    """SQLite waits for another writer as long as for a lock, and without a limit for a while all the same."""
    assert sqlite_timeout(DatabaseSettings(lock_timeout=2)) == 2
    assert sqlite_timeout(DatabaseSettings(lock_timeout=0)) == 5


def test_server() -> None:
    """PostgreSQL's own limits are sent with the connection, in milliseconds; those of the address come last and win."""
    limits = DatabaseSettings(statement_timeout=0.0015, lock_timeout=2, idle_transaction_timeout=0)
    found = libpq_arguments(limits, said=(), options=["-c lock_timeout=9"])
    assert found["options"] == "-c statement_timeout=2 -c lock_timeout=2000 -c lock_timeout=9"
    assert "options" not in libpq_arguments(DatabaseSettings(**WITHOUT), said=(), options=[])


def test_driver() -> None:
    """The driver is told how long to try, and when a peer is gone; what the address says itself is left to it."""
    limits = DatabaseSettings(connect_timeout=0.5, tcp_timeout=9.5)
    found = libpq_arguments(limits, said={"keepalives_count": "1"}, options=[])
    assert (found["connect_timeout"], found["tcp_user_timeout"]) == (2, 9500)
    assert (found["keepalives_idle"], found["keepalives_interval"], "keepalives_count" in found) == (10, 3, False)
    assert list(libpq_arguments(DatabaseSettings(**WITHOUT), said=(), options=[])) == ["connect_timeout"]
