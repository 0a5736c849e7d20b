"""What the service tells Prometheus: its built-in series, and those that its own code makes (`app.core.metrics`).

Each application has its built-in series to itself, so that two in one process, as in tests, do not share numbers.
"""

from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.connection_pool import PoolState
from ..core.health import CheckResult, Status
from ..core.idempotency import Outcome
from ..core.metrics import DURATIONS, OWN, Counter, Definition, Gauge, Histogram, Registry, Source, builtin, merge
from ..core.metrics.series import acquire, release
from ..core.query_failures import QueryFailure
from ..core.retry import Reason
from ..settings import Settings
from .logging import LogHealth
from .metrics_exposition import CONTENT_TYPE, render, watch_process

if TYPE_CHECKING:
    from .metrics_sharing import Sharing

LEVELS = ("debug", "info", "warning", "error", "critical")
REPORT_OUTCOMES = ("delivered", "failed", "dropped", "suppressed")


class Metrics:
    """The series of the service.

    Requests, log lines and statements are counted in its first methods, which run for every request: nothing is
    looked up there that was looked up before, and the numbers are changed in place. All others are counted through the
    series.

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
        self._queries: dict[str, tuple[Histogram, Counter]] = {}
        self._request_queries: dict[tuple[str, str], Histogram] = {}
        self._active_tasks: dict[str, Gauge] = {}
        self._tasks: dict[tuple[str, str], Histogram] = {}
        self._task_waits: dict[str, Histogram] = {}
        watch_process(self.registry)
        self._gauge(builtin.INFO, settings.service_name, settings.service_version, settings.environment).set(1)
        # From the start and at 0: an alert on a rise does not see a series that begins with its first event.
        for level in LEVELS:
            self._of_level(level)
        outcomes = self.registry.add(Counter, builtin.IDEMPOTENCY)
        self._idempotency = {outcome.value: outcomes.labels(outcome) for outcome in Outcome}
        for reason in QueryFailure:
            self.registry.add(Counter, builtin.DATABASE_ERRORS).labels(reason)
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

    def query_finished(self, statement: str, seconds: float, rows: int = -1) -> None:
        """Count a statement.

        Args:
            statement: Its kind, one of a known few, such as `SELECT`.
            seconds: How long it took.
            rows: How many it returned or changed; below 0 when that is not known.

        """
        try:
            durations, counted = self._queries[statement]
        except KeyError:
            durations, counted = self._of_kind(statement)
        bucket = bisect_left(DURATIONS, seconds)
        acquire()
        try:
            cells = durations.cells
            cells[bucket] += 1
            cells[-1] += seconds
            if rows > 0:
                counted.cells[0] += rows
        finally:
            release()

    def request_queries(self, method: str, route: str, queries: int) -> None:
        """Count the statements of a request that sent any.

        Args:
            method: The HTTP method, as its duration is counted with.
            route: The route's template.
            queries: How many statements it sent.

        """
        try:
            series = self._request_queries[method, route]
        except KeyError:
            series = self.registry.add(Histogram, builtin.QUERIES_OF_REQUESTS).labels(method, route)
            if series.values == (method, route):
                self._request_queries[method, route] = series
        series.observe(queries)

    def slow_query(self, statement: str) -> None:
        """Count a statement that took too long.

        Args:
            statement: Its kind.

        """
        self._count(builtin.SLOW_QUERIES, statement)

    def database_failed(self, failure: str) -> None:
        """Count an error of the database.

        Args:
            failure: Why, one of `core.query_failures.QueryFailure`.

        """
        self._count(builtin.DATABASE_ERRORS, failure)

    def connection_awaited(self, seconds: float) -> None:
        """Count how long it took until there was a connection to the database.

        Args:
            seconds: How long.

        """
        self._observe(builtin.POOL_WAITS, seconds)

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
        counter = self._idempotency.get(outcome)
        if counter is None:
            self._count(builtin.IDEMPOTENCY, outcome)
        else:
            counter.inc()

    def idempotency_purged(self, records: int) -> None:
        """Count records that were deleted because they were over.

        Args:
            records: How many.

        """
        self.registry.add(Counter, builtin.IDEMPOTENCY_PURGED).labels().inc(records)

    def cache_operation(self, cache: str, operation: str, outcome: str, seconds: float) -> None:
        """Count an operation of a cache.

        Args:
            cache: The cache's name, or its backend's.
            operation: Such as `get`, `set` or `delete`.
            outcome: Such as `hit`, `miss`, `success` or `error`.
            seconds: How long it took.

        """
        self._observe(builtin.CACHE_OPERATIONS, seconds, cache, operation, outcome)

    def task_started(self, task: str, waited: float | None = None) -> None:
        """Count a task as in progress.

        Args:
            task: Its name.
            waited: Seconds from when it was sent, or due, until now; None when that is not known.

        """
        active = self._active_tasks.get(task) or self._active_task(task)
        acquire()
        try:
            active.cells[0] += 1
        finally:
            release()
        if waited is not None:
            waits = self._task_waits.get(task) or self._waits_of(task)
            bucket = bisect_left(waits.definition.buckets, waited)
            acquire()
            try:
                cells = waits.cells
                cells[bucket] += 1
                cells[-1] += waited
            finally:
                release()

    def task_finished(self, task: str, outcome: str, seconds: float) -> None:
        """Count a task that was in progress.

        Args:
            task: Its name.
            outcome: Such as `success`, `failure` or `retry`.
            seconds: How long it took.

        """
        durations = self._tasks.get((task, outcome)) or self._task(task, outcome)
        active = self._active_tasks.get(task) or self._active_task(task)
        bucket = bisect_left(DURATIONS, seconds)
        acquire()
        try:
            cells = durations.cells
            cells[bucket] += 1
            cells[-1] += seconds
            active.cells[0] -= 1
        finally:
            release()

    def task_ended(self, task: str, outcome: str, seconds: float = 0.0) -> None:
        """Count a task that this process did not work on, or not to its end.

        Args:
            task: Its name.
            outcome: Such as `revoked`, `lost` or `unknown`.
            seconds: How long it took.

        """
        self._observe(builtin.TASKS, seconds, task, outcome)

    def task_queries(self, task: str, queries: int) -> None:
        """Count the statements of a task that sent any.

        Args:
            task: Its name.
            queries: How many statements it sent.

        """
        self._observe(builtin.QUERIES_OF_TASKS, queries, task)

    def task_sent(self, task: str, outcome: str) -> None:
        """Count a task that was sent to a worker.

        Args:
            task: Its name.
            outcome: `sent`, or `failed` when the broker did not take it.

        """
        self._count(builtin.SENT_TASKS, task, outcome)

    def watch_dead_letters(self) -> None:
        """Show from the start, at 0, that tasks can be given up."""
        for reason in Reason:
            self.registry.add(Counter, builtin.DEAD_LETTERS).labels(reason)

    def task_given_up(self, reason: str) -> None:
        """Count a task that went to the dead letters.

        Args:
            reason: Why, one of `core.retry.Reason`.

        """
        self._count(builtin.DEAD_LETTERS, reason)

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
        waiting = self.registry.add(Gauge, builtin.POOL_WAITING)
        timeouts = self.registry.add(Counter, builtin.POOL_TIMEOUTS)

        @self.registry.on_scrape
        def refresh_pool() -> None:
            now = pool()
            connections.labels("in_use").set(now.in_use)
            connections.labels("idle").set(now.idle)
            limit.set(now.limit)
            waiting.set(now.waiting)
            timeouts.follow(now.timeouts)

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

    def _active_task(self, task: str) -> Gauge:
        series = self._gauge(builtin.ACTIVE_TASKS, task)
        if series.values == (task,):
            self._active_tasks[task] = series
        return series

    def _task(self, task: str, outcome: str) -> Histogram:
        series = self.registry.add(Histogram, builtin.TASKS).labels(task, outcome)
        if series.values == (task, outcome):
            self._tasks[task, outcome] = series
        return series

    def _waits_of(self, task: str) -> Histogram:
        series = self.registry.add(Histogram, builtin.TASK_WAITS).labels(task)
        if series.values == (task,):
            self._task_waits[task] = series
        return series

    def _of_kind(self, statement: str) -> tuple[Histogram, Counter]:
        # At 0 with the first statement of its kind: an alert on a rise needs a series that is there before.
        self.registry.add(Counter, builtin.SLOW_QUERIES).labels(statement)
        durations = self.registry.add(Histogram, builtin.QUERIES).labels(statement)
        series = self._queries[statement] = (durations, self.registry.add(Counter, builtin.ROWS).labels(statement))
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
