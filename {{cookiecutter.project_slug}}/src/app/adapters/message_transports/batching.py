"""Do for many at once what many ask for at once.

A batch is whatever came while the one before was under way, or within a pause that who asks allows.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Batching(Generic[T]):
    """Collects arguments.

    Args:
        do: Does it for several of them; what it raises, all of them get.
        limit: For how many at most.
        pause: For how many seconds those are collected that nobody waits for.

    """

    def __init__(self, do: Callable[[Sequence[T]], Awaitable[None]], *, limit: int, pause: float = 0.0) -> None:
        self._do = do
        self._limit = limit
        self._pause = pause
        self._asked: list[tuple[T, asyncio.Future[None]]] = []
        self._is_urgent = False
        self._timer: asyncio.TimerHandle | None = None
        self._working: asyncio.Task[None] | None = None

    async def add(self, argument: T, *, soon: bool = True) -> None:
        """Return when it is done; it is done as well when this is cancelled.

        Args:
            argument: For whom.
            soon: Whether it is done at once, with all that were collected.

        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._asked.append((argument, done))
        if soon or not self._pause or len(self._asked) >= self._limit:
            self._is_urgent = True
            self._begin()
        elif self._timer is None:
            self._timer = loop.call_later(self._pause, self._begin)
        await done

    async def finish(self) -> None:
        """Do what was asked for, and wait for it."""
        self._is_urgent = True
        self._begin()
        if self._working is not None:
            await self._working

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asked and (self._working is None or self._working.done()):
            self._working = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        # What comes meanwhile and is not urgent has a timer, which begins anew.
        while self._asked:
            self._is_urgent = False
            batch, self._asked = self._asked[: self._limit], self._asked[self._limit :]
            try:
                await self._do([argument for argument, _done in batch])
            except Exception as error:  # noqa: BLE001 -- whoever asked gets it
                _tell(batch, error)
            else:
                _tell(batch, None)
            if self._timer is not None and not self._is_urgent:
                return


def _tell(batch: Sequence[tuple[T, asyncio.Future[None]]], error: Exception | None) -> None:
    for _argument, done in batch:
        if done.done():
            # Whoever asked was cancelled.
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
