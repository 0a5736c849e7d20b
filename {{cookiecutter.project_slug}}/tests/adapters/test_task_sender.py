"""Sending tasks: the ids of the sender on every message, a span of its own, and a broker that is not there."""

import asyncio
import json
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from app.adapters.metrics import Metrics
from app.adapters.task_sender import TaskSender
from app.adapters.tracing import Tracing
from app.core.context import request_context
from app.core.errors import BrokerError, InfrastructureError
from app.settings import ConfigurationError, Settings

IDS = {"request_id": "r-1", "correlation_id": "c-1", "user_id": "u-1"}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Return settings with a broker of files."""
    return settings.model_copy(update={"broker_url": f"filesystem://{tmp_path}/broker"})


@pytest.fixture
def metrics(settings: Settings) -> Metrics:
    """Return series of the test's own."""
    return Metrics(settings)


@pytest.fixture
def tasks(settings: Settings, metrics: Metrics) -> Iterator[TaskSender]:
    """Return what sends."""
    sender = TaskSender(settings, metrics=metrics)
    yield sender
    sender.close()


@pytest.fixture
def spans() -> InMemorySpanExporter:
    """Return what takes the spans."""
    return InMemorySpanExporter()


@pytest.fixture
def tracing(settings: Settings, spans: InMemorySpanExporter) -> Tracing:
    """Return tracing that records."""
    return Tracing(settings, processor=SimpleSpanProcessor(spans))


def messages(folder: Path) -> list[dict[str, Any]]:
    """Return the messages that lie on the broker."""
    return [json.loads(path.read_text()) for path in sorted((folder / "broker" / "messages").iterdir())]


def counted(metrics: Metrics, outcome: str) -> bool:
    """Return whether exactly one task of an outcome was counted."""
    return 'task_sent_total{outcome="' + outcome + '",task="orders.fulfil"} 1.0' in metrics.render().decode()


def test_message(tasks: TaskSender, metrics: Metrics, tracing: Tracing, spans: Any, tmp_path: Path) -> None:
    """A message has the ids of the request that sends it, and a span of kind producer above it."""
    before = time.time()
    with tracing.span("request") as request, request_context(**IDS):
        task_id = tasks.enqueue("orders.fulfil", "o-1", urgent=True)
    (message,) = messages(tmp_path)
    headers = message["headers"]
    producer = next(span for span in spans.get_finished_spans() if span.kind is SpanKind.PRODUCER)
    assert (headers["id"], headers["task"], message["properties"]["delivery_info"]["routing_key"]) == (
        task_id,
        "orders.fulfil",
        "tasks",
    )
    assert {name: headers[f"x-{name.replace('_', '-')}"] for name in IDS} == IDS
    trace_id = f"{request.get_span_context().trace_id:032x}"
    assert headers["traceparent"] == f"00-{trace_id}-{producer.context.span_id:016x}-03"
    assert before <= headers["x-sent-at"] <= time.time()
    assert producer.name == "publish orders.fulfil"
    assert producer.parent.span_id == request.get_span_context().span_id
    assert dict(producer.attributes)["messaging.message.id"] == task_id
    assert counted(metrics, "sent")


def test_countdown(tasks: TaskSender, tmp_path: Path) -> None:
    """A task may be told to begin later; without a request it has no ids of one."""
    tasks.enqueue("orders.fulfil", "o-1", countdown=60)
    headers = messages(tmp_path)[0]["headers"]
    assert headers["eta"]
    assert "traceparent" not in headers
    assert "x-request-id" not in headers


async def test_from_a_coroutine(tasks: TaskSender, tracing: Tracing, tmp_path: Path) -> None:
    """Of many coroutines at once each sends its own ids, and the loop goes on meanwhile."""

    async def send(number: int) -> None:
        with tracing.span("request"), request_context(request_id=f"r-{number}"):
            await tasks.enqueue_async("orders.fulfil", number)

    await asyncio.gather(*map(send, range(20)))
    found = messages(tmp_path)
    assert {one["headers"]["x-request-id"] for one in found} == {f"r-{number}" for number in range(20)}
    assert len({one["headers"]["traceparent"] for one in found}) == 20


