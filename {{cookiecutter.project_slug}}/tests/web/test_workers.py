"""Several processes serve one address: their metrics add up, they are replaced when they die, and stop together."""

import os
import re
import signal
import time
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from app.adapters.metrics_sharing import read
from app.serving.stopping import REPEATED_SECONDS

from ..served import PATIENCE, Process, finish, running, wait_for

WEB = "app.web"
COUNT = re.compile(
    r'^http_server_request_duration_seconds_count\{method="GET",route="/orders",.*\} (\S+)$', re.MULTILINE
)
ON_EACH_SERVER = pytest.mark.parametrize("server", ["gthread", "asgi", "uvicorn"])


def counted(process: Process) -> float:
    """Return how many requests for the orders a scrape shows, whichever worker answers it."""
    with closing(HTTPConnection("127.0.0.1", process.port, timeout=5)) as connection:
        connection.request("GET", "/metrics", headers={"Connection": "close"})
        with connection.getresponse() as response:
            return sum(map(float, COUNT.findall(response.read().decode())))


def served(folder: Path) -> list[float]:
    """Return how many requests for the orders each worker has served."""
    return [
        sum(
            sum(numbers[:-1])
            for definition, values, numbers in worker.samples
            if definition.name == "http_server_request_duration_seconds" and "/orders" in values
        )
        for worker in read(folder)
    ]


def events(process: Process, name: str) -> list[dict[str, Any]]:
    """Return the log lines of one event; whatever else is written, such as a traceback, fails the test."""
    return [line for line in process.events() if line["event"] == name]


def load(process: Process, folder: Path) -> int:
    """Ask until both workers have served some, and return how often that was."""
    requests = 0
    deadline = time.monotonic() + PATIENCE
    while not (len(served(folder)) == 2 and min(served(folder)) > 2):
        assert time.monotonic() < deadline, "one of the workers serves nothing"
        assert process.status("/orders") == 200
        requests += 1
    return requests


def stays(process: Process, requests: int) -> None:
    """Wait until a scrape shows so many requests, and see that the other workers show as many."""
    # A request is counted when its answer has left: a scrape may be quicker.
    wait_for(lambda: counted(process) == requests)
    assert {counted(process) for _ in range(6)} == {requests}


def kill_one(process: Process) -> None:
    """Kill a worker, and wait until another one serves in its place."""
    os.kill(events(process, "worker.started")[0]["pid"], signal.SIGKILL)
    wait_for(lambda: len(events(process, "service.started")) == 3)


@ON_EACH_SERVER
def test_two_workers(tmp_path: Path, server: str) -> None:
    """Each scrape shows what all workers counted, after the death of one too; together they stop as one does."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with running(WEB, tmp_path, WEB__SERVER=server, HTTP__WORKERS="2", TMPDIR=str(temporary)) as process:
        wait_for(lambda: len(events(process, "service.started")) == 2)
        (folder,) = temporary.glob("metrics-*")
        requests = load(process, folder)
        stays(process, requests)
        kill_one(process)
        assert process.status("/orders") == 200
        stays(process, requests + 1)
        connection = process.upload()
        wait_for(lambda: process.status("/livez") == 200)
        process.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: len(events(process, "service.stopping")) == 2)
        assert finish(connection).startswith(b"HTTP/1.1 201 ")
        assert process.popen.wait(PATIENCE) == 0
        assert list(temporary.iterdir()) == []
        assert [line["exit_code"] for line in events(process, "worker.died")] == [-signal.SIGKILL]
        assert len(events(process, "service.stopped")) == 2


def is_running(pid: int) -> bool:
    """Return whether there is a process of this number."""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def started(process: Process) -> list[int]:
    """Return the workers, as soon as both serve."""
    wait_for(lambda: len(events(process, "service.started")) == 2)
    return [line["pid"] for line in events(process, "worker.started")]


@ON_EACH_SERVER
def test_master_that_dies(tmp_path: Path, server: str) -> None:
    """When the process that watches them is killed, the workers finish what they do and stop too."""
    with running(WEB, tmp_path, WEB__SERVER=server, HTTP__WORKERS="2") as process:
        workers = started(process)
        connection = process.upload()
        wait_for(lambda: process.status("/livez") == 200)
        process.popen.kill()
        wait_for(lambda: len(events(process, "service.stopping")) == 2)
        assert finish(connection).startswith(b"HTTP/1.1 201 ")
        wait_for(lambda: not any(map(is_running, workers)))
        assert len(events(process, "service.stopped")) == 2


@ON_EACH_SERVER
def test_second_signal_to_all(tmp_path: Path, server: str) -> None:
    """A second signal ends all workers at once."""
    with running(WEB, tmp_path, WEB__SERVER=server, HTTP__WORKERS="2", SHUTDOWN_TIMEOUT="300") as process:
        workers = started(process)
        with closing(process.upload()):
            wait_for(lambda: process.status("/livez") == 200)
            process.popen.send_signal(signal.SIGINT)
            wait_for(lambda: len(events(process, "service.stopping")) == 2)
            time.sleep(2 * REPEATED_SECONDS)
            process.popen.send_signal(signal.SIGINT)
            assert process.popen.wait(PATIENCE) == 128 + signal.SIGINT
        assert not any(map(is_running, workers))


def test_signal_to_the_group(tmp_path: Path) -> None:
    """Ctrl-C reaches every process at once, and the workers from the master again: that is one request to stop."""
    with running(WEB, tmp_path, HTTP__WORKERS="2") as process:
        started(process)
        connection = process.upload()
        wait_for(lambda: process.status("/livez") == 200)
        for pid in (process.popen.pid, *(line["pid"] for line in events(process, "worker.started"))):
            os.kill(pid, signal.SIGINT)
        wait_for(lambda: len(events(process, "service.stopping")) == 2)
        assert finish(connection).startswith(b"HTTP/1.1 201 ")
        assert process.popen.wait(PATIENCE) == 0


def test_schema_is_made_once(tmp_path: Path) -> None:
    """Workers that start together on a new database do not stand in each other's way."""
    with running(WEB, tmp_path, HTTP__WORKERS="4") as process:
        wait_for(lambda: len(events(process, "service.started")) == 4)
        assert process.status("/orders") == 200
        assert not [line for line in process.events() if line["level"] == "error"]


def test_reload(tmp_path: Path) -> None:
    """SIGHUP replaces the workers, one after the other, while the service goes on."""
    with running(WEB, tmp_path) as process:
        process.popen.send_signal(signal.SIGHUP)
        wait_for(lambda: len(events(process, "service.started")) == 2)
        wait_for(lambda: len(events(process, "service.stopped")) == 1)
        assert process.status("/readyz") == 200
        assert events(process, "worker.died") == []
        process.popen.send_signal(signal.SIGTERM)
        assert process.popen.wait(PATIENCE) == 0
