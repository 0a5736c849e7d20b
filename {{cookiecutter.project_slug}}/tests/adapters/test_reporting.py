"""From an error to its reporters: once, capped, isolated, and never in the way."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from app.adapters.reporters.log import LogReporter
from app.adapters.reporters.worker import ReporterWorker
from app.adapters.reporting import ErrorReporting, error_reporting
from app.core.context import request_context
from app.core.errors import Severity
from app.core.logging import is_reported
from app.core.reporting import ErrorContext, ReportCap, report_error
from app.settings import Settings
from app.settings_groups import ErrorSettings

from ..conftest import Log
from ..processes import run_python
from ..reports import PATIENCE, Collected, raised

HERE = ErrorContext(operation="test")
SECRET = "-".join(["correct", "horse"])


class Outcomes(list[tuple[str, str]]):
    """What became of reports."""

    def add(self, reporter: str, outcome: str) -> None:
        """Note one."""
        self.append((reporter, outcome))

    def worker(self, name: str, reporter: Collected, *, max_reports: int = 100) -> ReporterWorker:
        """Return a worker whose outcomes are noted here."""
        return ReporterWorker(
            name, lambda: reporter, max_reports=max_reports, on_outcome=lambda outcome: self.add(name, outcome)
        )


@pytest.fixture
def outcomes() -> Outcomes:
    """Return an empty list."""
    return Outcomes()


@pytest.fixture
def collected() -> Collected:
    """Return a reporter that works."""
    return Collected()


@pytest.fixture
def reporting(outcomes: Outcomes, collected: Collected) -> Iterator[ErrorReporting]:
    """Return what reports to the log and to one other reporter, twice per fault."""
    built = ErrorReporting(
        workers=(outcomes.worker("other", collected),),
        to_log=LogReporter(),
        cap=ReportCap(2, 3600),
        on_outcome=outcomes.add,
    )
    yield built
    collected.open.set()
    built.close()


def broken(message: str = "broken") -> Exception:
    """Return an error of one place."""
    return raised(RuntimeError(message))


def test_every_reporter_gets_it(reporting: ErrorReporting, collected: Collected, outcomes: Outcomes, log: Log) -> None:
    """A report goes to the log at once and to the others off the caller's thread, under one id."""
    report_id = reporting.report(broken(), ErrorContext("pay", extra={"amount": 5}))
    (line,) = log.named("error.reported")
    assert (line["report_id"], line["level"], line["operation"], line["amount"]) == (report_id, "error", "pay", 5)
    assert [cause["type"] for cause in line["exception"]] == ["RuntimeError"]
    assert reporting.flush(PATIENCE)
    assert [report.id for report in collected.reports] == [report_id]
    assert collected.threads == {"error-reports-other"}
    assert outcomes == [("log", "delivered"), ("other", "delivered")]


def test_once(reporting: ErrorReporting, collected: Collected, log: Log) -> None:
    """An error is reported once, however often it is reported on its way up."""
    error = broken()
    assert len({reporting.report(error, HERE) for _ in range(3)}) == 1
    reporting.flush(PATIENCE)
    assert (len(collected.reports), len(log.named("error.reported"))) == (1, 1)


def test_what_is_in_the_log_is_not_logged_again(reporting: ErrorReporting, collected: Collected, log: Log) -> None:
    """An error that the caller logs, or that was logged, goes to the other reporters only."""
    error = broken()
    reporting.report(error, HERE, in_log=True)
    assert not is_reported(error)
    logged = broken()
    reporting.report(logged, HERE)
    logged.__dict__.pop("__app_error_report__")
    reporting.report(logged, HERE)
    reporting.flush(PATIENCE)
    assert (len(log.named("error.reported")), len(collected.reports)) == (1, 2)
    assert is_reported(logged)


