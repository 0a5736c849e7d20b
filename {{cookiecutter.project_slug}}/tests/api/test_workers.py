"""Several processes serve one address: their metrics add up, they are replaced when they die, and stop together."""

import os
import re
import signal
import time
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from app.adapters.metrics_sharing import read

from ..served import PATIENCE, Process, finish, running, wait_for

COUNT = re.compile(
    r'^http_server_request_duration_seconds_count\{method="GET",route="/orders",.*\} (\S+)$', re.MULTILINE
)


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


def test_two_workers(tmp_path: Path) -> None:
    """Each scrape shows what all workers counted, after the death of one too; together they stop as one does."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with running("app.api", tmp_path, HTTP__WORKERS="2", TMPDIR=str(temporary)) as process:
        wait_for(lambda: len(events(process, "service.started")) == 2)
        (folder,) = temporary.glob("metrics-*")
        requests = 0
        deadline = time.monotonic() + PATIENCE
        while not (len(served(folder)) == 2 and min(served(folder)) > 2):
            assert time.monotonic() < deadline, "one of the workers serves nothing"
            assert process.status("/orders") == 200
            requests += 1
        # A request is counted when its answer has left: a scrape may be quicker.
        wait_for(lambda: counted(process) == requests)
        assert {counted(process) for _ in range(6)} == {requests}
        os.kill(events(process, "worker.started")[0]["pid"], signal.SIGKILL)
        wait_for(lambda: len(events(process, "service.started")) == 3)
        assert process.status("/orders") == 200
        wait_for(lambda: counted(process) == requests + 1)
        assert {counted(process) for _ in range(6)} == {requests + 1}
        connection = process.upload()
        wait_for(lambda: process.status("/livez") == 200)
        process.popen.send_signal(signal.SIGTERM)
        wait_for(lambda: len(events(process, "service.stopping")) == 2)
        assert finish(connection).startswith(b"HTTP/1.1 201 ")
        assert process.popen.wait(PATIENCE) == 0
        assert list(temporary.iterdir()) == []
        assert [line["exit_code"] for line in events(process, "worker.died")] == [-signal.SIGKILL]
        assert len(events(process, "service.stopped")) == 2
