"""What a database is told about time limits, so that nobody waits for it without end.

PostgreSQL's own limits (https://www.postgresql.org/docs/current/runtime-config-client.html) are sent when a connection
begins and cost no statement; libpq's parameters are in https://www.postgresql.org/docs/current/libpq-connect.html.
"""

import math
from collections.abc import Container, Sequence
from typing import Any, Protocol

# The driver waits at least this long, whatever it is told.
SHORTEST_CONNECT_SECONDS = 2
# How long SQLite waits for another writer, where there is no setting.
BUSY_SECONDS = 5


class Limits(Protocol):
    """The settings, in seconds; 0 is no limit."""

    @property
    def connect_timeout(self) -> float:
        """For a new connection."""

    @property
    def statement_timeout(self) -> float:
        """For a statement."""

    @property
    def lock_timeout(self) -> float:
        """For a lock."""

    @property
    def idle_transaction_timeout(self) -> float:
        """For a transaction in which nothing happens."""

    @property
    def tcp_timeout(self) -> float:
        """For what was sent to be received."""


def sqlite_timeout(limits: Limits) -> float:
    """Return for how many seconds SQLite waits for another writer.

    Args:
        limits: The settings.

    """
    return limits.lock_timeout or BUSY_SECONDS


def libpq_arguments(limits: Limits, *, said: Container[str], options: Sequence[str]) -> dict[str, Any]:
    """Return what PostgreSQL's driver is told besides the address; what that says itself wins.

    Args:
        limits: The settings.
        said: What the address says itself.
        options: What it says of the server's settings.

    """
    arguments = {name: value for name, value in _of_libpq(limits).items() if name not in said}
    of_server = _of_server(limits)
    if of_server:
        # The later one wins.
        arguments["options"] = " ".join([*of_server, *options]).rstrip()
    return arguments


def _of_libpq(limits: Limits) -> dict[str, Any]:
    arguments: dict[str, Any] = {"connect_timeout": max(SHORTEST_CONNECT_SECONDS, math.ceil(limits.connect_timeout))}
    if limits.tcp_timeout:
        seconds = math.ceil(limits.tcp_timeout)
        arguments["tcp_user_timeout"] = math.ceil(limits.tcp_timeout * 1000)
        # A peer that is gone while it owes an answer is found only by asking.
        arguments |= {"keepalives_idle": seconds, "keepalives_interval": max(1, seconds // 3), "keepalives_count": 3}
    return arguments


def _of_server(limits: Limits) -> list[str]:
    seconds = {
        "statement_timeout": limits.statement_timeout,
        "lock_timeout": limits.lock_timeout,
        "idle_in_transaction_session_timeout": limits.idle_transaction_timeout,
    }
    return [f"-c {name}={math.ceil(value * 1000)}" for name, value in seconds.items() if value]