def test_nobody_wants_it(outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that the caller logs, and that no other reporter takes, is not even described."""
    monkeypatch.setattr("app.adapters.reporting.build_report", pytest.fail)
    reporting = ErrorReporting(to_log=LogReporter(), cap=ReportCap(1, 60), on_outcome=outcomes.add)
    assert [reporting.report(broken(), HERE, in_log=True) for _ in range(3)] == [None] * 3
    assert outcomes == []


def test_storm(reporting: ErrorReporting, collected: Collected, outcomes: Outcomes, log: Log) -> None:
    """Of a storm a few are reported, the rest is counted per reporter, and told at the latest at the end."""
    ids = [reporting.report(broken(str(number)), HERE) for number in range(100)]
    assert [report_id is None for report_id in ids] == [False, False] + [True] * 98
    reporting.close()
    assert (len(collected.reports), len(log.named("error.reported"))) == (2, 2)
    assert (outcomes.count(("other", "suppressed")), outcomes.count(("log", "suppressed"))) == (98, 98)
    assert [line["suppressed"] for line in log.named("error.suppressed")] == [98]


def test_suppressed_is_told_with_the_next(
    outcomes: Outcomes, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next report that passes says how many did not."""
    reporting = ErrorReporting(
        workers=(outcomes.worker("other", collected),), cap=ReportCap(1, 60), on_outcome=outcomes.add
    )
    clock = iter([0.0, 1.0, 2.0, 61.0])
    monkeypatch.setattr("app.adapters.reporting.time", SimpleNamespace(monotonic=lambda: next(clock)))
    for _ in range(4):
        reporting.report(broken(), HERE)
    monkeypatch.undo()
    reporting.close()
    assert [report.suppressed for report in collected.reports] == [0, 2]


def test_a_suppressed_error_is_counted_once(reporting: ErrorReporting, outcomes: Outcomes) -> None:
    """An error that the cap held back is not counted again by whoever catches it next."""
    for _ in range(2):
        reporting.report(broken(), HERE)
    error = broken()
    assert [reporting.report(error, HERE) for _ in range(3)] == [None, None, None]
    assert outcomes.count(("other", "suppressed")) == 1


class BrokenReporter:
    """A reporter that fails as hard as it can."""

    def report(self, report: Any) -> None:
        """Fail."""
        raise ZeroDivisionError

    def close(self) -> None:
        """Nothing is open."""


def test_reporters_are_isolated(outcomes: Outcomes, collected: Collected) -> None:
    """One that hangs, one that fails and the log that fails keep nothing from the others, or from the caller."""
    hanging, failing = Collected(), Collected()
    hanging.open.clear()
    failing.failures = 1000
    workers = (
        outcomes.worker("hanging", hanging),
        outcomes.worker("failing", failing),
        outcomes.worker("working", collected),
    )
    reporting = ErrorReporting(
        workers=workers, to_log=BrokenReporter(), cap=ReportCap(100, 60), on_outcome=outcomes.add
    )
    for _ in range(3):
        assert reporting.report(broken(), HERE)
    assert workers[2].flush(PATIENCE)
    assert len(collected.reports) == 3
    hanging.open.set()
    reporting.close(PATIENCE)
    assert outcomes.count(("failing", "failed")) == 3
    assert outcomes.count(("log", "failed")) == 3


# Python warns of what is tested here: a fork beside a thread.
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_fork(outcomes: Outcomes, collected: Collected) -> None:
    """A child counts for itself: what its parent has reported holds back nothing of its own."""
    reporting = ErrorReporting(
        workers=(outcomes.worker("other", collected),), cap=ReportCap(1, 3600), on_outcome=outcomes.add
    )
    reporting.report(broken(), HERE)
    child = os.fork()
    if child == 0:
        os._exit(1 if reporting.report(broken(), HERE) else 9)
    _, status = os.waitpid(child, 0)
    reporting.close()
    assert os.waitstatus_to_exitcode(status) == 1


def test_never_raises(
    reporting: ErrorReporting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fault in reporting itself is told on standard error, without what it was about."""
    monkeypatch.setattr("app.adapters.reporting.build_report", lambda *_, **__: 1 / 0)
    assert reporting.report(broken(SECRET), HERE) is None
    assert capsys.readouterr().err == "the report of a RuntimeError was lost\n"


@pytest.mark.parametrize(
    ("severity", "level"), [("low", "info"), ("medium", "warning"), ("high", "error"), ("critical", "critical")]
)
def test_level(reporting: ErrorReporting, log: Log, severity: str, level: str) -> None:
    """The line is as loud as the error is severe; fields of the caller's own replace none of the report's."""
    context = ErrorContext(severity=Severity(severity), extra={"message": "x", "code": "y", "level": "z", "event": "q"})
    reporting.report(broken(), context)
    (line,) = log.named("error.reported")
    assert (line["level"], line["message"], line["code"]) == (level, "broken", "INTERNAL_ERROR")


def test_log_line_holds_no_secret(reporting: ErrorReporting, log: Log) -> None:
    """Message, context and fields are redacted in the log."""
    with request_context(request_id="r1", note=f"token={SECRET}"):
        reporting.report(broken(f"password={SECRET}"), ErrorContext(extra={"password": SECRET}))
    (line,) = log.named("error.reported")
    assert (line["request_id"], line["password"]) == ("r1", "[redacted]")
    assert SECRET not in str(log)


async def test_watching(reporting: ErrorReporting, collected: Collected, log: Log) -> None:
    """While it watches, `report_error` reaches it, and so does what an event loop finds that nobody waits for."""
    loop = asyncio.get_running_loop()

    async def forgotten() -> None:
        raise broken()

    with reporting.watching(loop):
        assert report_error(broken("by hand"))
        task = loop.create_task(forgotten())
        await asyncio.wait([task])
        del task
    assert loop.get_exception_handler() is None
    report_error(broken("later"))
    reporting.flush(PATIENCE)
    assert [report.message for report in collected.reports] == ["by hand", "broken"]
    assert collected.reports[1].context["operation"] == "Task exception was never retrieved"
    assert [line["logger"] for line in log.events if "exception" in line] == [
        "app.errors",
        "asyncio",
        "app.core.reporting.handling",
    ]


def test_reporters_of_the_settings(settings: Settings, log: Log) -> None:
    """The settings choose the reporters; nothing is opened before the first error."""
    chosen = ErrorSettings(reporters=("file",), file="reports/errors.jsonl")
    reporting = error_reporting(
        settings.model_copy(update={"errors": chosen}), database=LogReporter, on_outcome=lambda *_: None
    )
    assert not Path("reports").exists()
    reporting.report(broken(), HERE)
    reporting.close(PATIENCE)
    (line,) = Path("reports/errors.jsonl").read_bytes().splitlines()
    assert orjson.loads(line)["service"] == "orders"
    assert log.named("error.reported") == []


def test_sentry_only_with_a_dsn() -> None:
    """Without a DSN the SDK is not even loaded; with one it is."""
    script = """
import sys
from app.adapters.reporters.log import LogReporter
from app.adapters.reporting import error_reporting
from app.settings import load_settings
for dsn in (None, "http://" + "@".join(["key", "127.0.0.1:9/1"])):
    settings = load_settings(sentry_dsn=dsn)
    reporting = error_reporting(settings, database=LogReporter, on_outcome=lambda *_: None)
    print("sentry_sdk" in sys.modules, [worker.name for worker in reporting._workers])
"""
    assert run_python("-c", script).stdout == "False []\nTrue ['sentry']\n"


def test_crashes(reporting: ErrorReporting, collected: Collected, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends the process or a thread is reported as critical, after the hooks before it; Ctrl-C is no fault."""
    told: list[Any] = []
    monkeypatch.setattr(sys, "excepthook", lambda *crash: told.append(crash[0]))
    monkeypatch.setattr(threading, "excepthook", lambda crash: told.append(crash.exc_type))
    reporting.watch_process()
    sys.excepthook(RuntimeError, broken("process"), None)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    crash = (RuntimeError, broken("thread"), None, threading.current_thread())
    threading.excepthook(threading.ExceptHookArgs(crash))
    reporting.flush(PATIENCE)
    assert told == [RuntimeError, KeyboardInterrupt, RuntimeError]
    assert [(one.message, one.severity) for one in collected.reports] == [
        ("process", "critical"),
        ("thread", "critical"),
    ]
    assert [one.context["operation"] for one in collected.reports] == ["process", "thread MainThread"]


SCRIPT = """
import os, sys, threading, multiprocessing
from app.adapters.logging import configure_logging
from app.adapters.reporters.log import LogReporter
from app.adapters.reporting import error_reporting
from app.core.reporting import install, report_error
from app.settings import load_settings
settings = load_settings()
reporting = error_reporting(settings, database=LogReporter, on_outcome=lambda *_: None)
configure_logging(settings)
reporting.watch_process()
install(reporting)
def fail(message):
    raise RuntimeError(message)
"""
ENDINGS = {
    "crash": """
thread = threading.Thread(target=fail, args=["thread"])
thread.start()
thread.join()
fail("process")
""",
    "fork": """
report_error(RuntimeError("process"))
if os.fork() == 0:
    report_error(RuntimeError("child"))
    sys.exit()
os.wait()
sys.exit(3)
""",
    "multiprocessing": """
report_error(RuntimeError("process"))
child = multiprocessing.get_context("fork").Process(target=report_error, args=[RuntimeError("child")])
child.start()
child.join()
""",
}


@pytest.mark.parametrize(
    ("ending", "messages"),
    [("crash", ["process", "thread"]), ("fork", ["child", "process"]), ("multiprocessing", ["child", "process"])],
)
def test_end_of_a_process(ending: str, messages: list[str]) -> None:
    """However a process ends, what it reported arrives once, and is in its log once; a forked child's too."""
    ended = run_python("-c", SCRIPT + ENDINGS[ending], ERRORS__REPORTERS='["log", "file"]', LOG__FORMAT="json")
    found = [orjson.loads(line) for line in Path("var/errors.jsonl").read_bytes().splitlines()]
    assert sorted(report["message"] for report in found) == messages, ended.stderr
    lines = [orjson.loads(line) for line in ended.stdout.splitlines()]
    assert sorted(line["exception"][0]["message"] for line in lines if "exception" in line) == messages
