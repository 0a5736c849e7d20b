"""Coroutines for code that has no event loop."""

import asyncio
import gc
import os
import threading
import weakref

import pytest

from app.adapters.loop_thread import LoopThread

PATIENCE = 60.0


def test_run() -> None:
    """A coroutine runs in a thread that ends with the process, the same each time; what it raises is raised."""

    async def where() -> threading.Thread:
        return threading.current_thread()

    async def fail() -> None:
        raise LookupError

    loop = LoopThread("own")
    first = loop.run(where(), PATIENCE)
    assert (first.name, first.daemon, first is not threading.current_thread()) == ("own", True, True)
    assert loop.run(where(), PATIENCE) is first
    with pytest.raises(LookupError):
        loop.run(fail(), PATIENCE)
    loop.stop()
    assert not first.is_alive()
    assert loop.run(where(), PATIENCE) is not first
    loop.stop()


def test_too_long() -> None:
    """What takes too long is cancelled, and the next one runs."""
    cancelled = threading.Event()

    async def hang() -> None:
        try:
            await asyncio.sleep(PATIENCE)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    loop = LoopThread("own")
    with pytest.raises(TimeoutError):
        loop.run(hang(), 0.05)
    assert cancelled.wait(PATIENCE)
    assert loop.run(asyncio.sleep(0, "done"), PATIENCE) == "done"
    loop.stop()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forked() -> None:
    """A process that is forked has a thread of its own, whoever held the lock."""
    loop = LoopThread("own")
    loop.run(asyncio.sleep(0), PATIENCE)
    with loop._lock:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = 0 if loop.run(asyncio.sleep(0, "done"), PATIENCE) == "done" else 1
            finally:
                os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    loop.stop()


def test_nothing_keeps_it() -> None:
    """That it hears of forks does not keep it for ever."""
    reference = weakref.ref(LoopThread("own"))
    gc.collect()
    assert reference() is None
