"""A unit of work as idempotency sees it, whatever keeps it: one transaction for all that an operation does."""

from typing import Any, Protocol


class UnitOfWork(Protocol):
    """One transaction that is opened when it is first needed.

    On an event loop both methods return what their end can be awaited from.
    """

    @property
    def is_open(self) -> bool:
        """Whether there is anything to end."""

    def commit(self) -> Any:
        """Make what was done permanent."""

    def rollback(self) -> Any:
        """Undo what was done."""
