"""What is encoded is what OpenTelemetry's own protobuf messages say, for every kind of value."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.trace import SpanKind, StatusCode

from app.adapters.sdk_spans import readable
from app.core.otlp import Encoder, rejected_spans
from app.core.spans import RecordedSpan
from app.core.tracing import Trace, new_span_id

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
POSITION = Trace(TRACE_ID, "b7ad6b7169203331", 3)
ABOVE = Trace(TRACE_ID, "00f067aa0ba902b7", 1)
RESOURCE = {"service.name": "orders", "service.version": "1.2.3", "weight": 2, "spot": True}
ENCODER = Encoder(RESOURCE)


def finished(
    name: str = "work",
    *,
    trace: Trace = POSITION,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: Trace | None = None,
    **attributes: Any,
) -> RecordedSpan:
    """Return a span that has ended."""
    span = RecordedSpan(trace, name, kind, parent, attributes, lambda _span: None)
    span.end()
    return span


def full() -> RecordedSpan:
    """Return a span with all that a span can have."""
    span = RecordedSpan(POSITION._replace(state="foo=1,bar=2"), "all", SpanKind.SERVER, ABOVE, {}, lambda _span: None)
    span.set_attributes({"text": "é", "number": -5, "big": 2**62, "real": 0.5, "true": True, "list": ["a", "b"]})
    span.add_event("first", {"n": 1}, 1_700_000_000_000_000_000)
    span.add_event("second", None, 1_700_000_000_000_000_001)
    span.add_link(Trace("1" * 32, "2" * 16, 1, "baz=3").span_context(), {"n": 1})
    span.set_status(StatusCode.ERROR, "broken")
    span.end()
    return span


def parsed(spans: Sequence[RecordedSpan]) -> ExportTraceServiceRequest:
    """Return what OpenTelemetry's own code reads from an encoded batch."""
    request: ExportTraceServiceRequest = ExportTraceServiceRequest.FromString(ENCODER.request(spans))
    return request


def only(span: RecordedSpan) -> Span:
    """Return what is read from a batch of one."""
    (resource,) = parsed([span]).resource_spans
    (scope,) = resource.scope_spans
    read: Span = scope.spans[0]
    return read


def value(given: object) -> Any:
    """Return how a value of an attribute is read."""
    (pair,) = only(finished(key=given)).attributes
    assert pair.key == "key"
    return pair.value


