"""Spans leave the process only when an endpoint is set, one per request, and hold nothing secret."""

from collections.abc import Iterable

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from .conftest import Launch
from .orders import EMAIL, place, placed
from .server import Service, free_port
from .tracing import Neighbour

CARD = "4111111111111111"


def _spans(collector: Neighbour) -> Iterable[Span]:
    for body in collector.bodies:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                yield from scope.spans


def _servers(collector: Neighbour) -> list[Span]:
    return [span for span in _spans(collector) if span.kind == Span.SPAN_KIND_SERVER]


@pytest.fixture
def collector(neighbour: Neighbour) -> Neighbour:
    """The neighbour as a collector that has received nothing yet."""
    neighbour.calls.clear()
    neighbour.bodies.clear()
    return neighbour


def _exporting(launch: Launch, collector: Neighbour, **options: object) -> Service:
    return launch(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, **options)


def test_one_span_per_request(launch: Launch, collector: Neighbour) -> None:
    """A request has one server span, named after its route, with the ids that the client was told."""
    service = _exporting(launch, collector)
    response = place(service)
    service.stop()
    (span,) = [found for found in _servers(collector) if found.name == "POST /orders"]
    assert span.trace_id.hex() == response.header("X-Trace-ID")
    assert "/orders" in {item.value.string_value for item in span.attributes}


def test_route_in_the_name(launch: Launch, collector: Neighbour) -> None:
    """A span's name never holds what stands for a parameter."""
    service = _exporting(launch, collector)
    order_id = placed(service)["id"]
    service.get(f"/orders/{order_id}")
    service.stop()
    names = {span.name for span in _servers(collector)}
    assert not [name for name in names if order_id in name]
    assert len([name for name in names if name.startswith("GET /orders/{")]) == 1


def test_parent(launch: Launch, collector: Neighbour) -> None:
    """The server's span is a child of the caller's."""
    trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    service = _exporting(launch, collector)
    service.get("/orders", ("traceparent", f"00-{trace}-{parent}-01"))
    service.stop()
    (span,) = [found for found in _servers(collector) if found.name == "GET /orders"]
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (trace, parent)


def test_crash_is_marked(launch: Launch, collector: Neighbour) -> None:
    """A crash shows on its span as an error, without the secrets in its message."""
    service = _exporting(launch, collector, probes=True)
    service.post("/probe/crash", {"message": f"no access for {EMAIL} with {CARD}"})
    service.stop()
    (span,) = [found for found in _servers(collector) if found.name == "POST /probe/crash"]
    assert span.status.code == 2
    assert "RuntimeError" in str(span)


def test_no_secrets(launch: Launch, collector: Neighbour) -> None:
    """No span holds an address or a card number of the request's."""
    service = _exporting(launch, collector, probes=True)
    place(service, ("User-Agent", f"agent {CARD}"))
    service.get(f"/orders/{EMAIL}?card={CARD}")
    service.post("/probe/crash", {"message": f"no access for {EMAIL} with {CARD}"})
    service.stop()
    exported = b"".join(collector.bodies)
    assert exported
    for secret in (EMAIL, CARD):
        assert secret.encode() not in exported


def test_nothing_without_an_endpoint(launch: Launch, collector: Neighbour) -> None:
    """Without an endpoint nothing is exported, whatever else is set."""
    service = launch(OTEL_TRACES_EXPORTER="otlp", OTEL_SERVICE_NAME="x")
    place(service)
    service.stop()
    assert collector.calls == []


def test_collector_away(launch: Launch) -> None:
    """A collector that is away disturbs neither requests nor the end."""
    service = launch(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}", SHUTDOWN_TIMEOUT="5")
    assert place(service).status == 201
    assert service.stop() == 0
    assert service.err == []
