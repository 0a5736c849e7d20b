"""Input made to break the service gets a client error, and the service goes on."""

import json
from collections.abc import Iterator

import pytest

from .orders import EMAIL, order
from .problems import assert_problem
from .server import Service
from .wire import Response, exchange, head

JSON = ("Content-Type", "application/json")


@pytest.fixture(autouse=True)
def still_serving(service: Service) -> Iterator[None]:
    """After each test the service takes requests as before."""
    yield
    assert service.get("/livez").status == 200


def _refused(response: Response) -> None:
    """The input is called the client's error."""
    assert response.status in (400, 404, 413, 422), (response.status, response.body[:300])
    assert_problem(response, response.status)


def _post(service: Service, body: bytes) -> Response:
    return service.request("POST", "/orders", body=body, headers=[JSON])


@pytest.mark.parametrize("member", ["sku", "customer_email"])
@pytest.mark.parametrize("text", [r"a\u0000b", r"\ud800", r"\udfff\ud800"])
def test_unstorable_text(service: Service, member: str, text: str) -> None:
    """NUL and lone surrogates, which no database keeps, are refused."""
    body = json.dumps(order(**{member: "%"})).replace('"%"', f'"{text}"').encode()
    _refused(_post(service, body))


@pytest.mark.parametrize(
    "number",
    ["1" + "0" * 30, "9" * 5000, "-" + "9" * 5000, "1e400", "1E-400", "NaN", "Infinity", "-0", "01", "0x10"],
)
def test_odd_numbers(service: Service, number: str) -> None:
    """A number beyond all bounds is refused, however it is written."""
    body = f'{{"sku": "a", "quantity": {number}, "customer_email": "{EMAIL}"}}'
    _refused(_post(service, body.encode()))


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"sku":['])
def test_deep_nesting(service: Service, opening: bytes) -> None:
    """A document nested a hundred thousand deep is refused."""
    _refused(_post(service, opening * 100_000))


def test_deep_but_complete(service: Service) -> None:
    """A well-formed document nested deep is refused as well."""
    depth = 50_000
    body = b'{"sku":' + b"[" * depth + b"]" * depth + b"}"
    _refused(_post(service, body))


def test_many_members(service: Service) -> None:
    """Thousands of unknown members are refused like one."""
    _refused(_post(service, json.dumps({f"member{n}": n for n in range(20_000)}).encode()))


@pytest.mark.parametrize("body", [b'{"sku": "\xff\xfe"}', b'{"sku": "\xed\xa0\x80"}', b"\x00" * 100, b"\xef\xbb\xbf{"])
def test_broken_encoding(service: Service, body: bytes) -> None:
    """Bytes that are no UTF-8 are refused."""
    _refused(_post(service, body))


@pytest.mark.parametrize(
    "path",
    [
        "/orders/%00",
        "/orders/%ff%fe",
        "/orders/%ed%a0%80",
        "/orders/..%2f..%2fetc%2fpasswd",
        "/orders/%0d%0aX-Injected:1",
        "/%00",
        "/%ff",
        "/orders/" + "a" * 4000,
        "/orders/'%20OR%201=1--",
        "/orders?limit=%00",
        "/orders?limit=%ff",
        "/orders?limit=1;DROP",
    ],
)
def test_odd_paths(service: Service, path: str) -> None:
    """A path or query that makes no sense is not found or not valid."""
    response = service.get(path)
    _refused(response)
    assert response.header("X-Injected") is None


@pytest.mark.parametrize("query", ["limit=1&limit=2", "&&&", "=", "x=1", "%", "%zz", "a" * 4000])
def test_odd_queries(service: Service, query: str) -> None:
    """A query that asks for nothing known is ignored or refused."""
    response = service.get(f"/orders?{query}")
    if response.status != 200:
        _refused(response)


@pytest.mark.parametrize("value", [b"\xff\xfe", b"\xc3\xa9", b"x" * 7000, b'"', b",,,", b"\t"])
@pytest.mark.parametrize("name", ["User-Agent", "Accept", "Cookie", "X-Forwarded-For", "tracestate", "Accept-Language"])
def test_odd_headers(service: Service, name: str, value: bytes) -> None:
    """No header of the client's makes the service fail."""
    start = head("GET", "/orders", [("Connection", "close")]).removesuffix(b"\r\n")
    response = exchange(service.port, start + name.encode() + b": " + value + b"\r\n\r\n", method="GET")
    assert response.status in (200, 400, 406, 422)


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-16", "application/json; charset=nonsense", "application/", "json", ";", "é"]
)
def test_odd_content_types(service: Service, kind: str) -> None:
    """A content type that makes no sense is an error of the client's, if any."""
    response = service.request("POST", "/orders", body=b"{}", headers=[("Content-Type", kind)])
    assert response.status in (400, 415, 422)
    assert_problem(response, response.status)


@pytest.mark.parametrize("length", ["-1", "abc", "1, 2", "9" * 30])
def test_odd_content_length(service: Service, length: str) -> None:
    """A Content-Length that is no length never reaches an operation."""
    data = head("POST", "/orders", [JSON, ("Content-Length", length), ("Connection", "close")])
    assert exchange(service.port, data + b"{}").status in (400, 413)


def test_large_text(service: Service) -> None:
    """A text of half a megabyte is refused in a short answer."""
    response = service.post("/orders", order(sku="x" * 500_000))
    _refused(response)
    assert len(response.body) < 10_000
