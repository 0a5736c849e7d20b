"""Bring log lines to a sink off the caller's path: a bounded queue, a writer thread, and an account of every line.

The caller appends to a queue; a thread takes what has gathered and writes it in few, large calls. Memory is bounded in
bytes. When the queue is full, `drop` loses new lines and counts them, errors last of all; `block` waits for room, for a
bounded time. What was lost is told in the log itself as soon as the sink takes lines again.

The thread starts with the first line, so importing starts none; after a fork the child begins with an empty queue and a
thread of its own, while the parent still delivers what it had.
"""

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from typing import Literal, NamedTuple

from .sinks import Sink

LINGER_SECONDS = 0.005
RETRY_SECONDS = 0.1
# With what else an exit does it stays below the five seconds that a process is given.
CLOSE_SECONDS = 4.5
# What a line costs in memory besides its bytes: the object, and its place in the queue.
LINE_OVERHEAD = 64
# What is delivered at once: seldom more than a millisecond, for which callers wait for the interpreter's lock.
BATCH_BYTES = 64 * 1024
# Between two batches callers get the lock: to give it back for no time is not enough, they would find it taken again.
PAUSE_SECONDS = 0.00005
# Unless this share of the queue is filled, or the log closes: then batches are larger, and nothing is between them.
HURRY_SHARE = 0.25
HURRY_BYTES = 1024 * 1024
# What is finished together stays in the processor's cache.
FINISH_LINES = 256
# Errors may use this much more than the limit, so that they are kept when all else is dropped.
ERROR_RESERVE = 0.25


Finish = Callable[[list[bytes]], list[bytes]]


@dataclass(slots=True)
class Account:
    """What became of the lines: each is written, dropped or still queued."""

    submitted: int = 0
    written: int = 0
    dropped: int = 0
    failed_writes: int = 0
    queued_bytes: int = 0

    @property
    def queued(self) -> int:
        """How many lines wait."""
        return self.submitted - self.written - self.dropped


class _Progress(NamedTuple):
    """How far the thread is; replaced as a whole, so that whoever reads it sees no half of a step."""

    written: int
    lost: int
    # The lines that are being written.
    taken: list[bytes]


