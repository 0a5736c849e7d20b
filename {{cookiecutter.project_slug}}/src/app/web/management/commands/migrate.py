"""Django's `migrate`, without the service's time limits, and on PostgreSQL one at a time.

A migration takes the time that it takes, and waits for another that runs: several replicas may start at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.commands.migrate import Command as Migrate
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

# Any number: it is what two starting replicas agree on.
LOCK = 7_236_118_503
_LIMITS = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")


class Command(Migrate):
    """Brings the database to the current schema."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the command."""
        with _alone(connections[options["database"]]):
            super().handle(*args, **options)


@contextmanager
def _alone(connection: BaseDatabaseWrapper) -> Iterator[None]:
    if connection.vendor != "postgresql":
        yield
        return
    with connection.cursor() as cursor:
        for limit in _LIMITS:
            cursor.execute("SELECT set_config(%s, '0', false)", [limit])
        cursor.execute("SELECT pg_advisory_lock(%s)", [LOCK])
    try:
        yield
    finally:
        # The pool would give it to others with the lock and without limits.
        if connection.connection is not None:
            connection.connection.close()
        connection.close()
