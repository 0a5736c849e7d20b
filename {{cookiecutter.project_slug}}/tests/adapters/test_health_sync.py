"""Readiness checks without an event loop: together, within their time, remembered, logged when they begin to fail."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.adapters.health_sync import SyncHealth
from app.core.health import Report, SyncCheck

from ..conftest import Log

PATIENCE = 60.0


class Dependency:
    """Something that works or does not."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked = 0

    def probe(self) -> None:
        """Answer, or fail."""
        self.asked += 1
        if self.error is not None:
            raise self.error


class Hanging:
    """Something that does not answer before it may."""

    def __init__(self) -> None:
        self.asked = 0
        self.has_begun = threading.Event()
        self.may_answer = threading.Event()
        self.has_answered = threading.Event()

    def probe(self) -> None:
        """Wait."""
        self.asked += 1
        self.has_begun.set()
        self.may_answer.wait(PATIENCE)
        self.has_answered.set()


def statuses(report: Report) -> dict[str, str]:
    """Return the status of each check."""
    return {check.name: check.status.value for check in report.checks}


def health(*probes: Callable[[], None], timeout: float = 30, cache: float = 0) -> SyncHealth:
    """Return a registry of required checks, named a, b and so on."""
    registry = SyncHealth(timeout=timeout, cache=cache)
    for name, probe in zip("abc", probes, strict=False):
        registry.register(SyncCheck(name, probe))
    return registry


def test_all_pass() -> None:
    """The service is ready when every check passes; a report has them in the order of registration."""
    report = health(Dependency().probe, Dependency().probe).report()
    assert report.ready
    assert list(statuses(report).items()) == [("a", "ok"), ("b", "ok")]
    assert all(0 <= check.duration < PATIENCE for check in report.checks)


def test_nothing_registered() -> None:
    """Without checks the service is ready."""
    assert health().report().ready


def test_required_check_fails() -> None:
    """The service is not ready while a required check fails."""
    broken = Dependency()
    broken.error = OSError("refused")
    report = health(Dependency().probe, broken.probe).report()
    assert not report.ready
    assert statuses(report) == {"a": "ok", "b": "failed"}


def test_optional_check_fails() -> None:
    """The service is ready without what it can do without, and says what is missing."""
    broken = Dependency()
    broken.error = OSError("refused")
    registry = health(Dependency().probe)
    registry.register(SyncCheck("extra", broken.probe, required=False))
    report = registry.report()
    assert report.ready
    assert report.document()["status"] == "degraded"
    assert statuses(report) == {"a": "ok", "extra": "failed"}


def test_checks_run_together() -> None:
    """No check waits for another one."""
    both_inside = threading.Barrier(2)

    def meet() -> None:
        both_inside.wait(PATIENCE)

    assert health(meet, meet).report().ready


def test_check_that_hangs() -> None:
    """A check that does not answer in time has failed, and the others are as they are."""
    hanging = Hanging()
    report = health(hanging.probe, Dependency().probe, timeout=0.02).report()
    assert statuses(report) == {"a": "failed", "b": "ok"}
    hanging.may_answer.set()


def test_checks_that_hang_together() -> None:
    """Two checks that hang take the time of one: it is counted from where both began."""
    hanging = [Hanging(), Hanging()]
    first, second = health(*(one.probe for one in hanging), timeout=0.5).report().checks
    assert 0.5 <= second.duration < first.duration + 0.5
    for one in hanging:
        one.may_answer.set()


def test_check_with_a_time_of_its_own() -> None:
    """A check that is slower or more important than others has a time of its own."""
    hanging = Hanging()
    registry = SyncHealth(timeout=3600, cache=0)
    registry.register(SyncCheck("slow", hanging.probe, timeout=0.02))
    assert statuses(registry.report()) == {"slow": "failed"}
    hanging.may_answer.set()


def test_check_that_cannot_be_stopped(log: Log) -> None:
    """A probe that goes on after its time holds nobody up, and is not started again before it ends."""
    hanging = Hanging()
    registry = health(hanging.probe, timeout=0.02)
    for _ in range(3):
        assert statuses(registry.report()) == {"a": "failed"}
    assert hanging.asked == 1
    thread = registry._probes["a"].thread
    hanging.may_answer.set()
    thread.join(PATIENCE)
    assert statuses(registry.report()) == {"a": "ok"}
    assert hanging.asked == 2
    assert [line["exception"][0]["message"] for line in log.named("health.check_failed")] == [
        "no answer within 0.02 seconds"
    ]


