"""A reporter behind its queue: order, bound, failures, the end, and a fork."""

import os
import threading

import pytest

from app.adapters.reporters import worker as module
from app.adapters.reporters.worker import ReporterWorker

from ...conftest import Log
from ...reports import PATIENCE, Collected, a_report


class Worker(ReporterWorker):
    """A worker that notes what became of its reports.

    Args:
        reporter: What it delivers to.
        max_reports: How many wait.

    """

    def __init__(self, reporter: Collected, *, max_reports: int = 100) -> None:
        self.outcomes: list[str] = []
        self.connected = 0
        super().__init__("test", self._made, max_reports=max_reports, on_outcome=self.outcomes.append)
        self._reporter = reporter

    def _made(self) -> Collected:
        self.connected += 1
        return self._reporter


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 0)


def threads() -> list[threading.Thread]:
    """Return the workers' threads."""
    return [thread for thread in threading.enumerate() if thread.name == "error-reports-test"]


def test_order_and_end() -> None:
    """Reports arrive in order; closing delivers what waits, closes the reporter and ends the thread."""
    reporter = Collected()
    worker = Worker(reporter)
    assert (worker.flush(0), worker.connected, threads()) == (True, 0, [])
    reports = [a_report() for _ in range(50)]
    for report in reports:
        worker.put(report)
    worker.close(PATIENCE)
    assert reporter.reports == reports
    assert worker.outcomes == ["delivered"] * 50
    assert (reporter.closed, worker.connected, threads()) == (1, 1, [])


def test_comes_back_after_closing() -> None:
    """A report that comes after the end starts it again; closing twice is harmless."""
    reporter = Collected()
    worker = Worker(reporter)
    for _ in range(2):
        worker.put(a_report())
        worker.close(PATIENCE)
        worker.close(PATIENCE)
    assert (len(reporter.reports), worker.connected) == (2, 2)


def test_full_queue() -> None:
    """What finds the queue full is dropped and counted; the caller never waits."""
    reporter = Collected()
    reporter.open.clear()
    worker = Worker(reporter, max_reports=3)
    for _ in range(20):
        worker.put(a_report())
    dropped = worker.outcomes.count("dropped")
    assert dropped in (16, 17)
    reporter.open.set()
    worker.close(PATIENCE)
    assert worker.outcomes.count("delivered") + dropped == 20


def test_failure_is_logged_once(log: Log) -> None:
    """A failing reporter is logged when it begins and when it recovers; each lost report is counted."""
    reporter = Collected()
    worker = Worker(reporter)
    reporter.failures = 3 * module.ATTEMPTS
    for _ in range(5):
        worker.put(a_report())
    assert worker.flush(PATIENCE)
    worker.close(PATIENCE)
    assert worker.outcomes == ["failed"] * 3 + ["delivered"] * 2
    (failed,) = log.named("error.reporter_failed")
    assert (failed["reporter"], failed["exception"][0]["message"]) == ("test", "the destination is away")
    assert [line["lost"] for line in log.named("error.reporter_recovered")] == [3]


def test_second_attempt() -> None:
    """A failure that does not last costs no report."""
    reporter = Collected()
    reporter.failures = 1
    worker = Worker(reporter)
    worker.put(a_report())
    assert worker.flush(PATIENCE)
    worker.close(PATIENCE)
    assert worker.outcomes == ["delivered"]


def test_hanging_at_the_end(log: Log) -> None:
    """Closing waits for a bounded time; what is left is dropped, counted and logged, and the thread ends later."""
    reporter = Collected()
    reporter.open.clear()
    worker = Worker(reporter)
    for _ in range(5):
        worker.put(a_report())
    (thread,) = threads()
    worker.close(0.05)
    dropped = worker.outcomes.count("dropped")
    assert [line["dropped"] for line in log.named("error.reports_dropped")] == [dropped]
    assert dropped in (4, 5)
    reporter.open.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_closing_does_not_wait_to_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reporter that fails at the end does not make the end wait for its second attempt."""
    monkeypatch.setattr(module, "RETRY_SECONDS", 10 * PATIENCE)
    reporter = Collected()
    reporter.failures = 1000
    worker = Worker(reporter)
    for _ in range(3):
        worker.put(a_report())
    worker.close(PATIENCE)
    assert (worker.outcomes, threads()) == (["failed"] * 3, [])


def test_closing_all() -> None:
    """All workers of a process are closed together."""
    workers = [Worker(Collected()) for _ in range(3)]
    for worker in workers:
        worker.put(a_report())
    module.close_all(PATIENCE)
    assert [worker.outcomes for worker in workers] == [["delivered"]] * 3


# Python warns of what is tested here: a fork beside a thread.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_fork() -> None:
    """A child has a queue, a thread and a connection of its own, even when it was made while the parent's were busy."""
    reporter = Collected()
    reporter.open.clear()
    worker = Worker(reporter)
    worker.put(a_report())
    child = os.fork()
    if child == 0:
        own = Collected()
        worker._reporter = own
        worker.put(a_report())
        worker.close(PATIENCE)
        os._exit(len(own.reports) if worker.outcomes == ["delivered"] else 9)
    _, status = os.waitpid(child, 0)
    reporter.open.set()
    worker.close(PATIENCE)
    assert os.waitstatus_to_exitcode(status) == 1
    assert worker.outcomes == ["delivered"]
