"""Several processes count for one exposition: exactly, through deaths, restarts and forks."""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.adapters import metrics_sharing
from app.adapters.metrics import Metrics
from app.core.metrics import OWN, counter
from app.settings import ConfigurationError, Settings

from ..processes import PATIENCE, run_python, variables

# What a process does that counts beside others, and lives until its input ends.
COUNTING = """
import sys
from app.adapters.metrics import Metrics
from app.core.metrics import counter
from app.settings import Settings

counter("shared_own_total", "Own.").inc(2)
metrics = Metrics(Settings(environment="test", prometheus_multiproc_dir=sys.argv[1]))
metrics.request_started("GET")
metrics.request_started("GET")
metrics.request_finished("GET", "/orders", 200, 0.02)
metrics.render()
print("counted", flush=True)
sys.stdin.read()
"""
# What a process does whose children count too, one of them without finding a place for it.
FORKING = """
import os, sys
from app.adapters import metrics_sharing
from app.adapters.metrics import Metrics
from app.settings import Settings

metrics = Metrics(Settings(environment="test", prometheus_multiproc_dir=sys.argv[1]))
metrics.request_finished("GET", "/orders", 200, 0.02)

def fork():
    if os.fork() == 0:
        metrics.request_finished("GET", "/orders", 200, 0.02)
        metrics.request_finished("GET", "/orders", 200, 0.02)
        os._exit(0)
    os.wait()

fork()
claim = metrics_sharing.claim
metrics_sharing.claim = lambda folder: claim(folder / "lock" / "x")
fork()
print(metrics.render().decode())
"""
REQUESTS = 'http_server_request_duration_seconds_count{method="GET",route="/orders",status_code="200"}'
ACTIVE = 'http_server_active_requests{method="GET"}'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where the processes share their numbers."""
    return tmp_path / "shared"


@pytest.fixture
def shared(settings: Settings, folder: Path) -> Settings:
    """Return settings of processes that count together."""
    return settings.model_copy(update={"prometheus_multiproc_dir": str(folder)})


@pytest.fixture
def metrics(shared: Settings) -> Iterator[Metrics]:
    """Return the series of this process."""
    made = Metrics(shared)
    yield made
    made.close()


def value(metrics: Metrics, sample: str) -> float | None:
    """Return a sample of the exposition."""
    found = re.search("^" + re.escape(sample) + r" (\S+)$", metrics.render().decode(), re.MULTILINE)
    return float(found[1]) if found else None


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until something is so, for a bounded time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


@contextmanager
def counting(folder: Path, *, processes: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Run processes that have counted and live on."""
    command = [sys.executable, "-c", COUNTING, str(folder)]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, env=variables(), stdin=pipe, stdout=pipe, text=True) for _ in range(processes)]
    try:
        for process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "counted\n"
        yield running
    finally:
        for process in running:
            process.kill()
            process.communicate()


def test_processes_add_up(metrics: Metrics, folder: Path) -> None:
    """Whoever is scraped shows the sum of all; what a killed one counted stays, what it had in progress does not."""
    counter("shared_own_total", "Own.").inc()
    alone = value(metrics, "process_resident_memory_bytes")
    with counting(folder, processes=2) as others:
        metrics.request_started("GET")
        metrics.request_finished("GET", "/orders", 200, 0.02)
        assert (value(metrics, REQUESTS), value(metrics, ACTIVE)) == (3, 2)
        assert value(metrics, REQUESTS.replace("_count{", '_bucket{le="0.025",')) == 3
        assert value(metrics, "shared_own_total") == 5
        assert value(metrics, 'app_info{environment="test",service="orders",version="1.2.3"}') == 1
        together = value(metrics, "process_resident_memory_bytes")
        assert alone is not None
        assert together is not None
        assert together > alone + 10_000_000
        others[0].kill()
        others[0].wait()
        assert (value(metrics, REQUESTS), value(metrics, ACTIVE)) == (3, 1)


def test_forked_children(folder: Path) -> None:
    """A forked child counts beside its parent, from zero; one that finds no place counts for itself alone."""
    ended = run_python("-W", "error", "-c", FORKING, str(folder))
    assert ended.stderr.count("metrics.not_shared") == 1
    assert f"{REQUESTS} 3.0" in ended.stdout
    assert len(list(folder.glob("slot-*"))) == 2


def test_process_that_comes_after(metrics: Metrics, shared: Settings, folder: Path) -> None:
    """However often a process restarts, its counts go on rising and no file is left over."""
    for number in range(3):
        other = Metrics(shared)
        # It has not counted yet, but answers for those before it.
        assert value(other, REQUESTS) == (number or None)
        other.request_finished("GET", "/orders", 200, 0.02)
        assert value(other, REQUESTS) == number + 1
        other.close()
    assert value(metrics, REQUESTS) == 3
    assert len(list(folder.glob("slot-*"))) == 2


def test_former_run(shared: Settings, folder: Path) -> None:
    """What a run that has ended left behind is not in the numbers of the next one."""
    for _ in range(2):
        metrics = Metrics(shared)
        metrics.request_finished("GET", "/orders", 200, 0.02)
        assert value(metrics, REQUESTS) == 1
        metrics.close()
    assert len(list(folder.glob("slot-*"))) == 1


def test_what_others_read_at_their_scrapes(metrics: Metrics, shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a process reads only at a scrape is kept up to date for the others by itself, until it closes."""
    monkeypatch.setattr(metrics_sharing, "REFRESH_SECONDS", 0.01)
    other = Metrics(shared)
    length = other.registry.gauge("length", "Length.")
    other.registry.on_scrape(length.inc)
    assert value(metrics, "length") == 0
    other.start()
    wait_for(lambda: (value(metrics, "length") or 0) > 2)
    other.close()
    wait_for(lambda: all(thread.name != "metrics-refresh" for thread in threading.enumerate()))
    assert value(metrics, "length") is None


def test_closing_leaves_the_numbers(shared: Settings, metrics: Metrics) -> None:
    """After a process has closed its part, what it counted is there once, and it may go on counting for itself."""
    other = Metrics(shared)
    other.idempotency("replay")
    other.close()
    other.idempotency("replay")
    assert value(metrics, 'idempotency_requests_total{outcome="replay"}') == 1
    assert not any(list(cells) == [3] for _, _, cells in OWN.samples())


def test_folder_that_cannot_be_written(tmp_path: Path, shared: Settings) -> None:
    """A folder that cannot be used stops the start, with the variable's name, what it holds and what is allowed."""
    (tmp_path / "file").touch()
    wrong = shared.model_copy(update={"prometheus_multiproc_dir": str(tmp_path / "file" / "x")})
    with pytest.raises(ConfigurationError, match=r"PROMETHEUS_MULTIPROC_DIR: received .*; allowed: a folder"):
        Metrics(wrong)
