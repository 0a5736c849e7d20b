"""How a daemon hears signals, where it can: in the main thread of a process that is its own.

The handlers are Python's and not the event loop's: they are called even while a handler of messages holds the loop up,
so that a second signal ends the process then too, and they are there on Windows, where the loop has none.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType

# Windows knows a third one: Ctrl-Break, which is what a parent can send to its child there.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name)
)  # fmt: skip


@contextmanager
def listening(take: Callable[[int], None]) -> Iterator[bool]:
    """Listen to signals within the block, and put back who listened before; yields whether that is possible here.

    Args:
        take: Called with a signal's number, between any two steps of the main thread: it must not wait for a lock.

    """

    def handle(number: int, _frame: FrameType | None) -> None:
        take(number)

    if threading.current_thread() is not threading.main_thread():
        yield False
        return
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield True
    finally:
        for number, handler in before.items():
            # None stands for one that was not set by Python, and cannot be by it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def told_in_a_thread(act: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Lend what lets a thread act that stands ready: a handler of signals cannot start one, and must not hold locks.

    Args:
        act: What the thread does when it is told, once; when it is not told within the block it does nothing.

    """
    # Its `put` may come while the same thread is in another one, as no lock's or event's method may.
    told: SimpleQueue[bool] = SimpleQueue()

    def wait() -> None:
        if told.get():
            act()

    threading.Thread(target=wait, name="daemon-stop", daemon=True).start()
    try:
        yield lambda: told.put(True)
    finally:
        told.put(False)
