"""How a process stops: what a first and a second signal mean, and how long what may take."""

import os
import signal
import threading

import pytest

from app.serving.stopping import REPEATED_SECONDS, Stop, end_at_once
from app.settings import Settings


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return it."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the time that a stop goes by."""
    clock = Clock()
    monkeypatch.setattr("app.serving.stopping.time", clock)
    return clock


def stop(timeout: float = 20, delay: float = 0, told: list[int] | None = None) -> Stop:
    """Return a stop that ends no process."""
    settings = Settings(shutdown_timeout=timeout, shutdown_delay=delay)
    return Stop(settings, at_second=(told if told is not None else []).append)


def test_first_signal(clock: Clock) -> None:
    """The first signal begins the stop, and is known by its name."""
    one = stop()
    assert not one.has_begun
    assert one.take(signal.SIGTERM)
    assert (one.has_begun, one.signal, one.signal_name) == (True, signal.SIGTERM, "SIGTERM")


def test_signal_that_arrives_twice(clock: Clock) -> None:
    """The same signal again at once is one that a parent handed on; later it is a second one, as another one always."""
    told: list[int] = []
    one = stop(told=told)
    one.take(signal.SIGTERM)
    clock.now += REPEATED_SECONDS
    assert not one.take(signal.SIGTERM)
    assert told == []
    assert not one.take(signal.SIGINT)
    clock.now += 0.01
    assert not one.take(signal.SIGTERM)
    assert told == [signal.SIGINT, signal.SIGTERM]
    assert one.signal == signal.SIGTERM


def test_nobody_is_served(clock: Clock) -> None:
    """Without a delay the listener may close as soon as no request is in flight."""
    one = stop()
    one.take(signal.SIGTERM)
    assert one.is_drained(in_flight=False)
    assert not one.is_drained(in_flight=True)


def test_delay(clock: Clock) -> None:
    """With a delay the listener stays open for so long, but not beyond the timeout."""
    one, short = stop(timeout=20, delay=5), stop(timeout=2, delay=5)
    for each in (one, short):
        each.take(signal.SIGTERM)
    clock.now += 1.99
    assert not one.is_drained(in_flight=False)
    assert short.is_drained(in_flight=True)
    clock.now += 3.01
    assert one.is_drained(in_flight=False)
    assert not one.is_drained(in_flight=True)


def test_time_is_up(clock: Clock) -> None:
    """What does not end in time leaves a share of it for the rest, and another one for what comes last."""
    one = stop(timeout=20)
    one.take(signal.SIGTERM)
    assert one.seconds_left == pytest.approx(18)
    clock.now += 15.9
    assert not one.is_drained(in_flight=True)
    clock.now += 0.1
    assert one.is_drained(in_flight=True)
    assert one.seconds_left == pytest.approx(2)


def test_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of a process that is ended says by which signal."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)
    end_at_once(signal.SIGINT)
    assert ended == [130]


def test_what_cannot_be_cancelled() -> None:
    """When all time has passed, the process is ended, whatever its threads still do."""
    one, ended = stop(timeout=0.01), threading.Event()
    one.take(signal.SIGTERM)
    one.end_in_time(ended.set)
    assert ended.wait(30)
