"""What is counted of messages, on top of the service's other series: by type, and by what became of them.

The first two methods run for every message: what they need is looked up once, and the numbers are changed in place.
Types are those that somebody here handles; whoever counts passes `_OTHER` for all else, which anybody may have sent.
"""

from bisect import bisect_left

from ..core.metrics import DURATIONS, Counter, Gauge, Histogram, builtin
from ..core.metrics.series import acquire, release
from ..core.retry import Reason
from .metrics import Metrics


class MessageMetrics:
    """The series of messages; made twice for the same metrics, they are the same series.

    Args:
        metrics: The service's.

    """

    def __init__(self, metrics: Metrics) -> None:
        add = metrics.registry.add
        self._durations = add(Histogram, builtin.MESSAGES)
        self._active = add(Gauge, builtin.ACTIVE_MESSAGES)
        self._waits = add(Histogram, builtin.MESSAGE_WAITS)
        self._queries = add(Histogram, builtin.QUERIES_OF_MESSAGES)
        self._published = add(Counter, builtin.PUBLISHED_MESSAGES)
        self._dead = add(Counter, builtin.DEAD_MESSAGES)
        self._add = add
        self._backlog: Gauge | None = None
        self._active_of: dict[str, Gauge] = {}
        self._duration_of: dict[tuple[str, str], Histogram] = {}

    def watch_dead_letters(self) -> None:
        """Show from the start, at 0, that messages can be given up."""
        for reason in Reason:
            self._dead.labels(reason)

    def started(self, kind: str, waited: float | None = None) -> None:
        """Count a message as in progress.

        Args:
            kind: Its type.
            waited: Seconds from when it was sent until now; None when that is not known, or it began before.

        """
        active = self._active_of.get(kind) or self._active_for(kind)
        acquire()
        try:
            active.cells[0] += 1
        finally:
            release()
        if waited is not None:
            self._waits.labels(kind).observe(waited)

    def finished(self, kind: str, outcome: str, seconds: float) -> None:
        """Count a message that was in progress.

        Args:
            kind: Its type.
            outcome: Such as `success`, `duplicate`, `retry` or `failure`.
            seconds: How long it took.

        """
        durations = self._duration_of.get((kind, outcome)) or self._durations_for(kind, outcome)
        active = self._active_of.get(kind) or self._active_for(kind)
        bucket = bisect_left(DURATIONS, seconds)
        acquire()
        try:
            cells = durations.cells
            cells[bucket] += 1
            cells[-1] += seconds
            active.cells[0] -= 1
        finally:
            release()

    def refused(self, kind: str, outcome: str) -> None:
        """Count a message that was not begun.

        Args:
            kind: Its type.
            outcome: Why, such as `unknown` or `expired`.

        """
        self._durations.labels(kind, outcome).observe(0.0)

    def queries(self, kind: str, queries: int) -> None:
        """Count the statements of a message that sent any.

        Args:
            kind: Its type.
            queries: How many statements it sent.

        """
        self._queries.labels(kind).observe(queries)

    def published(self, kind: str, outcome: str) -> None:
        """Count a message that was sent.

        Args:
            kind: Its type.
            outcome: `sent`, or `failed` when the broker did not take it.

        """
        self._published.labels(kind, outcome).inc()

    def given_up(self, reason: str) -> None:
        """Count a message that went to the dead letters.

        Args:
            reason: Why, one of `core.retry.Reason`.

        """
        self._dead.labels(reason).inc()

    def backlog(self, waiting: int) -> None:
        """Show how many messages wait; until it is known there is no series.

        Args:
            waiting: How many.

        """
        if self._backlog is None:
            self._backlog = self._add(Gauge, builtin.MESSAGE_BACKLOG)
        self._backlog.set(waiting)

    def _active_for(self, kind: str) -> Gauge:
        series = self._active.labels(kind)
        # What counts as _OTHER because there are too many is not remembered: it may be any number of types.
        if series.values == (kind,):
            self._active_of[kind] = series
        return series

    def _durations_for(self, kind: str, outcome: str) -> Histogram:
        series = self._durations.labels(kind, outcome)
        if series.values == (kind, outcome):
            self._duration_of[kind, outcome] = series
        return series
