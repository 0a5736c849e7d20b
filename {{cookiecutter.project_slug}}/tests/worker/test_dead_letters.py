"""Where tasks end that were given up, and how they come back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from kombu import Connection

from app.adapters.logging import configure_logging
from app.core.errors import InfrastructureError, NotFoundError
from app.core.redaction import REDACTED
from app.worker import deliveries
from app.worker.configuration import WorkerGroup, WorkerSettings
from app.worker.dead_letters import burial
from app.worker.dead_letters.command import run
from app.worker.dead_letters.shelves import opened_shelf

from ..servers import free_port
from .in_process import Script, application, settings_in, wait_for, working

URLS = {"redis": "redis://127.0.0.1:6379/0", "rabbitmq": "amqp://guest:guest@127.0.0.1:5672//"}


def is_there(url: str) -> bool:
    """Return whether a broker answers."""
    try:
        with Connection(url, connect_timeout=3) as connection:
            connection.ensure_connection(max_retries=1, timeout=3)
    except OSError:
        return False
    return True


@pytest.fixture(scope="module", params=["files", "redis", "rabbitmq"])
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> WorkerSettings:
    """Return the settings of a worker with a queue of its own, on each broker."""
    folder = tmp_path_factory.mktemp("worker")
    url = URLS.get(request.param, f"filesystem://{folder}/broker")
    if request.param in URLS and not is_there(url):
        pytest.skip(f"{request.param} does not answer at {url}")
    queue = f"test-{uuid4().hex}"
    group = WorkerGroup(pool="solo", queue=queue, max_attempts=2, backoff=0.01, backoff_max=0.02)
    return settings_in(folder, broker_url=url, worker=group)


@pytest.fixture(autouse=True)
def _log_elsewhere(tmp_path: Path) -> Iterator[None]:
    """Keep log lines out of what the command prints."""
    settings = settings_in(tmp_path)
    configure_logging(settings, sink=lambda _line: None)
    yield
    configure_logging(settings, sink=lambda _line: None)


@pytest.fixture(scope="module")
def app(settings: WorkerSettings) -> Iterator[Celery]:
    """Return an application, and leave nothing on the broker."""
    with application(settings) as app:
        app.conf.broker_transport_options = {**app.conf.broker_transport_options, "polling_interval": 0.02}
        yield app
        with app.connection_for_write() as connection:
            channel: Any = connection.default_channel
            queue = settings.worker.queue
            for name in (queue, f"{queue}.dead"):
                channel.queue_delete(name)
            if connection.transport.driver_type == "redis":
                with channel.conn_or_acquire() as client:
                    client.delete(*client.keys(f"*{queue}*"))
            elif connection.transport.driver_type == "amqp":
                channel.exchange_delete(queue)


@pytest.fixture(scope="module")
def fail(app: Celery) -> Iterator[Script]:
    """Return a plain task, and somebody who works on it."""
    script = Script(app, "fail")
    with working(app):
        yield script


@pytest.fixture
def dead(app: Celery) -> "Dead":
    """Return the dead letters."""
    return Dead(app)


class Dead:
    """The dead letters of an application's queue."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def ids(self) -> list[str]:
        """Return whose they are."""
        with opened_shelf(self._app) as shelf:
            return [letter.id for letter in shelf.letters()]

    def why(self, task_id: str) -> dict[str, Any]:
        """Return why a task was given up, once it was."""

        def found() -> dict[str, Any] | None:
            with opened_shelf(self._app) as shelf:
                return next((letter.why for letter in shelf.letters() if letter.id == task_id), None)

        reason: dict[str, Any] = wait_for(found, f"the letter of {task_id}")
        return reason


