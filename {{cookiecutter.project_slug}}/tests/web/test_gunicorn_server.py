"""Gunicorn's master: what becomes of a worker's place, and how the process ends."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from app.serving.supervisor import NOT_STARTED
from app.settings import Settings
from app.web.configuration import DjangoSettings
from app.web.gunicorn_server import Master, Project

from ..conftest import Log
from ..served import wait_for


@pytest.fixture
def master(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Master]:
    """Return a master that has started nothing."""
    monkeypatch.setattr(Arbiter, "WORKERS", {})
    monkeypatch.setenv("SERVER_SOFTWARE", "")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        own = DjangoSettings(**settings.model_dump())
        yield Master(Project(own, listener.fileno()), own)


def lived(master: Master, pid: int, *, pause: float = 0.0) -> None:
    """Let a worker have run."""
    worker = SimpleNamespace(
        age=pid, pid=pid, pause=pause, started=time.monotonic(), tmp=SimpleNamespace(close=lambda: None)
    )
    master.WORKERS[pid] = worker


def end(monkeypatch: pytest.MonkeyPatch, master: Master, *ended: tuple[int, int]) -> None:
    """Let the master find processes that ended."""
    left = [*ended, (0, 0)]
    monkeypatch.setattr(os, "waitpid", lambda *_: left.pop(0))
    master.reap_workers()


def test_worker_that_keeps_dying(monkeypatch: pytest.MonkeyPatch, master: Master, log: Log) -> None:
    """A place stays empty for longer each time, even when the next worker cannot start, and is filled then."""
    monkeypatch.setattr("app.serving.supervisor.SHORTEST_PAUSE", 0.1)
    starts: list[float] = []

    def start() -> int:
        lived(master, 9)
        return 9

    monkeypatch.setattr(Arbiter, "spawn_worker", lambda _master: start())
    lived(master, 7)
    end(monkeypatch, master, (7, signal.SIGKILL))
    assert master.WORKERS == {}
    master.manage_workers()
    assert master.WORKERS == {}
    for _ in range(2):
        wait_for(lambda: master.manage_workers() or bool(master.WORKERS))
        starts.append(master.WORKERS[9].pause)
        end(monkeypatch, master, (9, NOT_STARTED << 8))
    died = [(line["pid"], line["exit_code"], line["restart_in"]) for line in log.named("worker.died")]
    assert died == [(7, -signal.SIGKILL, 0.1), (9, NOT_STARTED, 0.2), (9, NOT_STARTED, 0.4)]
    assert starts == [0.1, 0.2]


def test_start_that_fails(monkeypatch: pytest.MonkeyPatch, master: Master, log: Log) -> None:
    """A worker that cannot start at first ends the service instead of being tried for ever."""
    lived(master, 7)
    with pytest.raises(HaltServer) as halted:
        end(monkeypatch, master, (7, NOT_STARTED << 8))
    assert halted.value.exit_status == NOT_STARTED
    assert log.named("worker.died") == []


def test_worker_that_was_told_to_end(monkeypatch: pytest.MonkeyPatch, master: Master, log: Log) -> None:
    """A worker that ends as it should is replaced at once; processes of others are none of the master's business."""
    lived(master, 7)
    end(monkeypatch, master, (7, 0), (8, signal.SIGKILL))
    assert master.WORKERS == {}
    assert log.named("worker.died") == []
    assert master._vacancies == []


def test_worker_that_does_not_stop(monkeypatch: pytest.MonkeyPatch, master: Master, log: Log) -> None:
    """A worker that outlives its time is killed, and the service's code says so."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(master, "kill_worker", lambda *kill: sent.append(kill))
    master.kill_workers(signal.SIGKILL)
    assert (master.exit_code, log.named("workers.killed")) == (0, [])
    lived(master, 7)
    master.kill_workers(signal.SIGKILL)
    assert master.exit_code == 1
    assert sent == [(7, signal.SIGKILL)]
    assert len(log.named("workers.killed")) == 1


def test_signals(monkeypatch: pytest.MonkeyPatch, master: Master) -> None:
    """Workers get the signal that the master got; a second one ends them at once, and is the service's end."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr(master, "kill_worker", lambda *kill: sent.append(kill))
    lived(master, 7)
    master.signal(signal.SIGINT, None)
    with pytest.raises(StopIteration):
        master.handle_int()
    master.kill_workers(signal.SIGTERM)
    assert sent == [(7, signal.SIGINT)]
    master.signal(signal.SIGINT, None)
    assert len(sent) == 1
    master.signal(signal.SIGTERM, None)
    assert sent[1:] == [(7, signal.SIGKILL)]
    assert master.exit_code == 128 + signal.SIGTERM


def test_signal_during_a_start(monkeypatch: pytest.MonkeyPatch, master: Master) -> None:
    """A signal that comes while a worker starts waits until somebody takes it."""
    blocked: list[set[int]] = []

    def start(_master: Master) -> int:
        blocked.append({int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])})
        lived(master, 7)
        return 7

    monkeypatch.setattr(Arbiter, "spawn_worker", start)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    master.spawn_worker()
    assert {signal.SIGINT, signal.SIGTERM} <= blocked[0]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_second_master(master: Master, log: Log) -> None:
    """No second master is started: with what `python -m` was called it could not."""
    master.handle_usr2()
    assert len(log.named("master.not_replaced")) == 1
    assert master.reexec_pid == 0


def test_lines(master: Master, log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """Gunicorn's lines are lines of the log."""
    gunicorns: Any = master.log
    gunicorns.info("Listening at: %s", "here")
    gunicorns.access(None, None, {}, None)
    assert [(line["event"], line["logger"]) for line in log.events] == [("Listening at: here", "gunicorn.error")]
    assert capfd.readouterr() == ("", "")
