"""The unit of work of an idempotent function (`adapters.idempotent`) or request: Django's `transaction.atomic`.

It is open from its beginning: whatever is done through Django's connection is part of it.
"""

from contextlib import suppress
from types import TracebackType

from django.db import Error, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..adapters.statement_deadline import statements_within
from ..core.idempotency_errors import IdempotencyUsageError
from ..settings_groups import STEP_SECONDS
from .idempotency_store import is_in_transaction


class AtomicWork:
    """One transaction on the thread's connection.

    Args:
        using: The database's name in Django's settings.

    Raises:
        IdempotencyUsageError: A transaction is open already: the function's would be a part of that one, and what it
            was told has lasted could still be undone.

    """

    def __init__(self, using: str = "default") -> None:
        self.connection: BaseDatabaseWrapper = connections[using]
        if is_in_transaction(self.connection):
            msg = (
                "an idempotent function with a unit of work was called within transaction.atomic, or by a request with "
                "an Idempotency-Key; allowed: outside of both, for its effect and its record are one transaction"
            )
            raise IdempotencyUsageError(msg)
        self._atomic = transaction.atomic(using=using)
        self._atomic.__enter__()
        self.is_open = True

    def commit(self) -> None:
        """Make what was done permanent."""
        self._end()

    def rollback(self) -> None:
        """Undo what was done."""
        if not self.is_open:
            return
        self.connection.set_rollback(True)
        # Where the connection is lost the database undoes it by itself, and Django would wait for a new one.
        with suppress(Error), statements_within(STEP_SECONDS):
            self._end()

    def close(self) -> None:
        """Undo what was not committed."""
        self.rollback()

    def __enter__(self) -> "AtomicWork":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit, or undo after an exception."""
        if error is None:
            self.commit()
        else:
            self.rollback()

    def _end(self) -> None:
        if self.is_open:
            self.is_open = False
            self._atomic.__exit__(None, None, None)
