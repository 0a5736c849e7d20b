"""Stores in the memory of one process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

from app.adapters.idempotency_memory import MemoryIdempotencyStore, SyncMemoryIdempotencyStore

from .opened import Opened, Threaded

KINDS = ("memory-async", "memory-sync")


@asynccontextmanager
async def open_kind(kind: str, _folder: Path, _request: object) -> AsyncIterator[Opened]:
    """Open a store."""
    is_sync = kind.endswith("-sync")
    store: Any = SyncMemoryIdempotencyStore() if is_sync else MemoryIdempotencyStore()
    kept = store._records._kept

    def damage(**fields: Any) -> None:
        (one,) = kept.values()
        one.record = one.record._replace(**fields)

    def dump() -> str:
        return str([(key, one.caller, one.record) for key, one in kept.items()])

    yield Opened(cast("Any", Threaded(store)) if is_sync else store, damage, dump)
