"""Every error is a problem document, the framework's own ones included."""

import json

import pytest

from .orders import encoded, order, placed
from .problems import assert_problem, assert_retry_after, assert_validation
from .server import Service, new_id
from .wire import exchange, flood, head

JSON = ("Content-Type", "application/json")
UNKNOWN = "00000000-0000-4000-8000-000000000000"
MARKER = "zq7marker"


@pytest.mark.parametrize("path", ["/", "/nowhere", "/orders/1/2/3", "//", "/livez/x"])
def test_unknown_path(service: Service, path: str) -> None:
    """A path that nothing serves is a 404 problem, never a page."""
    assert_problem(service.get(path), 404)


def test_unknown_order(service: Service) -> None:
    """An order that does not exist is a 404 problem."""
    assert_problem(service.get(f"/orders/{UNKNOWN}"), 404)
    assert_problem(service.post(f"/orders/{UNKNOWN}/cancel"), 404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/orders", {"GET", "POST"}),
        ("DELETE", "/orders", {"GET", "POST"}),
        ("PATCH", f"/orders/{UNKNOWN}", {"GET"}),
        ("POST", f"/orders/{UNKNOWN}", {"GET"}),
        ("GET", f"/orders/{UNKNOWN}/cancel", {"POST"}),
        ("POST", "/livez", {"GET"}),
        ("DELETE", "/metrics", {"GET"}),
        ("BREW", "/orders", {"GET", "POST"}),
    ],
)
def test_wrong_method(service: Service, method: str, path: str, allowed: set[str]) -> None:
    """A method that the path does not have is a 405 problem; Allow lists all those it has."""
    response = service.request(method, path)
    assert_problem(response, 405)
    listed = {word.strip() for word in (response.header("Allow") or "").split(",")}
    assert listed - {"HEAD", "OPTIONS"} == allowed


def test_instance_differs(service: Service) -> None:
    """Two occurrences of one problem share type, title and code."""
    first, second = (assert_problem(service.get(f"/{new_id()}"), 404) for _ in range(2))
    assert first["instance"] != second["instance"]
    for member in ("type", "title", "code"):
        assert first[member] == second[member]


@pytest.mark.parametrize("body", [b"{", b"not json", b'{"sku": }', b"\xff\xfe", b"{'sku': 1}", b"NaN?"])
def test_malformed_body(service: Service, body: bytes) -> None:
    """A body that is not JSON is a 400 problem."""
    assert_problem(service.request("POST", "/orders", body=body, headers=[JSON]), 400)


@pytest.mark.parametrize("body", [b"[]", b'"text"', b"1", b"null", b"{}"])
def test_wrong_shape(service: Service, body: bytes) -> None:
    """JSON that is no order is a validation problem."""
    assert_validation(service.request("POST", "/orders", body=body, headers=[JSON]))


def test_missing_body(service: Service) -> None:
    """An order without a body is refused as the client's error."""
    response = service.request("POST", "/orders", body=b"", headers=[JSON])
    assert_problem(response, response.status)
    assert response.status in (400, 422)


@pytest.mark.parametrize("member", ["sku", "quantity", "customer_email"])
def test_missing_member(service: Service, member: str) -> None:
    """A validation problem says which member is missing."""
    body = order()
    del body[member]
    errors = assert_validation(service.post("/orders", body))
    assert [error["loc"][-1] for error in errors] == [member]


@pytest.mark.parametrize(
    "changes",
    [
        {"sku": [MARKER]},
        {"sku": {"deep": MARKER}},
        {"sku": MARKER * 1000},
        {"quantity": MARKER},
        {"quantity": [MARKER]},
        {"quantity": 987654321},
        {"quantity": -987654321},
        {"quantity": 1.987654321},
        {"customer_email": MARKER},
        {"customer_email": f"{MARKER}@"},
        {"customer_email": f"@{MARKER}.com"},
        {"customer_email": f"{MARKER} x@example.com"},
        {"customer_email": f"ada@{MARKER}"},
        {"customer_email": f"ada@-{MARKER}.com"},
        {"customer_email": f"ada@{MARKER}..com"},
        {"customer_email": f"{MARKER}\n@example.com"},
        {"customer_email": f"ada@{MARKER}.invalid"},
        {"customer_email": f'"{MARKER}"@example.com'},
        {"customer_email": f"ada@[{MARKER}]"},
    ],
    ids=lambda changes: json.dumps(changes)[:40],
)
def test_rejected_value_is_not_repeated(service: Service, changes: dict[str, object]) -> None:
    """A validation problem never repeats the value that it rejects."""
    response = service.post("/orders", order(**changes))
    assert_validation(response)
    assert MARKER not in response.body.decode()
    assert "987654321" not in response.body.decode()


