"""Finished spans on their way out: a bounded queue, and a thread that exports them in batches.

Ending a span appends it to the queue and no more. What does not fit is dropped and counted, and the log tells once that
an endpoint is in trouble and once that it is well again. The thread starts with the first span, so a process that
records nothing has none.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from ..core.logging import get_logger
from ..core.redaction import redact_text
from ..core.spans import RecordedSpan

log = get_logger("app.tracing")
POLL_SECONDS = 0.005
FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 8.0
TELL_SECONDS = 60.0


@dataclass(slots=True)
class SpanAccount:
    """What became of finished spans: each is exported or dropped, or still waits."""

    exported: int = 0
    dropped: int = 0


class Sent(NamedTuple):
    """What became of one attempt to send a batch.

    Args:
        lost: How many spans of it were not taken.
        reason: Why.
        may_retry: Whether trying again makes sense.
        retry_after: When, in seconds, if the other side said so.

    """

    lost: int = 0
    reason: str = ""
    may_retry: bool = False
    retry_after: float | None = None


class SpanExporter(Protocol):
    """Brings batches of finished spans out of the process."""

    def encode(self, spans: Sequence[RecordedSpan]) -> Any:
        """Return a batch as it is sent."""

    def send(self, batch: Any, count: int, timeout: float) -> Sent:
        """Try once to send an encoded batch of so many spans."""

    def close(self) -> None:
        """Give back what is held open."""


class Batching(NamedTuple):
    """How spans wait and for how long a batch is tried; times are in seconds.

    Args:
        queue_size: How many wait at the most.
        batch_size: How many are sent at once.
        delay: How long one waits at the most.
        timeout: How long a batch is tried before it is given up.

    """

    queue_size: int = 2048
    batch_size: int = 512
    delay: float = 5.0
    timeout: float = 30.0


class SpanQueue:
    """A queue in front of one exporter.

    Args:
        exporter: Where batches go.
        batching: How spans wait.

    """

    def __init__(self, exporter: SpanExporter, batching: Batching) -> None:
        self.account = SpanAccount()
        self._exporter = exporter
        self._batching = batching
        self._spans: deque[RecordedSpan] = deque()
        self._in_hand = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._hurries = False
        self._is_open = True
        self._is_failing = False
        self._told = 0
        self._told_at = float("-inf")

    def put(self, span: RecordedSpan) -> None:
        """Queue a finished span; never waits, never raises.

        Args:
            span: The span.

        """
        waiting = len(self._spans)
        if waiting >= self._batching.queue_size or not self._is_open:
            self._count(dropped=1)
            return
        self._spans.append(span)
        if waiting + 1 >= self._batching.batch_size and not self._wake.is_set():
            self._wake.set()
        if self._thread is None:
            self._start()

    def _count(self, *, exported: int = 0, dropped: int = 0) -> None:
        with self._lock:
            self.account.exported += exported
            self.account.dropped += dropped

    def _start(self) -> None:
        with self._lock:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="span-export", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closing.is_set():
            woken = self._wake.wait(self._batching.delay)
            self._wake.clear()
            # A batch that is not full waits for its time, unless somebody waits for it.
            in_time = woken and not self._hurries and not self._closing.is_set()
            self._export_all(at_least=self._batching.batch_size if in_time else 1)
        self._export_all(at_least=1)
        self._exporter.close()

    def _export_all(self, at_least: int) -> None:
        while self._is_open and len(self._spans) >= at_least:
            # What is in hand is never less than what has left the queue, so that `flush` cannot miss it.
            self._in_hand = min(len(self._spans), self._batching.batch_size)
            batch = [self._spans.popleft() for _ in range(self._in_hand)]
            sent = self._export(batch)
            if self._is_open:
                self._count(exported=len(batch) - sent.lost, dropped=sent.lost)
                self._tell(sent)
            self._in_hand = 0

    def _export(self, batch: list[RecordedSpan]) -> Sent:
        try:
            encoded = self._exporter.encode(batch)
            return self._try(encoded, len(batch))
        except Exception as error:  # noqa: BLE001 -- whatever is wrong with one batch, the thread goes on to the next
            return Sent(len(batch), redact_text(f"{type(error).__qualname__}: {error}"))

    def _try(self, encoded: Any, count: int) -> Sent:
        """Send a batch, again and again while that makes sense and there is time."""
        deadline = time.monotonic() + self._batching.timeout
        backoff = FIRST_BACKOFF
        while True:
            is_last = self._closing.is_set()
            sent = self._exporter.send(encoded, count, max(deadline - time.monotonic(), POLL_SECONDS))
            if not sent.may_retry or is_last:
                return sent
            self._tell(sent)
            pause = backoff * random.uniform(0.8, 1.2) if sent.retry_after is None else sent.retry_after  # noqa: S311
            backoff = min(backoff * 2, LONGEST_BACKOFF)
            if time.monotonic() + pause >= deadline:
                return sent
            self._closing.wait(pause)

    def _tell(self, sent: Sent) -> None:
        """Log what is news: that an endpoint is in trouble, that it is well again, that spans were dropped."""
        if sent.lost and not self._is_failing:
            self._is_failing = True
            log.warning("traces.export_failed", reason=sent.reason)
        elif self._is_failing and not sent.lost:
            self._is_failing = False
            log.info("traces.export_recovered", dropped=self._untold_losses())
        elif not sent.lost and time.monotonic() >= self._told_at + TELL_SECONDS:
            self._tell_losses()

    def _tell_losses(self) -> None:
        if lost := self._untold_losses():
            log.warning("traces.dropped", dropped=lost)

    def _untold_losses(self) -> int:
        lost = self.account.dropped - self._told
        if lost:
            self._told += lost
            self._told_at = time.monotonic()
        return lost

    def flush(self, timeout: float) -> bool:
        """Export what waits, and return whether nothing does any more.

        Args:
            timeout: Seconds.

        """
        if not self._spans and not self._in_hand:
            return True
        deadline = time.monotonic() + timeout
        self._hurries = True
        self._wake.set()
        while (self._spans or self._in_hand) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        self._hurries = False
        return not self._spans and not self._in_hand

    def close(self, timeout: float) -> None:
        """Export what waits, for a bounded time, and stop; what is left is counted as dropped.

        Args:
            timeout: Seconds.

        """
        if not self._is_open:
            return
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
        self._is_open = False
        self._count(dropped=len(self._spans) + self._in_hand)
        self._tell_losses()

    def abandon(self) -> None:
        """Leave everything to the process that this one was forked from."""
        self._is_open = False
        self._spans = deque()
        # Whoever held it does not exist here.
        self._lock = threading.Lock()
