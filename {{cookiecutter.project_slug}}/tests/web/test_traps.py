"""Traps that other services fell into, in the whole service over one real connection, its collector in trouble."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from ..collectors import endpoint_in_trouble
from ..served import PATIENCE, SOURCE, Process, running

# The service as it runs, with two paths more.
SETTINGS = """
from app.web.settings import *
ROOT_URLCONF = "traps_urls"
"""
URLS = """
from django.http import HttpRequest, HttpResponse
from django.urls import path
from app.core.context import bind_context, set_user_id
from app.core.logging import get_logger
from app.web.urls import *
from app.web.urls import urlpatterns as own

log = get_logger("app.traps")

def bind(request: HttpRequest, user: str) -> HttpResponse:
    set_user_id(user)
    bind_context(tenant="of-" + user)
    log.info("bound")
    return HttpResponse()

def fails(request: HttpRequest) -> HttpResponse:
    set_user_id("bob")
    local = "-".join(["a", "local", "value"])
    raise RuntimeError("broken")

urlpatterns = [path("bind/<user>", bind), path("fails", fails), *own]
"""
REQUESTS = ["/bind/ada", "/orders", "/fails", "/orders", *["/orders"] * 100]


@dataclass(frozen=True)
class Run:
    """What became of a run of the service: its answers, its log, and how it ended."""

    answers: list[tuple[int, str | None, str | None]]
    lines: list[dict[str, Any]]
    output: str
    code: int

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one event."""
        return [line for line in self.lines if line["event"] == event]


def ask(process: Process) -> Iterator[tuple[int, str | None, str | None]]:
    """Send all requests over one connection, and yield each status and the two ids of each answer."""
    with closing(HTTPConnection("127.0.0.1", process.port, timeout=PATIENCE)) as connection:
        for path in REQUESTS:
            connection.request("GET", path)
            with connection.getresponse() as response:
                response.read()
                yield response.status, response.headers["x-request-id"], response.headers["x-trace-id"]


@pytest.fixture(scope="module", params=[("gthread", "refuses"), ("uvicorn", "hangs")], ids=lambda param: param[0])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run the service with a collector in trouble, ask it, and stop it."""
    server, trouble = request.param
    folder: Path = tmp_path_factory.mktemp("traps")
    (folder / "traps_settings.py").write_text(SETTINGS)
    (folder / "traps_urls.py").write_text(URLS)
    with endpoint_in_trouble(trouble) as address:
        own = {
            "DJANGO_SETTINGS_MODULE": "traps_settings",
            "PYTHONPATH": os.pathsep.join([str(SOURCE), str(folder)]),
            "WEB__SERVER": server,
            "OTEL_EXPORTER_OTLP_ENDPOINT": address,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        with running("app.web", folder, **own) as process:
            answers = list(ask(process))
            process.popen.send_signal(signal.SIGTERM)
            code = process.popen.wait(PATIENCE)
            output = process.output
    return Run(answers, [json.loads(line) for line in output.splitlines()], output, code)


def test_context_leaks_into_no_other_request(run: Run) -> None:
    """What a request binds is on its lines, and on none of the requests that follow on its connection."""
    bound, after, failed, after_failure = run.named("http.request")[:4]
    assert (bound["user_id"], bound["tenant"]) == ("ada", "of-ada")
    assert (run.named("bound")[0]["user_id"], run.named("bound")[0]["request_id"]) == ("ada", bound["request_id"])
    assert failed["user_id"] == "bob"
    for line in (after, after_failure):
        assert not {"user_id", "tenant"} & set(line)
    ids = [line["request_id"] for line in run.named("http.request")]
    assert len(set(ids)) == len(ids)


def test_failure_has_its_ids(run: Run) -> None:
    """A 500 carries the ids that its line has."""
    (line,) = [line for line in run.named("http.request") if line["status_code"] == 500]
    assert run.answers[2] == (500, line["request_id"], line["trace_id"])
    assert all(request_id and trace_id for _, request_id, trace_id in run.answers)


def test_failure_is_logged_once_without_local_variables(run: Run) -> None:
    """An exception is on one line, with its frames and without what was in its variables."""
    (line,) = [line for line in run.lines if "exception" in line and line["exception"][0]["type"] == "RuntimeError"]
    assert line["event"] == "http.request"
    assert line["exception"][0]["frames"][-1]["function"] == "fails"
    assert "a-local-value" not in run.output


def test_collector_in_trouble_troubles_nobody(run: Run) -> None:
    """A collector that refuses or hangs costs no answer, a few lines at most, and does not hold the process up."""
    assert [status for status, *_ in run.answers] == [200, 200, 500, *[200] * 101]
    others = [line for line in run.lines if line["event"] not in ("http.request", "bound")]
    assert len([line for line in others if line["level"] in ("warning", "error", "critical")]) <= 3
    assert len(run.named("service.stopped")) == 1
    assert run.code == 0
