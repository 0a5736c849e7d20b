"""What a daemon tells Prometheus of its event loop, its background tasks and its periodic jobs."""

from collections.abc import Callable

from ..core.metrics import DURATIONS, Counter, Gauge, Histogram, Kind, define
from .metrics import Metrics

LOOP_LAG = define(
    Kind.GAUGE,
    "event_loop_lag_seconds",
    "How long the event loop was held up, at most, in the last minute or now.",
    across="max",
)
TASK_CRASHES = define(Kind.COUNTER, "background_task_crashes_total", "Crashes of background tasks.", ["task"])
TASK_UP = define(
    Kind.GAUGE,
    "background_task_up",
    "0 from a background task's crash until it begins again, otherwise 1.",
    ["task"],
    across="min",
)
# Not `job`, which Prometheus calls what it scrapes.
JOB_RUNS = define(
    Kind.COUNTER,
    "periodic_job_runs_total",
    "Runs of periodic jobs, by what became of them.",
    ["name", "outcome"],
)
JOB_DURATIONS = define(
    Kind.HISTOGRAM,
    "periodic_job_duration_seconds",
    "How long runs of periodic jobs took.",
    ["name"],
    buckets=(*DURATIONS, 30.0, 60.0, 300.0),
)
SUCCESS, FAILURE, INTERRUPTED, SKIPPED = "success", "failure", "interrupted", "skipped"
OUTCOMES = (SUCCESS, FAILURE, INTERRUPTED, SKIPPED)


class DaemonMetrics:
    """The series that only a daemon has.

    Args:
        metrics: The service's series, which they are shown beside.

    """

    def __init__(self, metrics: Metrics) -> None:
        self._registry = metrics.registry
        self._crashes = self._registry.add(Counter, TASK_CRASHES)
        self._up = self._registry.add(Gauge, TASK_UP)
        self._runs = self._registry.add(Counter, JOB_RUNS)
        self._durations = self._registry.add(Histogram, JOB_DURATIONS)

    def watch_task(self, task: str) -> None:
        """Show a background task from before it begins: an alert on a rise needs a series that is there before.

        Args:
            task: Its name.

        """
        self._crashes.labels(task)
        self._up.labels(task).set(0)

    def task_began(self, task: str) -> None:
        """Show that a background task runs.

        Args:
            task: Its name.

        """
        self._up.labels(task).set(1)

    def task_crashed(self, task: str) -> None:
        """Count a background task's crash.

        Args:
            task: Its name.

        """
        self._crashes.labels(task).inc()
        self._up.labels(task).set(0)

    def watch_job(self, job: str) -> None:
        """Show a periodic job from before its first run.

        Args:
            job: Its name.

        """
        for outcome in OUTCOMES:
            self._runs.labels(job, outcome)

    def job_ended(self, job: str, outcome: str, seconds: float) -> None:
        """Count a run of a periodic job.

        Args:
            job: Its name.
            outcome: `success`, `failure`, or `interrupted` when the daemon stopped.
            seconds: How long it took.

        """
        self._runs.labels(job, outcome).inc()
        self._durations.labels(job).observe(seconds)

    def job_skipped(self, job: str, runs: int) -> None:
        """Count runs of a periodic job that did not take place.

        Args:
            job: Its name.
            runs: How many.

        """
        self._runs.labels(job, SKIPPED).inc(runs)

    def watch_loop(self, lag: Callable[[], float]) -> None:
        """Show at each scrape how long the event loop was held up.

        Args:
            lag: Returns it in seconds; called in a thread, also while the loop is held up.

        """
        gauge = self._registry.add(Gauge, LOOP_LAG)

        @self._registry.on_scrape
        def refresh_lag() -> None:
            gauge.set(lag())
