"""What is said of a message at its end: the line and its level, the report, the series, the span."""

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import StatusCode
from sqlalchemy import text

from app.adapters.logging import configure_logging
from app.adapters.sinks import FileSink
from app.adapters.span_queue import Sent
from app.adapters.tracing import Tracing
from app.bootstrap import bootstrap
from app.core.errors import ConfigurationFaultError, InfrastructureError, NotFoundError
from app.core.logging import is_reported
from app.core.messages import Message
from app.core.spans import RecordedSpan
from app.daemon.consumer import Consumer
from app.daemon.handlers import Handlers
from app.settings_groups import DatabaseSettings, ErrorSettings

from ..conftest import Log
from .handled import PATIENCE, create_tables, note, placed, running, settings_in, until
from .in_memory import InMemorySource

MANY = 4


def failing(error: Exception) -> Handlers:
    """Return a handler that raises."""
    handlers = Handlers()

    @handlers.handles("test.done")
    async def fails(message: Message) -> None:
        raise error

    return handlers


@pytest.mark.parametrize(
    ("error", "level", "code", "reported"),
    [
        (NotFoundError("no order"), "warning", "NOT_FOUND", False),
        (ConfigurationFaultError("wrong"), "critical", "CONFIGURATION_ERROR", True),
        (ZeroDivisionError("a bug"), "error", "INTERNAL_ERROR", True),
    ],
)
async def test_failure(tmp_path: Path, log: Log, error: Exception, level: str, code: str, reported: bool) -> None:
    """A failure is one line, with the exception once, as severe as the error; what is a fault is reported once."""
    file = tmp_path / "errors"
    settings = settings_in(tmp_path, errors=ErrorSettings(reporters=("file",), file=str(file)))
    async with running(settings, failing(error)) as daemon:
        daemon.source.put(placed(1, id="m-1"))
        await daemon.settled()
        assert daemon.services.reporting.flush()
        (span,) = daemon.processed
    (line,) = log.named("message.failed")
    assert (line["level"], line["code"], line["attempt"], line["queue"]) == (level, code, 1, "orders")
    assert line["exception"][0]["frames"]
    assert is_reported(error)
    assert line["data_preview"] == '{"number":1}'
    events = [one["event"] for one in log.events if one.get("message_id") == "m-1"]
    assert events == ["message.started", "message.failed", "message.buried"]
    assert sum("exception" in one for one in log.events) == 1
    reports = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    assert [(one["code"], one["context"]["operation"], one["extra"]["queue"]) for one in reports] == (
        [(code, "test.done", "orders")] if reported else []
    )
    assert span.status.status_code is StatusCode.ERROR
    assert dict(span.attributes or {})["error.type"] == type(error).__name__


async def test_retried(tmp_path: Path, log: Log) -> None:
    """Each attempt that is followed by another is a warning without an exception, and each attempt has its number."""
    async with running(settings_in(tmp_path), failing(InfrastructureError("no database"))) as daemon:
        daemon.source.put(placed(1, headers={"x-sent-at": time.time()}))
        await daemon.settled()
        spans = daemon.processed
        counted = daemon.number('message_duration_seconds_count{outcome="retry",type="test.done"}')
        failed = daemon.number('message_duration_seconds_count{outcome="failure",type="test.done"}')
        waits = daemon.number('message_wait_seconds_count{type="test.done"}')
    lines = log.named("message.retried")
    assert [(line["attempt"], line["level"], line["reason"]) for line in lines] == [
        (1, "warning", "InfrastructureError: no database"),
        (2, "warning", "InfrastructureError: no database"),
    ]
    assert all(0 <= line["countdown"] <= 0.02 and "exception" not in line for line in lines)
    assert [line["attempt"] for line in log.named("message.started")] == [1, 2, 3]
    assert [dict(span.attributes or {})["app.message.attempt"] for span in spans] == [1, 2, 3]
    assert (counted, failed, waits) == (2, 1, 1)


