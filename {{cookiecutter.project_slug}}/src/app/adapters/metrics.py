"""What the service tells Prometheus: its built-in series, and those that its own code makes (`app.core.metrics`).

Each application has its built-in series to itself, so that two in one process, as in tests, do not share numbers.
"""

from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.health import CheckResult, Status
from ..core.idempotency import Outcome
from ..core.metrics import DURATIONS, OWN, Counter, Definition, Gauge, Histogram, Registry, Source, builtin, merge
from ..core.metrics.series import acquire, release
from ..settings import Settings
from .database import PoolState
from .logging import LogHealth
from .metrics_exposition import CONTENT_TYPE, render, watch_process

if TYPE_CHECKING:
    from .metrics_sharing import Sharing

LEVELS = ("debug", "info", "warning", "error", "critical")
REPORT_OUTCOMES = ("delivered", "failed", "dropped", "suppressed")


class Metrics:
    """The series of the service.

    Requests and log lines are counted in its first methods, which run for every request: nothing is looked up there
    that was looked up before, and the numbers are changed in place. All others are counted through the series.

    Args:
        settings: Who is speaking, and whether other processes count for the same service.

    """

    content_type = CONTENT_TYPE

    def __init__(self, settings: Settings) -> None:
        self.registry = Registry(limit=settings.metrics.max_combinations)
        OWN.limit = settings.metrics.max_combinations
        self._sharing = _share(settings, self.registry, OWN)
        self._active_requests: dict[str, Gauge] = {}
        self._requests: dict[tuple[str, str, int], Histogram] = {}
        self._log_records: dict[str, Counter] = {}
        watch_process(self.registry)
        self._gauge(builtin.INFO, settings.service_name, settings.service_version, settings.environment).set(1)
        # From the start and at 0: an alert on a rise does not see a series that begins with its first event.
        for level in LEVELS:
            self._of_level(level)
        for outcome in Outcome:
            self.registry.add(Counter, builtin.IDEMPOTENCY).labels(outcome)
        for reporter in (*settings.errors.reporters, *(["sentry"] if settings.sentry_dsn else [])):
            for result in REPORT_OUTCOMES:
                self.registry.add(Counter, builtin.ERROR_REPORTS).labels(reporter, result)

    def request_started(self, method: str) -> None:
        """Count a request as in progress.

        Args:
            method: The HTTP method, one of a known few.

        """
        try:
            active = self._active_requests[method]
        except KeyError:
            active = self._active(method)
        acquire()
        try:
            active.cells[0] += 1
        finally:
            release()

    def request_finished(self, method: str, route: str, status_code: int, seconds: float) -> None:
        """Count a request that was in progress.

        Args:
            method: The HTTP method, as it was started with.
            route: The route's template, never the raw path.
            status_code: What was answered.
            seconds: How long it took.

        """
        try:
            request = self._requests[method, route, status_code]
            active = self._active_requests[method]
        except KeyError:
            request, active = self._request(method, route, status_code), self._active(method)
        bucket = bisect_left(DURATIONS, seconds)
        acquire()
        try:
            cells = request.cells
            cells[bucket] += 1
            cells[-1] += seconds
            active.cells[0] -= 1
        finally:
            release()

    def log_record(self, level: str) -> None:
        """Count a log line.

        Args:
            level: The level's name.

        """
        try:
            records = self._log_records[level]
        except KeyError:
            records = self._of_level(level)
        acquire()
        try:
            records.cells[0] += 1
        finally:
            release()

    def query_finished(self, statement: str, seconds: float) -> None:
        """Count a statement.

        Args:
            statement: Its kind, such as `SELECT`.
            seconds: How long it took.

        """
        self._observe(builtin.QUERIES, seconds, statement)

    def call_finished(self, method: str, server: str, status_code: int | None, seconds: float) -> None:
        """Count a request to another service.

        Args:
            method: The HTTP method.
            server: The host that was called.
            status_code: What it answered; None when no answer came.
            seconds: How long that took.

        """
        self._observe(builtin.CALLS, seconds, method, server, status_code or "error")

    def idempotency(self, outcome: str) -> None:
        """Count a request with a key.

        Args:
            outcome: What became of it, one of `core.idempotency.Outcome`.

        """
        self._count(builtin.IDEMPOTENCY, outcome)

    def cache_operation(self, cache: str, operation: str, outcome: str, seconds: float) -> None:
        """Count an operation of a cache.

        Args:
            cache: The cache's name, or its backend's.
            operation: Such as `get`, `set` or `delete`.
            outcome: Such as `hit`, `miss`, `success` or `error`.
            seconds: How long it took.

        """
        self._observe(builtin.CACHE_OPERATIONS, seconds, cache, operation, outcome)

    def task_started(self, task: str) -> None:
        """Count a task as in progress.

        Args:
            task: Its name.

        """
        self._gauge(builtin.ACTIVE_TASKS, task).inc()

    def task_finished(self, task: str, outcome: str, seconds: float) -> None:
        """Count a task that was in progress.

        Args:
            task: Its name.
            outcome: Such as `success`, `failure` or `retry`.
            seconds: How long it took.

        """
        self._gauge(builtin.ACTIVE_TASKS, task).dec()
        self._observe(builtin.TASKS, seconds, task, outcome)

    def message_started(self, queue: str) -> None:
        """Count a message as in progress.

        Args:
            queue: Where it came from.

        """
        self._gauge(builtin.ACTIVE_MESSAGES, queue).inc()

    def message_finished(self, queue: str, kind: str, outcome: str, seconds: float) -> None:
        """Count a message that was in progress.

        Args:
            queue: Where it came from.
            kind: Its type.
            outcome: Such as `success`, `duplicate`, `retry` or `dead`.
            seconds: How long its handling took.

        """
        self._gauge(builtin.ACTIVE_MESSAGES, queue).dec()
        self._observe(builtin.MESSAGES, seconds, queue, kind, outcome)

    def error_reported(self, reporter: str, outcome: str) -> None:
        """Count the report of an error.

        Args:
            reporter: Where it goes, such as `log` or `sentry`.
            outcome: What became of it there: `delivered`, `failed`, `dropped` or `suppressed`.

        """
        self._count(builtin.ERROR_REPORTS, reporter, outcome)

    def health_checked(self, result: CheckResult) -> None:
        """Show what a readiness check found.

        Args:
            result: What it found.

        """
        self._gauge(builtin.HEALTH, result.name).set(1 if result.status is Status.OK else 0)

    def watch_log(self, health: Callable[[], LogHealth]) -> None:
        """Show at each scrape what became of log lines, by sink.

        Args:
            health: Returns it.

        """
        dropped = self.registry.add(Counter, builtin.LOG_DROPPED)
        failed = self.registry.add(Counter, builtin.LOG_FAILED)
        queued = self.registry.add(Gauge, builtin.LOG_QUEUED)

        @self.registry.on_scrape
        def refresh_log() -> None:
            for sink, account in health().sinks.items():
                dropped.labels(sink).follow(account.dropped)
                failed.labels(sink).follow(account.failed_writes)
                queued.labels(sink).set(account.queued_bytes)

    def watch_pool(self, pool: Callable[[], PoolState]) -> None:
        """Show at each scrape what the database's connections do.

        Args:
            pool: Returns it.

        """
        connections = self.registry.add(Gauge, builtin.POOL_CONNECTIONS)
        limit = self.registry.add(Gauge, builtin.POOL_LIMIT)

        @self.registry.on_scrape
        def refresh_pool() -> None:
            now = pool()
            connections.labels("in_use").set(now.in_use)
            connections.labels("idle").set(now.idle)
            limit.set(now.limit)

    def start(self) -> None:
        """Keep what other worker processes see of this one up to date."""
        if self._sharing is not None:
            self._sharing.start()

    def close(self) -> None:
        """Take no further part in what worker processes count together."""
        if self._sharing is not None:
            self._sharing.close()

    def render(self) -> bytes:
        """Return the exposition of all series, of all worker processes together."""
        for registry in (self.registry, OWN):
            registry.refresh()
        own = Source([*self.registry.samples(), *OWN.samples()])
        others = self._sharing.others() if self._sharing is not None else ()
        return render(merge([own, *others]))

    def _active(self, method: str) -> Gauge:
        series = self._gauge(builtin.ACTIVE_REQUESTS, method)
        if series.values == (method,):
            self._active_requests[method] = series
        return series

    def _request(self, method: str, route: str, status_code: int) -> Histogram:
        series = self.registry.add(Histogram, builtin.REQUESTS).labels(method, route, status_code)
        # What counts as _OTHER is not remembered: it may be any number of combinations.
        if series.values == (method, route, str(status_code)):
            self._requests[method, route, status_code] = series
        return series

    def _of_level(self, level: str) -> Counter:
        series = self._log_records[level] = self.registry.add(Counter, builtin.LOG_RECORDS).labels(level)
        return series

    def _gauge(self, definition: Definition, *values: object) -> Gauge:
        return self.registry.add(Gauge, definition).labels(*values)

    def _count(self, definition: Definition, *values: object) -> None:
        self.registry.add(Counter, definition).labels(*values).inc()

    def _observe(self, definition: Definition, value: float, *labels: object) -> None:
        self.registry.add(Histogram, definition).labels(*labels).observe(value)


def _share(settings: Settings, *registries: Registry) -> "Sharing | None":
    if settings.prometheus_multiproc_dir is None:
        return None
    # Not at the top: it needs locks on files as POSIX has them, and one process needs none of it.
    from .metrics_sharing import Sharing

    return Sharing(Path(settings.prometheus_multiproc_dir), registries)
