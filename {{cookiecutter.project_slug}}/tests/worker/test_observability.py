"""What is said of a task at its end: the line and its level, the report, the series, the span."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Task
from celery.exceptions import Ignore, Reject
from opentelemetry.trace import StatusCode
from sqlalchemy import text

from app.core.errors import AppError, ConfigurationFaultError, InfrastructureError, NotFoundError
from app.core.preview import MAX_VALUE, PREVIEW_LENGTH
from app.settings_groups import DatabaseSettings, ErrorSettings
from app.worker.observability import args_preview

from .. import fakes
from ..conftest import Log
from .observing import Observed, until

MANY = 4


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """Return a worker whose tasks end in every way."""
    folder = tmp_path_factory.mktemp("worker")
    observed = Observed(
        folder,
        database=DatabaseSettings(many_queries=MANY),
        errors=ErrorSettings(reporters=("file",), file=str(folder / "errors")),
    )
    errors = {
        "missing": NotFoundError("no order"),
        "outage": InfrastructureError("no database"),
        "setup": ConfigurationFaultError("wrong"),
        "bug": ZeroDivisionError("a bug"),
        "reject": Reject("no", requeue=False),
        "ignore": Ignore("no"),
    }

    @observed.app.task(name="t.ends", shared=False)
    def ends(how: str) -> None:
        if how in errors:
            raise errors[how]

    @observed.app.task(name="t.asks", shared=False)
    def asks(times: int) -> None:
        with observed.services.database.sync_engine.connect() as connection:
            for _ in range(times):
                connection.execute(text("SELECT 1"))

    @observed.app.task(name="t.login", shared=False)
    def login(name: str, password: str, note: str = "") -> None:
        msg = "no"
        raise AppError(msg)

    with observed.working():
        yield observed


def ended(observed: Observed, log: Log, event: str, task: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """Run a task, and return the line of its end."""
    observed.spans.clear()
    task_id = observed.app.tasks[task].apply_async(args, kwargs).id
    found = until(lambda: [line for line in log.named(event) if line["task_id"] == task_id], event)
    assert len(found) == 1
    line: dict[str, Any] = found[0]
    return line


def reported_by(observed: Observed) -> list[dict[str, Any]]:
    """Return the reports until now."""
    reporting = observed.services.reporting
    assert reporting.flush()
    file = Path(observed.settings.errors.file)
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.parametrize(
    ("how", "level", "code", "reported"),
    [
        ("missing", "warning", "NOT_FOUND", False),
        ("setup", "critical", "CONFIGURATION_ERROR", True),
        ("bug", "error", "INTERNAL_ERROR", True),
    ],
)
def test_failure(observed: Observed, log: Log, how: str, level: str, code: str, reported: bool) -> None:
    """A failure is one line, with the exception once, as severe as the error; what is a fault is reported once."""
    line = ended(observed, log, "task.failed", "t.ends", how)
    assert (line["level"], line["code"], line["attempt"]) == (level, code, 1)
    assert [cause["type"] for cause in line["exception"]][-1].endswith(
        {"missing": "NotFoundError", "setup": "ConfigurationFaultError", "bug": "ZeroDivisionError"}[how]
    )
    assert line["exception"][0]["frames"]
    assert line["args_preview"] == '{"how":"' + how + '"}'
    # Where what was given up lies is a line of its own.
    of_task = [one["event"] for one in log.events if one.get("task_id") == line["task_id"]]
    assert [event for event in of_task if event != "task.given_up"] == ["task.started", "task.failed"]
    assert sum("exception" in one for one in log.events) == 1
    # By then the task's report has been made, if there is one.
    ended(observed, log, "task.succeeded", "t.ends", "well")
    reports = [one for one in reported_by(observed) if one["context"]["task_id"] == line["task_id"]]
    assert [(one["code"], one["context"]["operation"], one["extra"]["queue"]) for one in reports] == (
        [(code, "t.ends", line["queue"])] if reported else []
    )


def test_failed_span(observed: Observed, log: Log) -> None:
    """A failure is on the span, redacted, as its status and one event."""
    ended(observed, log, "task.failed", "t.ends", "bug")
    span = observed.span("process t.ends")
    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.attributes or {})["error.type"] == "ZeroDivisionError"
    assert [event.name for event in span.events] == ["exception"]


@pytest.mark.parametrize(("how", "event"), [("reject", "task.rejected"), ("ignore", "task.ignored")])
def test_given_up_on_purpose(observed: Observed, log: Log, how: str, event: str) -> None:
    """What a task gives up on purpose is no failure, and closes its context."""
    name = 'task_duration_seconds_count{outcome="' + event[5:] + '",task="t.ends"}'
    before = observed.number(name)
    assert ended(observed, log, event, "t.ends", how)["level"] == "warning"
    until(lambda: observed.number('task_active{task="t.ends"}') == 0)
    after = observed.number(name)
    assert after == before + 1


def test_series(observed: Observed, log: Log) -> None:
    """Tasks are counted by name and outcome, with how long they waited and took."""
    names = [
        'task_duration_seconds_count{outcome="success",task="t.ends"}',
        'task_duration_seconds_count{outcome="failure",task="t.ends"}',
        'task_wait_seconds_count{task="t.ends"}',
    ]
    before = [observed.number(name) for name in names]
    ended(observed, log, "task.succeeded", "t.ends", "well")
    ended(observed, log, "task.failed", "t.ends", "bug")
    assert [observed.number(name) - was for name, was in zip(names, before, strict=True)] == [1, 1, 2]
    assert observed.number('task_active{task="t.ends"}') == 0


def test_queries(observed: Observed, log: Log) -> None:
    """A task's statements are on its line and in a series; too many are a warning with its name."""
    assert ended(observed, log, "task.succeeded", "t.asks", 2)["queries"] >= 2
    assert not log.named("database.many_queries")
    line = ended(observed, log, "task.succeeded", "t.asks", MANY + 1)
    (warning,) = log.named("database.many_queries")
    assert (warning["operation"], warning["task_id"]) == ("t.asks", line["task_id"])
    assert warning["queries"] == line["queries"]
    assert observed.number('task_queries_count{task="t.asks"}') == 2