def test_permanent(fail: Script, dead: Dead) -> None:
    """What trying again does not change lies there at once, with the reason and without secrets."""
    fail.send("p", [NotFoundError("no customer eve@example.com")], task_id="p-1")
    why = dead.why("p-1")
    assert {name: why[name] for name in ("reason", "error", "code", "attempts", "queue")} == {
        "reason": "permanent",
        "error": "NotFoundError",
        "code": "NOT_FOUND",
        "attempts": 1,
        "queue": fail.task.app.conf.task_default_queue,
    }
    assert why["message"] == f"no customer {REDACTED}"


def test_exhausted(fail: Script, dead: Dead) -> None:
    """What was tried as often as it may be says so."""
    fail.send("e", [InfrastructureError("down")] * 2, task_id="e-1")
    why = dead.why("e-1")
    assert (why["reason"], why["attempts"]) == ("exhausted", 2)


def test_replayed(
    fail: Script, dead: Dead, settings: WorkerSettings, capsys: pytest.CaptureFixture[str], app: Celery
) -> None:
    """It comes back under its id, with its sender's ids and all attempts before it, and is a dead letter no more."""
    headers = {"x-request-id": "from-far-away"}
    fail.send("r", [NotFoundError("none"), InfrastructureError("down")], task_id="r-1", headers=headers)
    dead.why("r-1")
    with opened_shelf(app) as shelf:
        letter = next(letter for letter in shelf.letters() if letter.id == "r-1")
        assert (letter.task, letter.headers["x-request-id"], json.loads(letter.body)[0]) == (
            "fail",
            "from-far-away",
            ["r"],
        )
    assert run(settings, ["replay", "r-1"]) == 0
    wait_for(lambda: len(fail.made("r")) == 3, "the task's success")
    assert fail.made("r") == [0, 0, 1]
    assert "r-1" not in dead.ids()
    assert "replayed r-1\n" in capsys.readouterr().out


def test_looking_takes_nothing(
    fail: Script, dead: Dead, settings: WorkerSettings, capsys: pytest.CaptureFixture[str], app: Celery
) -> None:
    """Who looks, or stops in the middle of it, leaves everything where it was, in its order."""
    for number in range(3):
        fail.send(f"l{number}", [NotFoundError("none")], task_id=f"l-{number}")
        dead.why(f"l-{number}")
    before = dead.ids()
    with opened_shelf(app) as shelf:
        next(shelf.letters())
    assert run(settings, ["list"]) == 0
    assert run(settings, ["list", "--limit", "1"]) == 0
    assert run(settings, ["show", "l-1"]) == 0
    # RabbitMQ has back what it lent, but not in its order.
    assert sorted(dead.ids()) == sorted(before)
    shown = capsys.readouterr().out
    assert "There are more" in shown
    assert shown.index("\nl-0  ") < shown.index("\nl-1  ") < shown.index("\nl-2  ")


