"""An event loop in a thread of its own, for code that has none: coroutines run there while their caller waits."""

import asyncio
import concurrent.futures
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class LoopThread:
    """An event loop in a daemon thread, which is started when it is first used, and anew in a process that was forked.

    Args:
        name: The thread's name.

    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._forget()
        # The fork has neither the thread nor whoever holds the lock.
        call_in_forks(self._forget)

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether there is a thread."""
        return self._loop is not None

    def run(self, coroutine: Coroutine[Any, Any, Result], timeout: float) -> Result:
        """Run a coroutine, and return what it returns.

        Args:
            coroutine: What to run; it is cancelled when it takes too long.
            timeout: In seconds.

        Raises:
            TimeoutError: It takes too long.

        """
        future = asyncio.run_coroutine_threadsafe(coroutine, self._started())
        try:
            return future.result(timeout)
        except (concurrent.futures.CancelledError, TimeoutError) as error:
            future.cancel()
            raise TimeoutError from error

    def stop(self) -> None:
        """End the thread; a later use starts another one."""
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=_serve, args=(self._loop,), name=self._name, daemon=True)
                self._thread.start()
            return self._loop


def call_in_forks(method: Callable[[], None]) -> None:
    """Call an object's method at the beginning of every process that is forked, as long as there is the object.

    Args:
        method: What to call.

    """
    reference = weakref.WeakMethod(method)

    def call() -> None:
        known = reference()
        if known is not None:
            known()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()
