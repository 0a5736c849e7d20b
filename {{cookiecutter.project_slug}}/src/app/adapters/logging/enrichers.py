"""Values of enrichers, refreshed in the background: a thread for each, and its own loop or the one it was made on."""

import asyncio
import inspect
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from typing import Any

from ...core.logging.enrichers import Enricher, Enrichers, Enrichment

# How long an asynchronous enricher is waited for.
TIMEOUT_SECONDS = 10.0
# When a value that is wanted once, or seldom, is tried again after a failure.
RETRY_SECONDS = 60.0


class Refresher:
    """Keeps the value of one enricher fresh, in a thread, until it is stopped.

    Args:
        enricher: Whose value it is.
        enrichers: Where the value goes.
        loop: Where an asynchronous function runs; on a loop of the thread's own when None.

    """

    def __init__(self, enricher: Enricher, enrichers: Enrichers, loop: asyncio.AbstractEventLoop | None) -> None:
        self._enricher = enricher
        self._enrichers = enrichers
        self._loop = loop
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"log-enricher-{enricher.name}", daemon=True)

    def start(self) -> None:
        """Begin; the first value comes as soon as the function returns."""
        self._thread.start()

    def stop(self) -> None:
        """Call the function no more; a call that is running is not waited for, and its value is not taken."""
        self._stopped.set()

    def _run(self) -> None:
        # Makes its loop when the first coroutine comes.
        runner = asyncio.Runner()
        try:
            while not self._stopped.is_set() and (self._loop is None or self._loop.is_running()):
                seconds = self._refresh(runner)
                self._stopped.wait(min(seconds, threading.TIMEOUT_MAX))
        finally:
            runner.close()

    def _refresh(self, runner: asyncio.Runner) -> float:
        """Take a new value, and return in how many seconds the next one is wanted."""
        wanted = self._enricher.refresh_seconds or RETRY_SECONDS
        try:
            value = self._enricher.function()
            if inspect.isawaitable(value):
                value = self._wait_for(value, runner)
        except Exception as error:  # noqa: BLE001 -- whatever an enricher does, the log goes on
            if not self._stopped.is_set():
                self._enrichers.fail(self._enricher, error)
            return min(wanted, RETRY_SECONDS)
        if not self._stopped.is_set():
            self._enrichers.store(self._enricher, value)
        return wanted

    def _wait_for(self, awaitable: Awaitable[Any], runner: asyncio.Runner) -> Any:
        async def wait() -> Any:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return await awaitable

        if self._loop is None:
            return runner.run(wait())
        # A loop that stands still would not end its own time-out.
        return asyncio.run_coroutine_threadsafe(wait(), self._loop).result(2 * TIMEOUT_SECONDS)


class Refreshers:
    """Starts and stops refreshers as enrichers come and go.

    Args:
        enrichers: The enrichers.
        on_change: Takes what the enrichers give, whenever it changes.

    """

    def __init__(self, enrichers: Enrichers, on_change: Callable[[Enrichment], None]) -> None:
        self._enrichers = enrichers
        self._refreshers: dict[Enricher, Refresher] = {}
        self.changed = on_change
        _running.add(self)
        enrichers.watch(self)

    def added(self, enricher: Enricher) -> None:
        """Start to refresh an enricher, if that is wanted."""
        if enricher.refresh_seconds is not None:
            self._start(enricher, _running_loop())

    def removed(self, enricher: Enricher) -> None:
        """Stop to refresh an enricher."""
        refresher = self._refreshers.pop(enricher, None)
        if refresher is not None:
            refresher.stop()

    def close(self) -> None:
        """Stop all."""
        _running.discard(self)
        self._enrichers.unwatch(self)

    def _start(self, enricher: Enricher, loop: asyncio.AbstractEventLoop | None) -> None:
        self._refreshers[enricher] = refresher = Refresher(enricher, self._enrichers, loop)
        refresher.start()

    def before_fork(self) -> None:
        """Let no other thread be halfway through a change."""
        self._enrichers.lock.acquire()

    def after_fork(self) -> None:
        """Go on in the parent."""
        self._enrichers.lock.release()

    def begin_anew(self) -> None:
        """Start again in a forked child, which has the values, but neither threads nor a loop."""
        self._enrichers.lock.release()
        for enricher in list(self._refreshers):
            self._start(enricher, None)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


_running: "weakref.WeakSet[Refreshers]" = weakref.WeakSet()


def _in_each(act: Callable[[Refreshers], None]) -> None:
    for refreshers in list(_running):
        act(refreshers)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _in_each(Refreshers.before_fork),
        after_in_parent=lambda: _in_each(Refreshers.after_fork),
        after_in_child=lambda: _in_each(Refreshers.begin_anew),
    )