@pytest.mark.parametrize("limit", ["0", "-1", "101", MARKER, "1.5", "", "1e2", "9" * 400])
def test_bad_limit(service: Service, limit: str) -> None:
    """A limit outside 1..100 is a validation problem that does not repeat it."""
    response = service.get(f"/orders?limit={limit}")
    errors = assert_validation(response)
    assert errors[0]["loc"][-1] == "limit"
    assert MARKER not in json.dumps(errors)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_media_type(service: Service, kind: str) -> None:
    """A body of another media type is a 415 problem."""
    response = service.request("POST", "/orders", body=encoded(), headers=[("Content-Type", kind)])
    assert_problem(response, 415)


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_media_types(service: Service, kind: str) -> None:
    """JSON may come with parameters and in any case."""
    response = service.request("POST", "/orders", body=encoded(), headers=[("Content-Type", kind)])
    assert response.status == 201


@pytest.mark.parametrize("accept", ["application/xml", "text/html", "application/json;q=0"])
def test_not_acceptable(service: Service, accept: str) -> None:
    """A client that takes no JSON gets a 406 problem, in the form that it did not ask for."""
    assert_problem(service.get("/orders", ("Accept", accept)), 406)


@pytest.mark.parametrize(
    "accept",
    ["*/*", "application/*", "application/json", "text/html, */*;q=0.1", "APPLICATION/JSON;q=0.5"],
)
def test_acceptable(service: Service, accept: str) -> None:
    """A client that takes JSON at all gets it."""
    assert service.get("/orders", ("Accept", accept)).status == 200


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_problem_whatever_is_accepted(service: Service, accept: str) -> None:
    """An unknown path is a 404 problem also for those who did not ask for problem documents."""
    assert_problem(service.get("/nowhere", ("Accept", accept)), 404)


def test_too_large_by_announcement(service: Service) -> None:
    """A body announced as huge is a 413 problem before it is sent."""
    data = head("POST", "/orders", [JSON, ("Content-Length", str(10**10)), ("Connection", "close")])
    assert_problem(exchange(service.port, data), 413)


def test_too_large_by_size(service: Service) -> None:
    """A body without an announced length is read up to a limit, then refused with 413."""
    start = head("POST", "/orders", [JSON, ("Transfer-Encoding", "chunked")])
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    assert_problem(flood(service.port, start, chunk, limit=2**24), 413)


@pytest.mark.parametrize("path", ["/orders", "/livez", "/nowhere", f"/orders/{UNKNOWN}"])
def test_head_has_no_body(service: Service, path: str) -> None:
    """HEAD is answered without a body, errors included."""
    data = head("HEAD", path) + head("GET", "/livez", [("Connection", "close")])
    response = exchange(service.port, data, method="HEAD")
    assert response.status in (200, 404, 405)
    assert response.body == b""


def test_crash(probe: Service) -> None:
    """An unexpected exception is a 500 problem that tells nothing of the inside."""
    response = probe.post("/probe/crash")
    problem = assert_problem(response, 500)
    assert "boom" not in json.dumps(problem)
    assert "RuntimeError" not in json.dumps(problem)


def test_crash_in_middleware(probe: Service) -> None:
    """A failure inside a middleware is the same 500 problem."""
    assert "boom" not in json.dumps(assert_problem(probe.get("/probe/crash-in-middleware"), 500))


@pytest.mark.parametrize(
    ("kind", "status", "header"),
    [
        ("authentication", 401, "WWW-Authenticate"),
        ("permission", 403, None),
        ("not-found", 404, None),
        ("conflict", 409, None),
        ("rule", 422, None),
        ("rate-limit", 429, "Retry-After"),
        ("external", 502, None),
        ("infrastructure", 503, "Retry-After"),
    ],
)
def test_kinds(probe: Service, kind: str, status: int, header: str | None) -> None:
    """Each kind of application error has its status and its header."""
    response = probe.get(f"/probe/raise/{kind}")
    assert_problem(response, status)
    if header:
        assert response.header(header)
    if header == "Retry-After":
        assert_retry_after(response)


def test_two_problems_on_one_connection(service: Service) -> None:
    """An error leaves the connection usable."""
    kept = head("GET", "/nowhere") + head("GET", "/nowhere", [("Connection", "close")])
    assert_problem(exchange(service.port, kept, method="GET"), 404)
    assert placed(service)["status"] == "pending"