async def test_series(tmp_path: Path, log: Log) -> None:
    """Messages are counted by type and outcome, with how long they waited; none stays in progress."""
    handlers = Handlers()
    handlers.handles("test.done")(note)
    async with running(settings_in(tmp_path), handlers) as daemon:
        daemon.source.put(placed(1, id="m-1", headers={"x-sent-at": time.time() - 5}))
        daemon.source.put(placed(1, id="m-1"))
        await daemon.settled()
        for outcome in ("success", "duplicate"):
            series = 'message_duration_seconds_count{outcome="' + outcome + '",type="test.done"}'
            assert daemon.number(series) == 1
        assert daemon.number('message_wait_seconds_count{type="test.done"}') == 1
        assert daemon.number('message_wait_seconds_sum{type="test.done"}') >= 5
        assert daemon.number('message_active{type="test.done"}') == 0
    assert [line["level"] for line in log.named("message.duplicate")] == ["info"]


async def test_in_progress(tmp_path: Path) -> None:
    """A message in progress is counted as such."""
    handlers, entered, may_end = Handlers(), asyncio.Event(), asyncio.Event()

    @handlers.handles("test.done")
    async def waits(message: Message) -> None:
        entered.set()
        await may_end.wait()

    async with running(settings_in(tmp_path), handlers) as daemon:
        daemon.source.put(placed(1))
        await entered.wait()
        assert daemon.number('message_active{type="test.done"}') == 1
        may_end.set()


async def test_queries(tmp_path: Path, log: Log) -> None:
    """A message's statements are on its line and in a series; too many are a warning with its type."""
    handlers = Handlers()

    @handlers.handles("test.done")
    async def asks(work: Any, message: Message) -> None:
        for _ in range(message.data["number"]):
            await work.session.execute(text("SELECT 1"))

    settings = settings_in(tmp_path, {"concurrency": 1}, database=DatabaseSettings(many_queries=MANY))
    async with running(settings, handlers) as daemon:
        daemon.source.put(placed(1))
        await daemon.settled()
        assert not log.named("database.many_queries")
        daemon.source.put(placed(MANY + 1))
        await daemon.settled()
        assert daemon.number('message_queries_count{type="test.done"}') == 2
    (warning,) = log.named("database.many_queries")
    few, many = log.named("message.succeeded")
    assert few["queries"] >= 1
    assert many["query_ms"] >= 0
    assert (warning["operation"], warning["message_id"], warning["queries"]) == (
        "test.done",
        many["message_id"],
        many["queries"],
    )


class Blocked:
    """An exporter of spans, and what files do, that take nothing until they are let go."""

    def __init__(self) -> None:
        self._may_go = threading.Event()
        self.entered: set[str] = set()

    def let_go(self) -> None:
        """Take everything from now on."""
        self._may_go.set()

    def encode(self, spans: Sequence[RecordedSpan]) -> int:
        """Return a batch."""
        return len(spans)

    def send(self, _batch: int, _count: int, _timeout: float) -> Sent:
        """Take a batch."""
        self.wait("spans")
        return Sent()

    def close(self) -> None:
        """Hold nothing."""

    def wait(self, what: str) -> None:
        """Wait."""
        self.entered.add(what)
        self._may_go.wait(PATIENCE)


async def test_blocked_sinks_delay_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While neither the log nor the spans get anywhere, every message is handled, those that fail too."""
    blocked = Blocked()
    monkeypatch.setattr(FileSink, "write", lambda _sink, _lines: blocked.wait("log"))
    log_settings = {"format": "json", "layers": {"all": {"sink": f"{tmp_path}/all.log", "level": "DEBUG"}}}
    settings = settings_in(tmp_path, log=log_settings)
    handlers = Handlers()

    @handlers.handles("test.done")
    async def some_fail(message: Message) -> None:
        if message.data["number"] % 2:
            raise NotFoundError

    configure_logging(settings)
    services = bootstrap(settings, tracing=Tracing(settings, exporter=blocked))
    try:
        await create_tables(services.database)
        source = InMemorySource()
        consumer = Consumer(source=source, services=services, settings=settings, handlers=handlers)
        run = asyncio.create_task(consumer.run())
        for number in range(100):
            source.put(placed(number))
        await until(lambda: blocked.entered == {"log", "spans"} and source.left == 0, "the end of all messages")
        assert (len(source.acknowledged), len(source.dead)) == (50, 50)
        await consumer.drain()
        await run
    finally:
        blocked.let_go()
        await services.aclose()
        configure_logging(settings_in(tmp_path), sink=lambda _line: None)
