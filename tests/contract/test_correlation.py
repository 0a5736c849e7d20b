"""Every response says which request and which trace it belongs to."""

import pytest

from .orders import place
from .problems import REQUEST_ID, TRACE_ID, assert_correlated, assert_problem
from .server import Service, new_id
from .wire import exchange, head

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"

Case = tuple[int, str, str, bytes, tuple[tuple[str, str], ...]]
RESPONSES: dict[str, Case] = {
    "200": (200, "GET", "/orders", b"", ()),
    "health": (200, "GET", "/livez", b"", ()),
    "metrics": (200, "GET", "/metrics", b"", ()),
    "400": (400, "POST", "/orders", b"{", (("Content-Type", "application/json"),)),
    "404-path": (404, "GET", "/no/such/path", b"", ()),
    "404-order": (404, "GET", "/orders/00000000-0000-4000-8000-000000000000", b"", ()),
    "405": (405, "DELETE", "/orders", b"", ()),
    "415": (415, "POST", "/orders", b"hello", (("Content-Type", "text/plain"),)),
    "422": (422, "POST", "/orders", b"{}", (("Content-Type", "application/json"),)),
}


@pytest.mark.parametrize("case", RESPONSES.values(), ids=RESPONSES)
def test_ids_on_every_response(service: Service, case: Case) -> None:
    """Successes and errors alike carry one X-Request-ID and one X-Trace-ID."""
    status, method, path, body, headers = case
    response = service.request(method, path, body=body or None, headers=headers)
    assert response.status == status
    assert_correlated(response)


def test_ids_on_500(probe: Service) -> None:
    """A handler that crashes still gets a response with both ids."""
    assert_problem(probe.post("/probe/crash"), 500)


def test_ids_on_crash_in_middleware(probe: Service) -> None:
    """A crash outside every handler still gets a response with both ids."""
    assert_problem(probe.get("/probe/crash-in-middleware"), 500)


def test_ids_differ(service: Service) -> None:
    """Two requests without ids get different ones."""
    first, second = service.get("/livez"), service.get("/livez")
    assert first.header("X-Request-ID") != second.header("X-Request-ID")
    assert first.header("X-Trace-ID") != second.header("X-Trace-ID")


@pytest.mark.parametrize("given", ["a", "x" * 128, "AZaz09._~-", "0"])
def test_request_id_is_taken_over(service: Service, given: str) -> None:
    """A well-formed X-Request-ID comes back as it was sent."""
    assert service.get("/orders", ("X-Request-ID", given)).header("X-Request-ID") == given


@pytest.mark.parametrize(
    "given",
    ["", "x" * 129, "two words", "a/b", "a+b", "a,b", "a;b", '"a"', "a\tb", "é", "<script>", "x" * 5000],
)
def test_bad_request_id_is_replaced(service: Service, given: str) -> None:
    """A malformed X-Request-ID is replaced, and the request goes on."""
    data = head("GET", "/orders", [("X-Request-ID", given), ("Connection", "close")])
    response = exchange(service.port, data, method="GET")
    assert response.status == 200
    assert response.header("X-Request-ID") != given
    assert REQUEST_ID.fullmatch(response.header("X-Request-ID") or "")


def test_repeated_request_id_is_replaced(service: Service) -> None:
    """Two X-Request-ID headers make no id: neither is taken over, and one comes back."""
    first, second = new_id("one"), new_id("two")
    response = service.get("/orders", ("X-Request-ID", first), ("X-Request-ID", second))
    assert response.status == 200
    assert REQUEST_ID.fullmatch(response.header("X-Request-ID") or "")
    assert response.header("X-Request-ID") not in (first, second)


def test_request_id_in_problem(service: Service) -> None:
    """A problem document names the caller's request id."""
    given = new_id()
    problem = assert_problem(service.get("/nowhere", ("X-Request-ID", given)), 404)
    assert problem["request_id"] == given


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
def test_trace_is_taken_over(service: Service, flags: str) -> None:
    """X-Trace-ID is the caller's trace id, sampled or not."""
    response = service.get("/orders", ("traceparent", f"00-{TRACE}-{PARENT}-{flags}"))
    assert response.header("X-Trace-ID") == TRACE


def test_trace_in_problem(service: Service) -> None:
    """A problem document names the caller's trace id."""
    response = service.get("/nowhere", ("traceparent", f"00-{TRACE}-{PARENT}-01"))
    assert assert_problem(response, 404)["trace_id"] == TRACE


@pytest.mark.parametrize(
    "given",
    [
        "",
        "garbage",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{PARENT}-01-more",
    ],
)
def test_malformed_trace_restarts(service: Service, given: str) -> None:
    """A malformed traceparent is no error: the trace starts anew."""
    response = place(service, ("traceparent", given))
    assert response.status == 201
    assert TRACE_ID.fullmatch(response.header("X-Trace-ID") or "")
    assert response.header("X-Trace-ID") != TRACE


def test_tracestate_stays_inside(service: Service) -> None:
    """The caller's tracestate is not sent back to the caller."""
    headers = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("tracestate", "foo=1")]
    assert service.get("/orders", *headers).header("tracestate") is None
