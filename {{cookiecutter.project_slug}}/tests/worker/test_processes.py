"""A worker's processes: what each has of its own, what they tell together, and what the parent tells of a lost one."""

import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from app.core.context import current_context, request_context
from app.settings import ConfigurationError
from app.worker.bootstrap import using_services
from app.worker.processes import running

from .. import fakes
from ..collectors import Collected, collector
from ..conftest import Log
from ..running import until
from .observing import PATIENCE, Observed
from .workers import RunningWorker, running_worker

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
HEADERS = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-01", "x-request-id": "r-1", "x-user-id": "u-1"}
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="it has no fork")


def ask(worker: RunningWorker, path: str) -> tuple[int, bytes]:
    """Return a status and a body."""
    with closing(HTTPConnection("127.0.0.1", int(worker.variables["ADMIN_PORT"]), timeout=10)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()


def is_ready(worker: RunningWorker) -> bool:
    """Return whether a worker says on its port that it takes tasks."""
    with suppress(OSError):
        return ask(worker, "/readyz")[0] == 200
    return False


def number(worker: RunningWorker, series: str) -> float:
    """Return a number of the exposition; 0 when it is not there."""
    lines = ask(worker, "/metrics")[1].decode().splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{series} ")), 0.0)


def lines_of(worker: RunningWorker, task_id: str) -> list[dict[str, Any]]:
    """Return what was said of a task."""
    return [line for line in worker.events if line.get("task_id") == task_id]


@pytest.fixture(scope="module")
def collected() -> Iterator[Collected]:
    """Return a collector of spans."""
    with collector() as collected:
        yield collected


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, collected: Collected) -> Iterator[RunningWorker]:
    """Return a worker of two forked processes that says everything there is to say."""
    folder = tmp_path_factory.mktemp("worker")
    with running_worker(
        folder, WORKER__POOL="fork", LOG__LEVEL="DEBUG", OTEL_EXPORTER_OTLP_ENDPOINT=collected.url
    ) as worker:
        yield worker


@needs_fork
def test_ready(worker: RunningWorker) -> None:
    """A worker says once that it is ready, and so does its port."""
    line = worker.wait_for("worker.ready")
    assert (line["pool"], line["concurrency"], line["queues"]) == ("fork", 2, ["tasks"])
    status, body = ask(worker, "/readyz")
    found = json.loads(body)
    assert (status, found["status"]) == (200, "ok"), found
    assert {check["name"] for check in found["checks"]} == {"worker", "broker", "database"}
    assert ask(worker, "/livez") == (200, b'{"status":"ok"}')


@needs_fork
def test_all_processes_count_together(worker: RunningWorker) -> None:
    """Each process has connections of its own; the parent shows what they did together."""
    sent = [worker.send("tests.look", 0.5, headers=HEADERS) for _ in range(6)]
    for task_id in sent:
        worker.wait_for("task.succeeded", task_id=task_id)
    looked = [line for line in worker.events if line["event"] == "tests.looked"]
    assert len({line["pid"] for line in looked}) == 2
    assert worker.popen.pid not in {line["pid"] for line in looked}
    assert {(line["request_id"], line["trace_id"], line["user_id"]) for line in looked} == {("r-1", TRACE_ID, "u-1")}
    name = 'task_duration_seconds_count{outcome="success",task="tests.look"}'
    until(lambda: number(worker, name) == 6, "six tasks")
    assert number(worker, 'task_active{task="tests.look"}') == 0
    assert number(worker, 'task_wait_seconds_count{task="tests.look"}') == 6


@needs_fork
def test_lost_process(worker: RunningWorker) -> None:
    """The parent tells of a task whose process was killed, with the same ids, and the task runs again."""
    name = f"note-{uuid4().hex}"
    task_id = worker.send("tests.note", name, 2.0, headers=HEADERS)
    note = worker.folder / name
    process = int(until(lambda: note.exists() and note.read_text(), "the task"))
    # Its line is on the way for some milliseconds, and killed with the process.
    worker.wait_for("task.started", task_id=task_id)
    os.kill(process, signal.SIGKILL)
    lost = worker.wait_for("task.lost", task_id=task_id)
    assert (lost["request_id"], lost["trace_id"], lost["queue"], lost["level"]) == ("r-1", TRACE_ID, "tasks", "warning")
    worker.wait_for("task.succeeded", task_id=task_id)
    events = [line["event"] for line in lines_of(worker, task_id) if line["event"].startswith("task.")]
    assert events == ["task.started", "task.lost", "task.started", "task.succeeded"]
    assert number(worker, 'task_duration_seconds_count{outcome="lost",task="tests.note"}') == 1
    assert number(worker, 'task_active{task="tests.note"}') == 0


