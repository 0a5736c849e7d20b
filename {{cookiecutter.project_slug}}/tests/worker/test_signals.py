"""Celery's signals are connected once, leave logging alone, and cost nobody who sends something strange."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import signals
from celery.exceptions import InvalidTaskError

from app.adapters.logging import configure_logging
from app.adapters.task_sender import TaskSender
from app.core.context import request_context
from app.settings import Settings
from app.worker.bootstrap import using_services
from app.worker.signals import connect
from app.worker.telling import observer

from .. import fakes
from ..conftest import Log
from .observing import Observed, until

CONNECTED = (
    signals.before_task_publish,
    signals.after_task_publish,
    signals.setup_logging,
    signals.task_prerun,
    signals.task_postrun,
    signals.task_revoked,
    signals.task_unknown,
    signals.task_rejected,
    signals.task_internal_error,
    signals.worker_ready,
    signals.worker_shutting_down,
    signals.worker_shutdown,
    signals.worker_process_init,
    signals.worker_process_shutdown,
)


@pytest.fixture
def observed(tmp_path: Path) -> Iterator[Observed]:
    """Return an application that does not work yet."""
    observed = Observed(tmp_path)

    @observed.app.task(name="t.fails", shared=False)
    def fails(*args: object, **kwargs: object) -> None:
        msg = f"refused {args} {kwargs}"
        raise LookupError(msg)

    @observed.app.task(name="t.again", shared=False, bind=True, max_retries=1)
    def again(self: Any, /, *args: object, **kwargs: object) -> str:
        if not self.request.retries:
            raise self.retry(exc=LookupError(f"not yet {args} {kwargs}"), countdown=0)
        return f"{args} {kwargs}"

    yield observed
    observed.close()


def wait_for(log: Log, event: str, task_id: str) -> None:
    """Wait until an event of a task is logged."""
    until(lambda: [line for line in log.named(event) if line["task_id"] == task_id], event)


def test_connected_once(observed: Observed) -> None:
    """However often an application is made, each signal is heard once."""
    connect(observed.settings.broker_url)
    connect(observed.settings.broker_url)
    for signal in CONNECTED:
        own = [key for key, _ in signal.receivers if str(key[0]).startswith("app.")]
        assert len(own) == 1, signal


def test_logging_is_left_alone(observed: Observed, log: Log) -> None:
    """Celery neither adds a handler to the root logger nor changes its level."""
    root = logging.getLogger()
    before = (list(root.handlers), root.level)
    celery_log: Any = observed.app.log
    celery_log.already_setup = False
    celery_log.setup(loglevel=logging.DEBUG, redirect_stdouts=True)
    assert (root.handlers, root.level) == before


def test_arguments_are_in_no_line(observed: Observed, settings: Settings) -> None:
    """At the lowest level, whatever becomes of a task, nothing secret of its arguments is in any line."""
    lines = Log()
    as_json = {"format": "json", "level": "DEBUG", "levels": {"celery.app.trace": "DEBUG", "celery.worker": "DEBUG"}}
    configure_logging(settings.model_copy(update={"log": settings.log.model_copy(update=as_json)}), sink=lines.append)
    secrets = {"email": fakes.EMAIL, "card": fakes.CARD, "token": fakes.part("ghp_", fakes.made(36))}
    ends = {"t.fails": "task.failed", "t.again": "task.succeeded", "t.unknown": "task.unknown"}
    with observed.working():
        for name, end in ends.items():
            for args, kwargs in ((list(secrets.values()), {}), ([], {**secrets, "password": "hunter2-hunter2"})):
                task_id = observed.app.send_task(name, args=args, kwargs=kwargs).id
                wait_for(lines, end, task_id)
    text = "\n".join(lines)
    for secret in (*secrets.values(), "hunter2-hunter2"):
        assert secret not in text
    assert len(lines.named("task.retried")) == 2
    assert lines.named("task.failed")[0]["args_preview"]


def test_celery_says_nothing_twice(observed: Observed, log: Log) -> None:
    """What becomes of a task is one line; Celery's own are not there."""
    with observed.working():
        observed.app.tasks["t.fails"].delay()
        observed.app.tasks["t.again"].delay()
        until(lambda: log.named("task.failed") and log.named("task.succeeded"))
    said = [line["event"] for line in log.events if line["logger"].startswith("celery.")]
    assert not [text for text in said if "t.fails" in text or "t.again" in text]
    assert len([line for line in log.events if "exception" in line]) == 1