class Delivery:
    """A queue in front of one sink.

    A line costs its caller no lock: how many there are is told by the queue itself and by what the thread has done.
    The thread needs no lock either, so a signal handler that closes the log gets every line delivered, whatever it
    has interrupted.

    Args:
        sink: Where lines go.
        finish: What is done to lines on the way, off the caller's path, such as redaction.
        report: Returns the line that tells how many were dropped, finished.
        max_bytes: How much waits at the most.
        overflow: What happens to a line when the queue is full.
        block_seconds: How long `block` waits before it drops too.

    """

    def __init__(
        self,
        sink: Sink,
        *,
        finish: Finish,
        report: Callable[[int], list[bytes]],
        max_bytes: int,
        overflow: Literal["drop", "block"] = "drop",
        block_seconds: float = 1.0,
    ) -> None:
        self._sink = sink
        self._finish = finish
        self._report = report
        self._max_bytes = max_bytes
        self._overflow = overflow
        self._block_seconds = block_seconds
        self._queue: deque[bytes] = deque()
        self._start_anew()
        _deliveries.add(self)

    def _start_anew(self) -> None:
        """Begin with nothing queued, in a new process or a new object."""
        self._queue.clear()
        # Reentrant: a signal handler that logs may interrupt the thread that holds it.
        self.lock = threading.RLock()
        self._bytes_in = 0
        self._bytes_out = 0
        self._refused = 0
        self._progress = _Progress(0, 0, [])
        self._failed_writes = 0
        self._told = 0
        self._needs_wake_up = True
        self._closing = False
        self._delivers_here = False
        self._deadline = float("inf")
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def account(self) -> Account:
        """What became of the lines until now."""
        while True:
            progress, dropped = self._progress, self._refused
            taken, waiting = len(progress.taken), len(self._queue)
            # Else the thread has gone on meanwhile, and a line may have been counted twice or not at all.
            if progress is self._progress and taken == len(progress.taken):
                break
        dropped += progress.lost
        submitted = progress.written + dropped + taken + waiting
        return Account(submitted, progress.written, dropped, self._failed_writes, self._bytes_in - self._bytes_out)

    def put(self, line: bytes, is_error: bool = False) -> None:
        """Queue a line; never raises, and waits only when the overflow policy is `block`.

        Args:
            line: The line, with its line feed.
            is_error: Whether it is kept when others are dropped.

        """
        size = len(line) + LINE_OVERHEAD
        if self._bytes_in - self._bytes_out + size > self._max_bytes and not self._has_room(size, is_error):
            with self.lock:
                self._refused += 1
            return
        # Without a lock: were an addition lost to another thread, the bound would be off by a line, but no line.
        self._bytes_in += size
        self._queue.append(line)
        if self._needs_wake_up:
            self._wake_up()

    def _has_room(self, size: int, is_error: bool) -> bool:
        """Return whether a full queue takes a line nevertheless, at once or after waiting."""
        limit = self._max_bytes * (1 + ERROR_RESERVE if is_error else 1)
        deadline = time.monotonic() + self._block_seconds
        while self._bytes_in - self._bytes_out + size > limit:
            if self._overflow == "drop" or self._closing or time.monotonic() >= deadline:
                return False
            time.sleep(LINGER_SECONDS)
        return True

    def _wake_up(self) -> None:
        # Before the thread says so itself: until it runs, the lines that follow need not wake it again.
        self._needs_wake_up = False
        if self._thread is None:
            self._start()
        else:
            self._wake.set()

    def _start(self) -> None:
        with self.lock:
            if self._closing:
                self._deliver_here()
            elif self._thread is None:
                self._start_thread()
            else:
                # Another caller has started it meanwhile, and it may wait already.
                self._wake.set()

    def _deliver_here(self) -> None:
        """Deliver without the thread: whoever logs after the end brings the line itself."""
        self._needs_wake_up = True
        # A signal handler that logs here leaves its line to what it has interrupted.
        while self._queue and not self._delivers_here:
            self._delivers_here = True
            self._run()
            self._delivers_here = False

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name="log-delivery", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The system has no thread to give: the line waits for the next one, which tries again.
            self._needs_wake_up = True
        else:
            self._thread = thread

    def _run(self) -> None:
        while True:
            if self._queue:
                self._deliver()
            elif self._closing:
                return
            else:
                self._wait()

    def _wait(self) -> None:
        """Wait for a line, and then a little for those that follow it."""
        self._wake.clear()
        self._needs_wake_up = True
        # A line that came before has woken nobody.
        if not self._queue and not self._closing:
            self._wake.wait()
        self._needs_wake_up = False
        self._wake.clear()
        if not self._closing:
            self._wake.wait(LINGER_SECONDS)

    def _deliver(self) -> None:
        """Write what has gathered; a line leaves the account only when the sink has it."""
        written, lost, lines = self._progress
        waiting_bytes = self._bytes_in - self._bytes_out
        is_in_hurry = self._closing or waiting_bytes > self._max_bytes * HURRY_SHARE
        count = self._count(HURRY_BYTES if is_in_hurry else BATCH_BYTES, waiting_bytes)
        # In one step of the interpreter, so that at no time a line is in neither of the two.
        lines.extend(map(deque.popleft, repeat(self._queue, count)))
        is_written = self._bring(partial(self._finish_all, lines))
        self._bytes_out += sum(map(len, lines)) + LINE_OVERHEAD * count
        if is_written:
            self._progress = _Progress(written + count, lost, [])
            self._tell_losses()
        else:
            self._progress = _Progress(written, lost + count, [])
        if self._queue and not is_in_hurry:
            time.sleep(PAUSE_SECONDS)

    def _count(self, size: int, waiting_bytes: int) -> int:
        """Return how many of the lines that wait are about so many bytes."""
        waiting = len(self._queue)
        return min(waiting, 1 + size * waiting // max(1, waiting_bytes))

    def _finish_all(self, lines: list[bytes]) -> list[bytes]:
        parts = (lines[start : start + FINISH_LINES] for start in range(0, len(lines), FINISH_LINES))
        return list(chain.from_iterable(map(self._finish, parts)))

    def _bring(self, finished: Callable[[], list[bytes]]) -> bool:
        """Write what a function returns, and return whether that was possible."""
        try:
            return self._write(finished())
        except Exception:  # noqa: BLE001 -- the thread must not end: all that comes later would wait for ever
            self._failed_writes += 1
            return False

    def _write(self, lines: list[bytes]) -> bool:
        """Write lines, trying again until it works or the time for closing is over."""
        while True:
            try:
                self._sink.write(lines)
            except BrokenPipeError:
                # Nobody will ever read from it again.
                self._failed_writes += 1
                return False
            except OSError:
                self._failed_writes += 1
                if self._closing and time.monotonic() >= self._deadline:
                    return False
                time.sleep(RETRY_SECONDS)
            else:
                return True

    def _tell_losses(self) -> None:
        dropped = self._refused + self._progress.lost - self._told
        if dropped and self._bring(partial(self._report, dropped)):
            self._told += dropped

    def close(self, timeout: float = CLOSE_SECONDS) -> Account:
        """Deliver what waits, for a bounded time, and stop; returns what became of all lines.

        Args:
            timeout: Seconds.

        """
        self._deadline = time.monotonic() + timeout
        self._closing = True
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            self._wake.set()
            thread.join(timeout)
        if thread is None or not thread.is_alive():
            self._thread = None
            # What came after the thread had looked for the last time.
            self._wake_up()
        return self.account

    def flush(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Wait until all that was queued is written, and return whether it is.

        Args:
            timeout: Seconds.

        """
        deadline = time.monotonic() + timeout
        self._wake.set()
        while self.account.queued and time.monotonic() < deadline:
            time.sleep(LINGER_SECONDS / 5)
        return self.account.queued == 0


_deliveries: "weakref.WeakSet[Delivery]" = weakref.WeakSet()


def _all_locked(deliveries: Iterable[Delivery]) -> None:
    for delivery in deliveries:
        delivery.lock.acquire()


def _before_fork() -> None:
    _all_locked(list(_deliveries))


def _after_fork_in_parent() -> None:
    for delivery in list(_deliveries):
        delivery.lock.release()


def _after_fork_in_child() -> None:
    for delivery in list(_deliveries):
        delivery._start_anew()  # noqa: SLF001 -- the fork hooks are a part of the class that the interpreter calls


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
