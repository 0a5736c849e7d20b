"""A store under test, and ways around it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.core.idempotency import IdempotencyStore

# Seconds for many connections at once on a busy machine; what a server that hangs costs is tested elsewhere.
PATIENCE = 10.0


class Threaded:
    """An object whose methods run in threads, so that code on an event loop can call them.

    Args:
        plain: The object.

    """

    def __init__(self, plain: Any) -> None:
        self._plain = plain

    def __getattr__(self, name: str) -> Any:
        """Return a method."""
        method = getattr(self._plain, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            return await asyncio.to_thread(method, *arguments, **options)

        return call


@dataclass(frozen=True, slots=True)
class Opened:
    """A store, and ways around it.

    Attributes:
        store: The store.
        damage: Overwrites parts of the only record.
        dump: Returns everything that is stored, as text.
        work: Returns a unit of work on the same database; only where there is one.
        again: Opens the store a second time, as another process would.

    """

    store: IdempotencyStore
    damage: Callable[..., None]
    dump: Callable[[], str]
    work: Callable[[], Any] | None = None
    again: Callable[[], IdempotencyStore] | None = None