def test_unknown_task(observed: Observed, log: Log) -> None:
    """A task that nobody here knows is told with its sender's ids, and not by a series of its own."""
    with observed.working():
        observed.app.send_task("t.nobody", headers={"x-request-id": "r-1"})
        line = until(lambda: log.named("task.unknown"))[0]
    assert (line["task_name"], line["request_id"], line["level"]) == ("t.nobody", "r-1", "error")
    rendered = observed.services.metrics.render().decode()
    assert 'task_duration_seconds_count{outcome="unknown",task="_OTHER"} 1.0' in rendered
    assert "t.nobody" not in rendered


@pytest.mark.parametrize("headers", [None, {}, {"task": 7, "id": ["x"]}, {"task": "x" * 1000, "x-request-id": "a\nb"}])
def test_unreadable_message(observed: Observed, log: Log, headers: object) -> None:
    """Whatever is wrong with a message, one line says so."""

    class Message:
        pass

    Message.headers = headers  # type: ignore[attr-defined]
    with using_services(observed.services):
        signals.task_rejected.send(sender=None, message=Message(), exc=InvalidTaskError("no"))
    (line,) = log.named("task.unreadable")
    assert line["reason"] == "InvalidTaskError"
    assert len(line["task_name"]) <= 128


def test_internal_error(observed: Observed, log: Log) -> None:
    """What fails in Celery itself, around a task, is a line."""
    with using_services(observed.services):
        signals.task_internal_error.send(
            sender=observed.app.tasks["t.fails"], task_id="i-1", exception=RuntimeError("no"), request={}
        )
    (line,) = log.named("task.internal_error")
    assert (line["task_id"], line["task_name"], line["level"]) == ("i-1", "t.fails", "critical")


def test_observer_follows_the_parts(observed: Observed, tmp_path: Path) -> None:
    """Each process observes with parts of its own."""
    other = Observed(tmp_path / "other")
    with using_services(observed.services):
        first = observer()
        assert observer() is first
    with using_services(other.services):
        assert observer().services is other.services
    other.close()


def test_sender_beside_the_worker(observed: Observed, log: Log, tmp_path: Path) -> None:
    """A task may be sent by what other services send with: it has one set of ids, and arrives."""
    sender = TaskSender(observed.settings, queue=observed.settings.worker.queue, metrics=observed.services.metrics)
    sender._app.conf.update(broker_url="memory://", broker_transport=None)
    with observed.working(), observed.services.tracing.span("request") as span, request_context(request_id="r-7"):
        task_id = sender.enqueue("t.again", 1)
        done = until(lambda: log.named("task.succeeded"))[0]
    assert (done["task_id"], done["request_id"]) == (task_id, "r-7")
    assert done["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    published = [one for one in observed.spans.get_finished_spans() if one.name == "publish t.again"]
    assert len(published) == 2
    assert observed.number('task_sent_total{outcome="sent",task="t.again"}') == 1
    sender.close()


def test_celery_shows_no_arguments(observed: Observed, log: Log) -> None:
    """What Celery puts on its records besides their text, and whole messages, are in no line, whatever their level."""
    for name in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(name).critical("a task", extra={"data": {"args": "zebra"}})
    logging.getLogger("celery.worker.consumer.consumer").critical("Received unregistered task of type zebra")
    logging.getLogger("celery.worker.consumer.consumer").critical("Can't decode message body: %r", ValueError("zebra"))
    logging.getLogger("celery.pool").critical("TaskPool: Apply %s", "zebra")
    assert len(log.named("a task")) == 2
    assert log.named("a message cannot be read: ValueError")
    assert not any("zebra" in line for line in log)
