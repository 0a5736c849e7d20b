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
from typing import Literal

from .sinks import Sink

LINGER_SECONDS = 0.005
RETRY_SECONDS = 0.1
CLOSE_SECONDS = 5.0
# What a line costs in memory besides its bytes: the object, and its place in the queue.
LINE_OVERHEAD = 64
BATCH_LINES = 1024
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


class Delivery:
    """A queue in front of one sink.

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
        self.account = Account()
        self._told = 0
        self._idle = False
        self._closing = False
        self._deadline = float("inf")
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, line: bytes, is_error: bool = False) -> None:
        """Queue a line; never raises, and waits only when the overflow policy is `block`.

        Args:
            line: The line, with its line feed.
            is_error: Whether it is kept when others are dropped.

        """
        size = len(line) + LINE_OVERHEAD
        with self.lock:
            account = self.account
            account.submitted += 1
            limit = self._max_bytes * (1 + ERROR_RESERVE) if is_error else self._max_bytes
            if account.queued_bytes + size > limit and not self._wait_for_room(size, limit):
                account.dropped += 1
                return
            account.queued_bytes += size
            self._queue.append(line)
        if self._idle:
            self._wake.set()
        elif self._thread is None:
            self._start()

    def _wait_for_room(self, size: int, limit: float) -> bool:
        if self._overflow == "drop" or self._closing:
            return False
        deadline = time.monotonic() + self._block_seconds
        while self.account.queued_bytes + size > limit:
            if time.monotonic() >= deadline:
                return False
            self._let_others_in()
        return True

    def _let_others_in(self) -> None:
        self.lock.release()
        try:
            time.sleep(LINGER_SECONDS)
        finally:
            self.lock.acquire()

    def _start(self) -> None:
        with self.lock:
            if self._closing:
                # Whoever logs after the end brings the line itself.
                self._run()
            elif self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log-delivery", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            if self._queue:
                self._deliver()
            elif self._closing:
                return
            else:
                self._wait()

    def _wait(self) -> None:
        self._wake.clear()
        self._idle = True
        # A line that came before `_idle` was set has woken nobody.
        if not self._queue and not self._closing:
            self._wake.wait()
        self._idle = False
        if not self._closing:
            time.sleep(LINGER_SECONDS)

    def _deliver(self) -> None:
        """Write what has gathered; a line leaves the account only when the sink has it."""
        lines = [self._queue.popleft() for _ in range(min(len(self._queue), BATCH_LINES))]
        size = sum(map(len, lines)) + LINE_OVERHEAD * len(lines)
        written = self._write(self._finish(lines))
        with self.lock:
            self.account.queued_bytes -= size
            if written:
                self.account.written += len(lines)
            else:
                self.account.dropped += len(lines)
        if written:
            self._tell_losses()

    def _write(self, lines: list[bytes]) -> bool:
        """Write lines, trying again until it works or the time for closing is over."""
        while True:
            try:
                self._sink.write(lines)
            except (BrokenPipeError, ValueError):
                # Nobody will ever read from it again.
                self.account.failed_writes += 1
                return False
            except OSError:
                self.account.failed_writes += 1
                if self._closing and time.monotonic() >= self._deadline:
                    return False
                time.sleep(RETRY_SECONDS)
            else:
                return True

    def _tell_losses(self) -> None:
        dropped = self.account.dropped - self._told
        if dropped:
            self._told += dropped
            self._write(self._report(dropped))

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
            self._start()
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
