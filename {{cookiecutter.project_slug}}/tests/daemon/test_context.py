"""A message's ids: from its sender to its handler, and none of them in the next message."""

from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import SpanKind

from app.core.context import bind_context, current_context, request_context, set_user_id
from app.core.logging import get_logger
from app.core.messages import Message, new_message
from app.core.tracing import current_trace
from app.daemon.handlers import Handlers

from ..conftest import Log
from .handled import placed, running, settings_in

TRACE, PARENT = "a" * 32, "b" * 16
HEADERS = {
    "traceparent": f"00-{TRACE}-{PARENT}-01",
    "x-request-id": "r-1",
    "x-correlation-id": "c-1",
    "x-user-id": "u-1",
}


class Seen(list[dict[str, Any]]):
    """The contexts that a handler worked in."""

    def __init__(self) -> None:
        super().__init__()
        self.handlers = Handlers()

        @self.handlers.handles("test.done")
        async def see(message: Message) -> None:
            self.append({**current_context(), "position": current_trace()})
            get_logger("test").info("test.seen")
            set_user_id(f"user of {message.id}")
            bind_context(own=message.id)

    def of(self, message_id: str) -> dict[str, Any]:
        """Return the context of a message."""
        (found,) = [one for one in self if one["message_id"] == message_id]
        return found


async def test_ids_of_the_sender(tmp_path: Path, log: Log) -> None:
    """The sender's ids are on every line of its message, and the trace goes on below the sender's position."""
    seen = Seen()
    async with running(settings_in(tmp_path), seen.handlers) as daemon:
        daemon.source.put(placed(1, id="m-1", headers=HEADERS))
        await daemon.settled()
        (span,) = daemon.processed
    context = seen.of("m-1")
    assert span.context is not None
    assert span.parent is not None
    ids = {"request_id": "r-1", "correlation_id": "c-1", "user_id": "u-1", "trace_id": TRACE}
    assert {name: context[name] for name in ids} == ids
    assert (context["message_id"], context["message_type"]) == ("m-1", "test.done")
    assert f"{span.context.span_id:016x}" == context["span_id"] == context["position"].span_id
    assert (f"{span.context.trace_id:032x}", f"{span.parent.span_id:016x}") == (TRACE, PARENT)
    assert (span.name, span.kind) == ("process test.done", SpanKind.CONSUMER)
    known = {"messaging.system": "in_memory", "messaging.message.id": "m-1", "messaging.destination.name": "orders"}
    assert dict(span.attributes or {}).items() >= known.items()
    lines = [line for line in log.events if line.get("message_id") == "m-1"]
    assert [line["event"] for line in lines] == ["message.started", "test.seen", "message.succeeded"]
    assert all(line["trace_id"] == TRACE and line["request_id"] == "r-1" for line in lines)
    assert lines[-1]["own"] == "m-1"


async def test_headers_beside_the_message(tmp_path: Path) -> None:
    """Headers that the broker carries count; those in the message win."""
    seen = Seen()
    async with running(settings_in(tmp_path), seen.handlers) as daemon:
        daemon.source.put(placed(1, id="m-1", headers={"x-request-id": "inner"}), HEADERS)
        await daemon.settled()
    context = seen.of("m-1")
    assert (context["request_id"], context["user_id"], context["trace_id"]) == ("inner", "u-1", TRACE)


async def test_without_a_sender(tmp_path: Path) -> None:
    """A message without headers gets ids that its own id gives: the same ones at each delivery."""
    seen = Seen()
    message_id = "12345678-1234-4234-8234-123456789abc"
    async with running(settings_in(tmp_path), seen.handlers) as daemon:
        daemon.source.put(placed(1, id=message_id))
        await daemon.settled()
    context = seen.of(message_id)
    assert (context["request_id"], context["trace_id"]) == (message_id, message_id.replace("-", ""))
    assert "user_id" not in context
    assert "correlation_id" not in context


async def test_nothing_leaks_into_the_next(tmp_path: Path, log: Log) -> None:
    """What one message has or binds, the next one has not, whether it fails, is refused or waits in line."""
    seen = Seen()
    with request_context(leaked="from outside"):
        async with running(settings_in(tmp_path, {"concurrency": 1}), seen.handlers) as daemon:
            daemon.source.put(placed(1, id="m-1", key="a", headers=HEADERS))
            daemon.source.put(placed(2, id="m-2", key="a"))
            daemon.source.put(new_message("test.strange", {}, id="m-3", headers=HEADERS))
            daemon.source.put(b"none", HEADERS)
            daemon.source.put(placed(4, id="m-4"))
            await daemon.settled()
    for message_id in ("m-2", "m-4"):
        context = seen.of(message_id)
        assert context["request_id"] == message_id
        assert not {"user_id", "correlation_id", "own", "leaked"} & set(context)
    (refused,) = [line for line in log.named("message.failed") if line["message_id"] == "m-3"]
    assert (refused["request_id"], refused["trace_id"], refused["user_id"]) == ("r-1", TRACE, "u-1")
    after = [line for line in log.events if line.get("message_id") == "m-4"]
    assert {line["request_id"] for line in after} == {"m-4"}


@pytest.mark.parametrize("value", [None, 7, "x" * 10_000, "a\nb", ["a"], {"a": 1}, "00-zz-zz-01"])
async def test_hostile_headers(tmp_path: Path, value: Any) -> None:
    """Whatever headers hold, a message is handled, with ids of its own."""
    seen = Seen()
    headers = dict.fromkeys((*HEADERS, "tracestate", "x-sent-at"), value)
    async with running(settings_in(tmp_path), seen.handlers) as daemon:
        daemon.source.put(placed(1, id="m-1", headers=headers))
        await daemon.settled()
    context = seen.of("m-1")
    assert len(context["trace_id"]) == 32
    assert len(context["request_id"]) <= 128


async def test_unsampled_sender(tmp_path: Path) -> None:
    """What a sender does not record is not recorded here, and goes on."""
    seen = Seen()
    async with running(settings_in(tmp_path), seen.handlers) as daemon:
        daemon.source.put(placed(1, id="m-1", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"}))
        await daemon.settled()
        assert daemon.spans.get_finished_spans() == ()
    assert seen.of("m-1")["trace_id"] == TRACE
