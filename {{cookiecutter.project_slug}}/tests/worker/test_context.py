"""A task's ids: from its sender through retries, chains and groups, and none of them in the next task."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import chain, group
from opentelemetry import trace as opentelemetry

from app.core.context import current_context, request_context, set_user_id
from app.core.tracing import current_trace

from ..conftest import Log
from .observing import Observed, until

IDS = {"request_id": "r-1", "correlation_id": "c-1", "user_id": "u-1"}


class Seen(list[dict[str, Any]]):
    """The contexts that tasks worked in."""

    def of(self, task: str, count: int = 1) -> list[dict[str, Any]]:
        """Return the contexts of a task, when there are so many."""

        def found() -> list[dict[str, Any]]:
            seen = [one for one in self if one["task_name"] == task]
            return seen if len(seen) >= count else []

        contexts: list[dict[str, Any]] = until(found, task)
        return contexts


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """Return a worker with tasks that note what they work in."""
    observed = Observed(tmp_path_factory.mktemp("worker"))
    add_tasks(observed)
    with observed.working():
        yield observed


def add_tasks(observed: Observed) -> None:
    """Give a worker its tasks."""
    app = observed.app

    def see() -> None:
        position = current_trace()
        observed.seen.append({**current_context(), "position": position})

    @app.task(name="t.plain", shared=False)
    def plain(*_args: object) -> None:
        see()

    @app.task(name="t.retried", shared=False, bind=True, max_retries=2)
    def retried(self: Any) -> None:
        see()
        if self.request.retries < 2:
            raise self.retry(countdown=0)

    @app.task(name="t.sends", shared=False)
    def sends() -> None:
        see()
        plain.delay()

    @app.task(name="t.eager", shared=False)
    def eager() -> None:
        plain.apply()
        see()

    add_others(observed, see)


def add_others(observed: Observed, see: Callable[[], None]) -> None:
    """Give a worker the tasks that leave something behind."""

    @observed.app.task(name="t.binds", shared=False)
    def binds() -> None:
        set_user_id("u-9")
        see()

    @observed.app.task(name="t.raises", shared=False)
    def raises() -> None:
        set_user_id("u-9")
        msg = "no"
        raise KeyError(msg)


@pytest.fixture
def seen(observed: Observed, log: Log) -> Seen:
    """Return what is seen from here on."""
    seen = Seen()
    observed.seen = seen
    observed.spans.clear()
    return seen


def send(observed: Observed, name: str, **options: Any) -> str:
    """Send a task in a request with ids, and return the trace of its span."""
    with observed.services.tracing.span("request") as span, request_context(**IDS):
        observed.app.tasks[name].apply_async(**options)
    return f"{span.get_span_context().trace_id:032x}"


def test_ids_of_the_sender(observed: Observed, seen: Seen, log: Log) -> None:
    """A task has its sender's ids, and a position below it, in its context and on every line."""
    trace_id = send(observed, "t.plain")
    (context,) = seen.of("t.plain")
    assert {name: context[name] for name in IDS} == IDS
    assert context["trace_id"] == context["position"].trace_id == trace_id
    assert context["span_id"] == context["position"].span_id
    done = until(lambda: log.named("task.succeeded"))[0]
    for line in (log.named("task.started")[0], done):
        assert {name: line[name] for name in (*IDS, "trace_id", "span_id", "task_id", "task_name")} == {
            name: context[name] for name in (*IDS, "trace_id", "span_id", "task_id", "task_name")
        }
        assert (line["queue"], line["attempt"]) == (observed.settings.worker.queue, 1)
    assert done["duration_ms"] >= 0


def test_spans(observed: Observed, seen: Seen) -> None:
    """The task's span is below the producer's, which is below the request's."""
    send(observed, "t.plain")
    consumer, producer, request = (observed.span(name) for name in ("process t.plain", "publish t.plain", "request"))
    assert consumer.parent is not None
    assert producer.parent is not None
    assert producer.parent.span_id == request.context.span_id
    assert consumer.parent.span_id == producer.context.span_id
    assert consumer.kind is opentelemetry.SpanKind.CONSUMER
    assert producer.kind is opentelemetry.SpanKind.PRODUCER
    said = dict(consumer.attributes or {})
    assert said["messaging.destination.name"] == observed.settings.worker.queue
    assert (said["messaging.system"], said["messaging.operation.type"]) == ("filesystem", "process")
    assert said["messaging.message.id"] == dict(producer.attributes or {})["messaging.message.id"]