def test_from_threads(tasks: TaskSender, tmp_path: Path) -> None:
    """One sender serves all threads."""

    def send(number: int) -> None:
        with request_context(request_id=f"r-{number}"):
            tasks.enqueue("orders.fulfil", f"r-{number}")

    threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = messages(tmp_path)
    assert {one["headers"]["x-request-id"] for one in found} == {f"r-{number}" for number in range(8)}


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_broker_is_down(settings: Settings, metrics: Metrics, tracing: Tracing, spans: Any, scheme: str) -> None:
    """A broker that refuses is an error that may be tried again, counted, and on the span."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"{scheme}://127.0.0.1:{nobody.getsockname()[1]}/"
        tasks = TaskSender(settings.model_copy(update={"broker_url": url}), metrics=metrics)
        with tracing.span("request"), pytest.raises(BrokerError) as raised:
            tasks.enqueue("orders.fulfil", "secret-value")
    tasks.close()
    assert isinstance(raised.value, InfrastructureError)
    assert raised.value.retryable
    assert "secret-value" not in str(raised.value)
    assert counted(metrics, "failed")
    assert all(
        span.status.status_code is StatusCode.ERROR
        for span in spans.get_finished_spans()
        if span.kind is SpanKind.PRODUCER
    )


def test_broker_fails_while_it_is_sent(
    tasks: TaskSender, metrics: Metrics, tracing: Tracing, spans: InMemorySpanExporter, tmp_path: Path
) -> None:
    """The span of a message that the broker did not take ends, and says so."""
    shutil.rmtree(tmp_path / "broker")
    (tmp_path / "broker").write_text("no folder")
    with tracing.span("request"), pytest.raises(BrokerError):
        tasks.enqueue("orders.fulfil", "order-1")
    (span,) = (span for span in spans.get_finished_spans() if span.kind is SpanKind.PRODUCER)
    assert span.status.status_code is StatusCode.ERROR
    assert counted(metrics, "failed")


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_broker_hangs(settings: Settings, metrics: Metrics, scheme: str) -> None:
    """A broker that takes connections and says nothing does not keep a request."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(10)
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/"
        tasks = TaskSender(settings.model_copy(update={"broker_url": url}), metrics=metrics, timeout=0.2)
        with pytest.raises(BrokerError):
            tasks.enqueue("orders.fulfil", "o-1")
        tasks.close()
    assert counted(metrics, "failed")


def test_argument_is_no_json(tasks: TaskSender, metrics: Metrics, tmp_path: Path) -> None:
    """What the caller did wrong is told as that, and nothing is sent."""
    with pytest.raises(Exception, match="not JSON serializable") as raised:
        tasks.enqueue("orders.fulfil", object())
    assert not isinstance(raised.value, BrokerError)
    assert not messages(tmp_path)
    assert counted(metrics, "failed")


def test_no_broker(settings: Settings) -> None:
    """Without a broker nothing can be sent, and the message names the setting."""
    with pytest.raises(ConfigurationError, match=r"^BROKER_URL: received nothing; allowed: .*redis://"):
        TaskSender(settings.model_copy(update={"broker_url": None}))


def test_broker_of_messages(settings: Settings) -> None:
    """A broker that is for messages alone takes no tasks, and the message names one that does."""
    with pytest.raises(ConfigurationError, match=r"^BROKER_URL: received 'sqlite:///q\.db'.*filesystem://var/broker"):
        TaskSender(settings.model_copy(update={"broker_url": "sqlite:///q.db"}))


def test_celery_is_not_installed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Celery the message says what to add."""
    monkeypatch.setitem(sys.modules, "celery", None)
    with pytest.raises(ConfigurationError, match=r"uv add 'celery\[redis\]"):
        TaskSender(settings)