@needs_fork
def test_time_limit(worker: RunningWorker) -> None:
    """The parent tells, once, of a task whose process it killed since it took too long."""
    task_id = worker.send("tests.hang", 60.0, headers=HEADERS)
    failed = worker.wait_for("task.failed", task_id=task_id)
    assert failed["exception"][0]["type"].endswith("TimeLimitExceeded")
    assert (failed["request_id"], failed["trace_id"], failed["attempt"]) == ("r-1", TRACE_ID, 1)
    # What comes next is worked on by the process that takes the place.
    worker.wait_for("task.succeeded", task_id=worker.send("tests.look"))
    assert len([line for line in lines_of(worker, task_id) if line["event"] == "task.failed"]) == 1


@needs_fork
def test_expired(worker: RunningWorker) -> None:
    """A task that is too late is not begun, and the parent says so."""
    task_id = worker.send("tests.look", headers=HEADERS, expires=-1)
    revoked = worker.wait_for("task.revoked", task_id=task_id)
    assert (revoked["request_id"], revoked["trace_id"], revoked["expired"]) == ("r-1", TRACE_ID, True)
    assert [line["event"] for line in lines_of(worker, task_id)] == ["task.revoked"]
    assert number(worker, 'task_duration_seconds_count{outcome="revoked",task="tests.look"}') == 1


@needs_fork
def test_arguments_are_nowhere(worker: RunningWorker) -> None:
    """Whatever a task does with its arguments, no line of the log, of whichever library, has what is secret of them."""
    token = fakes.part("ghp_", fakes.made(36))
    secrets = {"email": fakes.EMAIL, "card": fakes.CARD, "token": token, "password": "hunter2-hunter2"}
    by_shape = [fakes.EMAIL, fakes.CARD, token]
    for name, end in (("fail", "task.failed"), ("retry", "task.succeeded"), ("unknown", "task.unknown")):
        with_args = worker.send(f"tests.{name}", *by_shape)
        with_kwargs = worker.send(f"tests.{name}", kwargs=secrets)
        for task_id in (with_args, with_kwargs):
            worker.wait_for(end, task_id=task_id)
    output = worker.output
    for secret in secrets.values():
        assert secret not in output
    assert "args_preview" in output


@needs_fork
def test_end(worker: RunningWorker, collected: Collected) -> None:
    """At its end the worker says so, and what its processes recorded is at its destination."""
    task_id = worker.send("tests.look", headers=HEADERS)
    worker.wait_for("task.succeeded", task_id=task_id)
    assert worker.terminate() == 0
    last = [line for line in worker.events if line["logger"] == "app.worker"][-1]
    assert (last["event"], last["signal"]) == ("worker.shutdown", "SIGTERM")
    ids = {_text(span, "messaging.message.id") for span in collected.spans if span.name == "process tests.look"}
    assert task_id in ids
    assert not [line for line in worker.events if line["event"] == "(raw)"]


def _text(span: Any, name: str) -> str:
    return next((str(one.value.string_value) for one in span.attributes if one.key == name), "")


@needs_fork
def test_spawned_processes(tmp_path: Path, collected: Collected) -> None:
    """Spawned processes have nothing of their parent, and tell the same of a task."""
    with running_worker(
        tmp_path, ready=False, WORKER__POOL="spawn", WORKER__CONCURRENCY="1", OTEL_EXPORTER_OTLP_ENDPOINT=collected.url
    ) as worker:
        until(lambda: is_ready(worker), "a worker that is ready")
        task_id = worker.send("tests.look", headers=HEADERS)
        done = worker.wait_for("task.succeeded", task_id=task_id)
        assert (done["request_id"], done["trace_id"], done["queries"] > 0) == ("r-1", TRACE_ID, True)
        until(
            lambda: number(worker, 'task_duration_seconds_count{outcome="success",task="tests.look"}') == 1, "a number"
        )
        assert worker.terminate() == 0
        assert not [line for line in worker.events if line["event"] == "(raw)"]
    assert task_id in {_text(span, "messaging.message.id") for span in collected.spans}


def test_port_is_taken(tmp_path: Path) -> None:
    """A port that somebody else has stops the start with a message that names the setting, and closes what was open."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        observed = Observed(tmp_path, admin_port=taken.getsockname()[1])
        with (
            using_services(observed.services),
            pytest.raises(ConfigurationError, match="ADMIN_PORT"),
            running(observed.services, observed.app, observed.settings),
        ):
            raise AssertionError
        observed.close()


def test_threads(tmp_path: Path, log: Log) -> None:
    """Tasks that run at once in threads of one process have each their own ids."""
    observed = Observed(tmp_path)
    together = threading.Barrier(3, timeout=PATIENCE)

    @observed.app.task(name="t.meets", shared=False)
    def meets() -> None:
        together.wait()
        observed.seen.append(dict(current_context()))
        together.wait()

    with observed.working(pool="threads", concurrency=3):
        sent = {}
        for number in range(3):
            with request_context(request_id=f"r-{number}"):
                sent[meets.delay().id] = f"r-{number}"
        until(lambda: len(log.named("task.succeeded")) == 3, "three tasks")
    assert {one["task_id"]: one["request_id"] for one in observed.seen} == sent
    assert {line["task_id"]: line["request_id"] for line in log.named("task.succeeded")} == sent