def test_show_redacts(fail: Script, dead: Dead, settings: WorkerSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """What is shown of arguments is what a log line would show."""
    fail.send("eve@example.com", [NotFoundError("none")], task_id="s-1")
    dead.why("s-1")
    assert run(settings, ["show", "s-1"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["id"], shown["task"], shown["reason"]) == ("s-1", "fail", "permanent")
    assert REDACTED in shown["arguments"]
    assert "eve@" not in json.dumps(shown)


def test_purged(fail: Script, dead: Dead, settings: WorkerSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """Some are dropped, or all."""
    for key in ("x", "y"):
        fail.send(key, [NotFoundError("none")], task_id=f"{key}-1")
        dead.why(f"{key}-1")
    assert run(settings, ["purge", "x-1"]) == 0
    assert "x-1" not in dead.ids()
    assert "y-1" in dead.ids()
    assert run(settings, ["purge", "--all"]) == 0
    assert dead.ids() == []
    capsys.readouterr()
    assert run(settings, ["list"]) == 0
    assert capsys.readouterr().out == "There are no dead letters.\n"


@pytest.mark.parametrize("action", ["show", "replay", "purge"])
def test_unknown_id(app: Celery, settings: WorkerSettings, capsys: pytest.CaptureFixture[str], action: str) -> None:
    """An id that is not there is an error, and the message says what is allowed."""
    assert run(settings, [action, "nobody"]) == 1
    assert capsys.readouterr().err == "received 'nobody'; allowed: an id that `list` shows\n"


def test_no_task_of_ours(app: Celery, fail: Script, dead: Dead) -> None:
    """A name that nobody knows is kept: the next release may know it."""
    app.send_task("nobody.knows", ["x"], task_id="u-1")
    assert dead.why("u-1")["reason"] == "unknown"


def test_unreadable(app: Celery, fail: Script, dead: Dead, settings: WorkerSettings) -> None:
    """A message that cannot be read is kept as it is, and keeps nobody from the next."""
    known = {"task": "fail", "id": "b-1"}
    with app.producer_pool.acquire(block=True) as producer:
        for headers in (known, {}):
            producer.publish(
                b"\xff not JSON",
                exchange="",
                routing_key=settings.worker.queue,
                content_type="application/json",
                content_encoding="utf-8",
                headers=headers,
            )
    assert dead.why("b-1")["reason"] == "unreadable"
    wait_for(lambda: any(task_id.startswith("unreadable-") for task_id in dead.ids()), "the letter of no task")
    with opened_shelf(app) as shelf:
        assert {letter.body for letter in shelf.letters() if letter.why["reason"] == "unreadable"} == {b"\xff not JSON"}


def test_nothing_is_lost_when_it_cannot_be_buried(fail: Script, dead: Dead, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the broker takes no dead letter, the task is in its queue."""
    left = [ConnectionResetError("gone"), ConnectionResetError("gone")]
    real = burial.send

    def send(*given: Any) -> None:
        if left:
            raise left.pop()
        real(*given)

    monkeypatch.setattr(burial, "send", send)
    fail.send("again", [NotFoundError("none")] * 9, task_id="a-1")
    assert dead.why("a-1")["reason"] == "permanent"
    assert fail.made("again") == [0, 0, 0]


def test_counted(fail: Script, dead: Dead) -> None:
    """Metrics say how many were given up, and why."""
    from app.worker.bootstrap import current_services

    fail.send("c", [NotFoundError("none")], task_id="c-1")
    dead.why("c-1")
    lines = current_services().metrics.render().decode().splitlines()
    counted = {line for line in lines if line.startswith("task_dead_letters_total")}
    assert 'task_dead_letters_total{reason="time limit"} 0.0' in counted
    assert not {'task_dead_letters_total{reason="permanent"} 0.0'} & counted


def test_deliveries_are_counted_anew(app: Celery, fail: Script, dead: Dead) -> None:
    """Who was given up and is replayed begins with no deliveries; RabbitMQ counts those of a message by itself."""
    with app.connection_for_write() as connection:
        if connection.transport.driver_type == "amqp":
            return
        # A name of its own: the count outlives the task, and other runs share the server.
        task_id = f"d-{uuid4()}"
        deliveries._count_beside(connection, task_id)
        assert deliveries._count_beside(connection, task_id) == 2
        fail.send("d", [NotFoundError("none")], task_id=task_id)
        dead.why(task_id)
        try:
            wait_for(lambda: deliveries._count_beside(connection, task_id) == 1)
        finally:
            deliveries._forget_beside(connection, task_id)


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_broker_away(tmp_path: Path, capsys: pytest.CaptureFixture[str], scheme: str) -> None:
    """A broker that is not there is said so, without its password."""
    away = settings_in(tmp_path, broker_url=f"{scheme}://user:se-cret@127.0.0.1:{free_port()}/0")
    assert run(away, ["list"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"BROKER_URL: received {scheme}://***@127.0.0.1:")
    assert "se-cret" not in error


@pytest.mark.parametrize("arguments", [["replay"], ["purge"], ["list", "--limit", "0"], []])
def test_wrong_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Nothing is replayed or dropped without saying what."""
    with pytest.raises(SystemExit) as ended:
        run(settings_in(tmp_path), arguments)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err