def test_check_that_exits() -> None:
    """A probe that wants to end the process is a failed check."""
    assert statuses(health(lambda: exit(3)).report()) == {"a": "failed"}


def test_check_is_switched_off() -> None:
    """A check that was taken out is neither asked nor shown; an unknown name is refused with the known ones."""
    dependency = Dependency()
    registry = health(dependency.probe, Dependency().probe, cache=3600)
    assert statuses(registry.report()) == {"a": "ok", "b": "ok"}
    registry.remove("a")
    assert statuses(registry.report()) == {"b": "ok"}
    assert dependency.asked == 1
    with pytest.raises(ValueError, match="no check named 'a'; there are: b"):
        registry.remove("a")


def test_results_serve_again() -> None:
    """Within the cache's time no dependency is asked again."""
    dependency = Dependency()
    registry = health(dependency.probe, cache=3600)
    for _ in range(3):
        registry.report()
    assert dependency.asked == 1


def test_results_expire() -> None:
    """After the cache's time a dependency is asked again, and its recovery is seen."""
    dependency = Dependency()
    dependency.error = OSError("refused")
    registry = health(dependency.probe, cache=0)
    assert not registry.report().ready
    dependency.error = None
    assert registry.report().ready


def test_probes_at_the_same_moment_share_a_run() -> None:
    """However many ask at once, a dependency is asked once."""
    hanging = Hanging()
    registry = health(hanging.probe, cache=3600)
    with ThreadPoolExecutor(20) as pool:
        reports = [pool.submit(registry.report) for _ in range(20)]
        assert hanging.has_begun.wait(PATIENCE)
        hanging.may_answer.set()
        assert all(report.result().ready for report in reports)
    assert hanging.asked == 1


def test_shutting_down() -> None:
    """A service that is about to stop takes no new work, at once and whatever is remembered."""
    dependency = Dependency()
    registry = health(dependency.probe)
    assert registry.report().ready
    registry.shutting_down = True
    report = registry.report()
    assert not report.ready
    assert report.document()["status"] == "shutting_down"
    assert dependency.asked == 1


def test_shutting_down_while_a_check_hangs() -> None:
    """That the service is about to stop is said at once, whatever another caller waits for."""
    hanging = Hanging()
    registry = health(hanging.probe, timeout=PATIENCE)
    waiting = threading.Thread(target=registry.report)
    waiting.start()
    assert hanging.has_begun.wait(PATIENCE)
    registry.shutting_down = True
    assert not registry.report().ready
    assert not hanging.has_answered.is_set()
    hanging.may_answer.set()
    waiting.join(PATIENCE)


def test_shutting_down_for_those_who_wait() -> None:
    """Whoever waits for a run when the service is told to stop hears so, and starts none of its own."""
    hanging = Hanging()
    registry = health(hanging.probe, timeout=PATIENCE)
    with ThreadPoolExecutor(2) as pool:
        reports = [pool.submit(registry.report) for _ in range(2)]
        assert hanging.has_begun.wait(PATIENCE)
        registry.shutting_down = True
        hanging.may_answer.set()
        assert not any(report.result().ready for report in reports)
    assert hanging.asked == 1


def test_failure_is_logged_when_it_begins(log: Log) -> None:
    """A failure is one line when it begins, however often it is probed, one when it is over, and so on."""
    dependency = Dependency()
    registry = health(dependency.probe)
    for error in (OSError("refused"), OSError("refused"), None, None, OSError("again")):
        dependency.error = error
        registry.report()
    lines = log.named("health.check_failed")
    assert [(line["level"], line["check"]) for line in lines] == [("warning", "a")] * 2
    assert [line["exception"][0]["message"] for line in lines] == ["refused", "again"]
    assert [(line["level"], line["check"]) for line in log.named("health.check_recovered")] == [("info", "a")]


def test_name_is_taken() -> None:
    """Two checks of one name would hide each other."""
    registry = health(Dependency().probe)
    with pytest.raises(ValueError, match="a check named 'a' is registered already"):
        registry.register(SyncCheck("a", Dependency().probe))


def test_results_are_told() -> None:
    """Whoever wants to know, such as the metrics, hears of each check that ran, and of none that did not."""
    told: list[tuple[str, str]] = []
    checks = SyncHealth(timeout=1, cache=60, on_result=lambda result: told.append((result.name, result.status.value)))
    dependency = Dependency()
    dependency.error = ConnectionRefusedError()
    checks.register(SyncCheck("queue", dependency.probe))
    checks.report()
    checks.report()
    assert told == [("queue", "failed")]
