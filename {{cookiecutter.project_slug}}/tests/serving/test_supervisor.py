"""Several processes serve one address: they are replaced when they die, and stop together."""

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from app.adapters.logging import close_logging
from app.serving.supervisor import NOT_STARTED, Supervisor, _stop_when_orphaned, _work, supervise
from app.settings import Settings

from ..conftest import Log
from ..served import PATIENCE, wait_for


def serve(_listener: socket.socket, _folder: str) -> int:
    """Do nothing."""
    return 0


class FakeProcess:
    """A worker that lives until it is told to end, or ends at once with a code.

    Args:
        ends: The code with which it ends when it is started; None when it lives.
        obeys: Whether it ends at a signal.

    """

    started: ClassVar[list[Any]] = []

    def __init__(self, ends: int | None = None, *, obeys: bool = True) -> None:
        self.sentinel, self._end = os.pipe()
        self.exitcode: int | None = None
        self.pid = 1
        self.got: list[int] = []
        self._ends = ends
        self._obeys = obeys

    def start(self) -> None:
        """Live, or end."""
        self.started.append(self)
        if self._ends is not None:
            self.end(self._ends)

    def take(self, number: int) -> None:
        """Take a signal: the first one ends it cleanly, as far as it obeys; the next one ends it at once."""
        if self.exitcode is not None:
            return
        self.got.append(number)
        if len(self.got) > 1:
            self.end(128 + number)
        elif self._obeys:
            self.end(0)

    def kill(self) -> None:
        """End it."""
        self.end(-signal.SIGKILL)

    def end(self, code: int) -> None:
        """End with a code."""
        if self.exitcode is None:
            self.exitcode = code
            os.close(self._end)


class Workers:
    """What starts processes, as tests want them to behave; those that nobody asked for live until a signal.

    Args:
        settings: How the service is set up.
        planned: The first processes.

    """

    def __init__(self, settings: Settings, *planned: FakeProcess) -> None:
        http = settings.http.model_copy(update={"workers": 2})
        self.supervisor = Supervisor(settings.model_copy(update={"http": http}), serve, socket.socket(), "")
        self._planned = list(planned)

    def Process(self, **_: object) -> FakeProcess:  # noqa: N802 -- as multiprocessing calls it
        """Return the next process."""
        return self._planned.pop(0) if self._planned else FakeProcess()


Run = Callable[..., Workers]


@pytest.fixture
def workers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Return what makes a supervisor of processes that are none."""
    FakeProcess.started.clear()
    monkeypatch.setattr("app.serving.supervisor._send", FakeProcess.take)
    monkeypatch.setattr("app.serving.supervisor.SHORTEST_PAUSE", 0.01)
    made: list[Workers] = []

    def make(*planned: FakeProcess) -> Workers:
        made.append(Workers(settings, *planned))
        monkeypatch.setattr("app.serving.supervisor._spawn", made[-1])
        return made[-1]

    yield make
    for one in made:
        one.supervisor._listener.close()
    for process in FakeProcess.started:
        process.end(0)
        os.close(process.sentinel)


def interrupt(*numbers: int, after: int = 0) -> None:
    """Send this process signals as soon as so many workers were started."""

    def send() -> None:
        wait_for(lambda: len(FakeProcess.started) >= after)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(0.1)

    threading.Thread(target=send).start()


def test_second_signal(workers: Run) -> None:
    """A second signal reaches the workers too, and what it does to them is the service's end."""
    supervisor = workers(FakeProcess(obeys=False), FakeProcess(obeys=False)).supervisor
    interrupt(signal.SIGINT, signal.SIGINT, after=2)
    assert supervisor.run() == 128 + signal.SIGINT
    assert [process.got for process in FakeProcess.started] == [[signal.SIGINT, signal.SIGINT]] * 2


def test_worker_that_does_not_stop(workers: Run, monkeypatch: pytest.MonkeyPatch, log: Log) -> None:
    """A worker that outlives its time is killed, and the service says so."""
    monkeypatch.setattr("app.serving.supervisor.GRACE_SECONDS", -19.9)
    supervisor = workers(FakeProcess(obeys=False)).supervisor
    interrupt(signal.SIGTERM, after=2)
    assert supervisor.run() == 1
    assert [process.exitcode for process in FakeProcess.started] == [-signal.SIGKILL, 0]
    assert len(log.named("workers.killed")) == 1


def test_start_that_fails(workers: Run, log: Log) -> None:
    """When a worker cannot start, the others stop too, and the service ends with 1 instead of trying for ever."""
    assert workers(FakeProcess(ends=NOT_STARTED)).supervisor.run() == 1
    assert [process.exitcode for process in FakeProcess.started] == [NOT_STARTED, 0]
    assert log.named("worker.died") == []


def test_worker_that_keeps_dying(workers: Run, log: Log) -> None:
    """A worker that dies again and again is started again after pauses that grow, even when it cannot start then."""
    dying = [FakeProcess(ends=code) for code in (-11, 1)]
    planned = [dying[0], FakeProcess(), dying[1], FakeProcess(ends=NOT_STARTED)]
    supervisor = workers(*planned).supervisor
    interrupt(signal.SIGTERM, after=5)
    assert supervisor.run() == 0
    died = [(line["exit_code"], line["restart_in"]) for line in log.named("worker.died")]
    assert died == [(-11, 0.01), (1, 0.02), (NOT_STARTED, 0.04)]


@pytest.mark.parametrize(("code", "ends"), [(0, 0), (1, NOT_STARTED)])
def test_end_of_a_worker(monkeypatch: pytest.MonkeyPatch, code: int, ends: int) -> None:
    """A worker's code says whether it had started; it counts with the others, and stops without its parent."""
    given: list[str] = []
    orphaned = threading.Event()

    def served(_listener: socket.socket, folder: str) -> int:
        given.append(folder)
        return code

    monkeypatch.setattr("app.serving.supervisor._stop_when_orphaned", orphaned.set)
    before = signal.getsignal(signal.SIGINT)
    try:
        with socket.socket() as listener, pytest.raises(SystemExit) as ended:
            _work(served, listener, "folder")
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == ends
    assert given == ["folder"]
    assert orphaned.wait(PATIENCE)


def test_parent_that_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the process that watches it is gone, a worker stops as at SIGTERM."""
    sentinel, parent = os.pipe()
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr("app.serving.supervisor.os.kill", lambda *signal: sent.append(signal))
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: SimpleNamespace(sentinel=sentinel))
    os.close(parent)
    _stop_when_orphaned()
    os.close(sentinel)
    assert sent == [(os.getpid(), signal.SIGTERM)]


def test_address_in_use(settings: Settings, capfd: pytest.CaptureFixture[str]) -> None:
    """An address that is taken ends the start with 1, before any worker is started, and the log says why."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert supervise(settings.model_copy(update={"port": taken.getsockname()[1]}), serve) == 1
    close_logging()
    assert "already in use" in capfd.readouterr().out
