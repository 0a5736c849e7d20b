"""What becomes of a task that fails."""

from collections.abc import Iterator
from functools import partial

import pytest
from celery import Celery
from celery.exceptions import SoftTimeLimitExceeded
from sqlalchemy.exc import OperationalError

from app.core.errors import InfrastructureError, NotFoundError, RateLimitError
from app.core.idempotency_errors import IdempotencyInProgressError
from app.worker.task import WAITING_SINCE

from .in_process import Script, wait_for, working

TEMPORARY = [
    InfrastructureError("down"),
    RateLimitError(retry_after=0.01),
    ConnectionRefusedError("nobody there"),
    OperationalError("SELECT 1", {}, Exception("gone")),
    SoftTimeLimitExceeded(),
]
BUSY = IdempotencyInProgressError(retry_after=0.01)


@pytest.fixture(scope="module")
def often(app: Celery) -> Script:
    """Return a task that is tried more often than others."""
    return Script(app, "fail.often", max_attempts=6)


@pytest.fixture(scope="module")
def fail(app: Celery, often: Script) -> Iterator[Script]:
    """Return a plain task, and somebody who works on it."""
    script = Script(app, "fail")
    with working(app):
        yield script


def after(script: Script) -> None:
    """Wait until the worker has gone on to a task that was sent later, and to what that sent."""
    for number in range(2):
        key = f"after {number} {len(script.attempts)}"
        script.send(key, [])
        wait_for(partial(script.made, key), "the next task")


@pytest.mark.parametrize("error", TEMPORARY, ids=lambda error: type(error).__name__)
def test_temporary_errors_are_tried_again(fail: Script, error: Exception) -> None:
    """A plain function whose error is temporary runs again, until there is none."""
    key = repr(error)
    fail.send(key, [error, error])
    wait_for(lambda: len(fail.made(key)) == 3, "the third attempt")
    assert fail.made(key) == [0, 1, 2]


@pytest.mark.parametrize("error", [NotFoundError("none"), ValueError("never")], ids=lambda error: type(error).__name__)
def test_permanent_errors_are_not(fail: Script, error: Exception) -> None:
    """What trying again does not change is not tried again."""
    fail.send(repr(error), [error, error])
    after(fail)
    assert fail.made(repr(error)) == [0]


def test_attempts_are_counted(fail: Script) -> None:
    """After so many attempts it is given up."""
    fail.send("counted", [InfrastructureError("down")] * 9)
    wait_for(lambda: len(fail.made("counted")) == 3, "the third attempt")
    after(fail)
    assert fail.made("counted") == [0, 1, 2]


def test_a_task_may_say_how_often(often: Script, fail: Script) -> None:
    """A task's own number of attempts wins."""
    often.send("often", [InfrastructureError("down")] * 9)
    wait_for(lambda: len(often.made("often")) == 6, "the sixth attempt")
    after(fail)
    assert often.made("often") == [0, 1, 2, 3, 4, 5]


def test_waiting_is_no_attempt(fail: Script) -> None:
    """While the same task runs elsewhere it waits, however often it looks, and then has all its attempts."""
    fail.send("waiting", [*[BUSY] * 5, InfrastructureError("down"), InfrastructureError("down")])
    wait_for(lambda: len(fail.made("waiting")) == 8, "the last attempt")
    assert fail.made("waiting") == [0, 0, 0, 0, 0, 0, 1, 2]


def test_waiting_has_an_end(fail: Script) -> None:
    """Who has waited for longer than the same task may take is given up."""
    fail.send("endless", [BUSY] * 5, headers={WAITING_SINCE: 1.0})
    after(fail)
    assert fail.made("endless") == [0]


def test_called_as_a_function(fail: Script) -> None:
    """Called directly, a task is its function: the error is the caller's."""
    fail.errors["direct"] = [InfrastructureError("down")]
    with pytest.raises(InfrastructureError, match="down"):
        fail.task("direct")
    assert fail.task("direct") == "direct"


def test_run_in_place(fail: Script) -> None:
    """Applied in place, as tests do, it is tried again in place."""
    fail.errors["eager"] = [InfrastructureError("down")]
    assert fail.task.apply(["eager"]).get() == "eager"
    assert fail.made("eager") == [0, 1]