def compared(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest:
    """Leave out where the SDK's encoder says less: trace flags and `tracestate`; and its empty status."""
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                span.flags &= ~0xFF
                span.trace_state = ""
                if not span.status.code:
                    span.ClearField("status")
                for link in span.links:
                    link.flags = 0
                    link.trace_state = ""
    return request


@pytest.mark.parametrize("kind", list(SpanKind))
def test_same_as_the_sdk_s_encoder(kind: SpanKind) -> None:
    """The SDK's encoder makes the same message of the same spans."""
    spans = [full(), finished("ä" * 200, kind=kind, parent=ABOVE), finished(kind=kind, trace=POSITION, n=1)]
    theirs = encode_spans([readable(span, RESOURCE) for span in spans])
    assert compared(parsed(spans)) == compared(theirs)


def test_ids() -> None:
    """Ids are bytes; a span without one above has no parent."""
    read = only(finished(parent=ABOVE))
    assert (read.trace_id.hex(), read.span_id.hex(), read.parent_span_id.hex()) == (TRACE_ID, *ids_of(POSITION, ABOVE))
    assert only(finished()).parent_span_id == b""


def ids_of(*traces: Trace) -> list[str]:
    """Return the ids of spans."""
    return [trace.span_id for trace in traces]


@pytest.mark.parametrize(
    ("kind", "parent", "flags"),
    [
        (SpanKind.SERVER, ABOVE, 0x303),
        (SpanKind.CONSUMER, ABOVE, 0x303),
        (SpanKind.CLIENT, ABOVE, 0x103),
        (SpanKind.SERVER, None, 0x103),
    ],
)
def test_flags(kind: SpanKind, parent: Trace | None, flags: int) -> None:
    """The flags are the trace's, and whether the parent is in another process."""
    assert only(finished(kind=kind, parent=parent)).flags == flags


def test_state_is_handed_on_as_it_came() -> None:
    """A `tracestate` is exported to the letter, also one that only Level 2 allows."""
    assert only(finished(trace=POSITION._replace(state="foo@=1,BAR"))).trace_state == "foo@=1,BAR"


@pytest.mark.parametrize("number", [0, 1, -1, 127, 128, 16384, 2**31, 2**63 - 1, -(2**63)])
def test_integers(number: int) -> None:
    """Integers of 64 bits keep their value and sign."""
    assert value(number).int_value == number


@pytest.mark.parametrize(
    ("given", "field", "read"),
    [
        ("", "string_value", ""),
        ("text", "string_value", "text"),
        ("x" * 200, "string_value", "x" * 200),
        ("\ud800", "string_value", "?"),
        (True, "bool_value", True),
        (False, "bool_value", False),
        (1.5, "double_value", 1.5),
        (b"\x00\xff", "bytes_value", b"\x00\xff"),
        (2**63, "string_value", str(2**63)),
        (Decimal("1.5"), "string_value", "1.5"),
    ],
)
def test_values(given: object, field: str, read: object) -> None:
    """Each type has its own field; what has none, or is no number of 64 bits, becomes text."""
    found = value(given)
    assert found.WhichOneof("value") == field
    assert getattr(found, field) == read


def test_one_and_true_are_two_values() -> None:
    """What is kept of values that repeat does not take one for the other."""
    kinds = [value(given).WhichOneof("value") for given in (1, True, 1.0, 1, True)]
    assert kinds == ["int_value", "bool_value", "double_value", "int_value", "bool_value"]


def test_containers() -> None:
    """Lists and mappings keep their members, of any type."""
    assert [item.WhichOneof("value") for item in value(["a", 1, None, (True,)]).array_value.values] == [
        "string_value",
        "int_value",
        None,
        "array_value",
    ]
    assert {pair.key: pair.value.int_value for pair in value({"a": 1, 2: 3}).kvlist_value.values} == {"a": 1, "2": 3}


def test_deep_and_cyclic_values() -> None:
    """A value without end is cut."""
    cyclic: list[object] = []
    cyclic.append(cyclic)
    assert value(cyclic).WhichOneof("value") == "array_value"


def test_scopes() -> None:
    """Spans of an instrumentation of another are grouped under its name and version."""
    other = finished("other")
    other.scope = ("opentelemetry.instrumentation.redis", "1.0")
    (resource,) = parsed([finished(), other, finished()]).resource_spans
    assert [(scope.scope.name, scope.scope.version, len(scope.spans)) for scope in resource.scope_spans] == [
        ("app", "", 2),
        ("opentelemetry.instrumentation.redis", "1.0", 1),
    ]


def test_links() -> None:
    """A link has the ids, the flags and the state of the other span."""
    (link,) = only(full()).links
    assert (link.trace_id.hex(), link.span_id.hex(), link.flags, link.trace_state) == ("1" * 32, "2" * 16, 1, "baz=3")


def test_dropped_counts() -> None:
    """How many attributes and events were dropped is said."""
    span = RecordedSpan(POSITION, "work", SpanKind.INTERNAL, None, {}, lambda _span: None)
    span.dropped_attributes, span.dropped_events = 300, 2
    span.end()
    assert (only(span).dropped_attributes_count, only(span).dropped_events_count) == (300, 2)


def test_many_values() -> None:
    """Values that never repeat are encoded right, however many there are, and what is kept of them is bounded."""
    encoder = Encoder({})
    for start in range(0, 10_000, 500):
        spans = [finished(f"name {number}", n=number, id=new_span_id()) for number in range(start, start + 500)]
        (resource,) = ExportTraceServiceRequest.FromString(encoder.request(spans)).resource_spans
        read = resource.scope_spans[0].spans
        assert [(span.name, span.attributes[0].value.int_value) for span in read] == [
            (span.name, span.attributes["n"]) for span in spans
        ]
    assert all(len(pairs) <= 4096 for pairs in encoder._pairs.values())
    assert len(encoder._names) <= 4096


def test_rejected_spans() -> None:
    """A collector may take a part only, and says how many it did not take, and why."""
    partial = ExportTracePartialSuccess(rejected_spans=300, error_message="too old: é")
    assert rejected_spans(ExportTraceServiceResponse(partial_success=partial).SerializeToString()) == (
        300,
        "too old: é",
    )
    assert rejected_spans(ExportTraceServiceResponse().SerializeToString()) == (0, "")


@pytest.mark.parametrize("answer", [b"OK", b"\xff\xff\xff", b"\x0a\x05\xff", b"{}", b"\x08", b"\x0d\x00\x00\x00\x00"])
def test_odd_answers(answer: bytes) -> None:
    """An answer that is no message says nothing."""
    assert rejected_spans(answer) == (0, "")