def test_retries(observed: Observed, seen: Seen, log: Log) -> None:
    """Each attempt has the same ids, and a line of its own."""
    trace_id = send(observed, "t.retried")
    contexts = seen.of("t.retried", 3)
    assert {(one["request_id"], one["trace_id"], one["user_id"]) for one in contexts} == {("r-1", trace_id, "u-1")}
    assert len({one["span_id"] for one in contexts}) == 3
    assert len({one["task_id"] for one in contexts}) == 1
    done = until(lambda: log.named("task.succeeded"))
    assert [line["attempt"] for line in done] == [3]
    retried = log.named("task.retried")
    assert [(line["attempt"], line["level"], line["countdown"]) for line in retried] == [
        (1, "warning", 0.0),
        (2, "warning", 0.0),
    ]
    assert {line["request_id"] for line in (*retried, *log.named("task.started"))} == {"r-1"}


@pytest.mark.parametrize("kind", [chain, group])
def test_canvas(observed: Observed, seen: Seen, kind: Any) -> None:
    """All parts of a chain or group belong to the sender's request and trace."""
    plain = observed.app.tasks["t.plain"]
    with observed.services.tracing.span("request") as span, request_context(**IDS):
        kind(plain.si(), plain.si(), plain.si()).apply_async()
    contexts = seen.of("t.plain", 3)
    trace_id = f"{span.get_span_context().trace_id:032x}"
    assert {(one["request_id"], one["trace_id"]) for one in contexts} == {("r-1", trace_id)}
    assert len({one["task_id"] for one in contexts}) == 3


def test_sent_by_a_task(observed: Observed, seen: Seen) -> None:
    """What a task sends is below the task, in the same trace."""
    trace_id = send(observed, "t.sends")
    (context,), (sender,) = seen.of("t.plain"), seen.of("t.sends")
    assert (context["request_id"], context["trace_id"]) == ("r-1", trace_id)
    producer = observed.span("publish t.plain")
    assert producer.parent is not None
    assert f"{producer.parent.span_id:016x}" == sender["span_id"]


@pytest.mark.parametrize("first", ["t.binds", "t.raises", "t.retried"])
def test_nothing_leaks_into_the_next(observed: Observed, seen: Seen, log: Log, first: str) -> None:
    """The next task of the same process has nothing of one that bound a user, failed or was tried again."""
    send(observed, first)
    ends = ("task.succeeded", "task.failed")
    until(lambda: [line for line in log.events if line["event"] in ends])
    task_id = observed.app.tasks["t.plain"].delay().id
    (context,) = seen.of("t.plain")
    assert "user_id" not in context
    assert "correlation_id" not in context
    assert (context["request_id"], context["task_id"]) == (task_id, task_id)
    assert context["trace_id"] == task_id.replace("-", "")
    until(lambda: [line for line in log.named("task.succeeded") if line["task_id"] == task_id])
    assert observed.number('task_active{task="t.plain"}') == 0


def test_called_like_a_function(observed: Observed, seen: Seen) -> None:
    """A task that another one calls in place is a part of it, and leaves its context as it was."""
    trace_id = send(observed, "t.eager")
    (inner,), (outer,) = seen.of("t.plain"), seen.of("t.eager")
    assert (inner["request_id"], inner["trace_id"]) == (outer["request_id"], outer["trace_id"]) == ("r-1", trace_id)
    assert inner["task_id"] != outer["task_id"]
    assert inner["span_id"] != outer["span_id"]


@pytest.mark.parametrize("value", ["", "a b\n", 7, None, ["x"]])
def test_hostile_headers(observed: Observed, seen: Seen, value: Any) -> None:
    """Whatever a message carries, its task runs, with ids of its own."""
    names = ("traceparent", "tracestate", "x-request-id", "x-correlation-id", "x-user-id")
    task_id = observed.app.tasks["t.plain"].apply_async(headers=dict.fromkeys(names, value)).id
    (context,) = seen.of("t.plain")
    assert context["request_id"] == task_id
    assert "user_id" not in context


def test_unsampled_sender(observed: Observed, seen: Seen) -> None:
    """A task whose sender is not recorded has its trace, and is not recorded either."""
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    observed.app.tasks["t.plain"].apply_async(headers={"traceparent": traceparent})
    (context,) = seen.of("t.plain")
    assert context["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert not context["position"].sampled
    assert not [span for span in observed.spans.get_finished_spans() if span.name == "process t.plain"]