def test_preview_hides_what_is_secret_by_its_name(observed: Observed, log: Log) -> None:
    """An argument is known by the name of its parameter, whether it was passed by it or not."""
    line = ended(observed, log, "task.failed", "t.login", "ada", "hunter2")
    assert line["args_preview"] == '{"name":"ada","password":"[redacted]"}'
    assert not any("hunter2" in one for one in log)


def _task(observed: Observed) -> "Task[Any, Any]":
    return observed.app.tasks["t.login"]


@pytest.mark.parametrize("secret", [fakes.EMAIL, fakes.CARD, fakes.pem("RSA ", "\n")])
@pytest.mark.parametrize("filler", [0, PREVIEW_LENGTH - 30, PREVIEW_LENGTH - 5, MAX_VALUE - 10])
def test_no_part_of_a_secret_is_shown(observed: Observed, secret: str, filler: int) -> None:
    """Wherever a preview is cut, no part of a secret is left."""
    for args, kwargs in (((" " * filler + secret,), {}), ((), {"note": {"deep": ["x" * filler, secret]}})):
        shown = args_preview(_task(observed), args, kwargs)
        assert len(shown) <= PREVIEW_LENGTH + 1
        assert not fakes.survives(secret, shown)


@pytest.mark.parametrize("args", [None, 7, [object()], ["a"] * 10_000, [float("nan")], [["x"] * 100_000]])
def test_strange_arguments(observed: Observed, args: Any) -> None:
    """Whatever arguments are, their preview is short text."""
    assert len(args_preview(_task(observed), args, None)) <= PREVIEW_LENGTH + 1
