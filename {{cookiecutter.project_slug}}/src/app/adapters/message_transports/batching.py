"""Do for many at once what many ask for at once: a batch is whatever came while the one before was under way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Batching(Generic[T]):
    """Collects arguments.

    Args:
        do: Does it for several of them; what it raises, all of them get.
        limit: For how many at most.

    """

    def __init__(self, do: Callable[[Sequence[T]], Awaitable[None]], *, limit: int) -> None:
        self._do = do
        self._limit = limit
        self._asked: list[tuple[T, asyncio.Future[None]]] = []
        self._working: asyncio.Task[None] | None = None

    async def add(self, argument: T) -> None:
        """Return when it is done; it is done as well when this is cancelled.

        Args:
            argument: For whom.

        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asked.append((argument, done))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        await done

    async def finish(self) -> None:
        """Wait for what is under way."""
        if self._working is not None:
            await self._working

    async def _work(self) -> None:
        while self._asked:
            batch, self._asked = self._asked[: self._limit], self._asked[self._limit :]
            try:
                await self._do([argument for argument, _done in batch])
            except Exception as error:  # noqa: BLE001 -- whoever asked gets it
                _tell(batch, error)
            else:
                _tell(batch, None)


def _tell(batch: Sequence[tuple[T, asyncio.Future[None]]], error: Exception | None) -> None:
    for _argument, done in batch:
        if done.done():
            # Whoever asked was cancelled.
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
