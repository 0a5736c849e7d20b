"""Nothing secret reaches the output, and no client writes lines of its own into it."""

import json
import urllib.parse

import pytest

from .conftest import Launch
from .logs import access_line, lines, of_request, parse, settle
from .orders import order, place
from .server import Service, new_id
from .wire import exchange, head

EMAIL = "grace.hopper@example.org"
CARD = "4111111111111111"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ6cTdtYXJrZXIifQ.c2lnbmF0dXJlLXpxN21hcmtlcg"
# Spelt in two so that no scanner takes it for a real key.
KEY = "AKIA" + "IOSFODNN7EXAMPLE"
SECRETS = {"email": EMAIL, "card": CARD, "token": TOKEN, "key": KEY}
FORGED = '{"level": "critical", "event": "forged"}'


def _send(service: Service, path: str, headers: list[tuple[str, str]], body: bytes | None = None) -> None:
    request_id = new_id()
    method = "GET" if body is None else "POST"
    service.request(method, path, headers=[*headers, ("X-Request-ID", request_id)], body=body)
    access_line(service, request_id)


def _assert_unseen(service: Service, secret: str) -> None:
    output = service.output()
    assert secret not in output
    assert urllib.parse.quote(secret) not in output
    assert secret[4:-4] not in output


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_query(service: Service, secret: str) -> None:
    """A secret in the query stays out of the output, whatever its parameter is called."""
    for name in ("token", "email", "q", "limit"):
        _send(service, f"/orders?{name}={urllib.parse.quote(secret)}", [])
    _assert_unseen(service, secret)


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_path(service: Service, secret: str) -> None:
    """A secret in the path stays out of the output, on known and unknown routes."""
    for start in ("/orders", "/nowhere"):
        _send(service, f"{start}/{urllib.parse.quote(secret)}", [])
    _assert_unseen(service, secret)


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("name", ["User-Agent", "Authorization", "Cookie", "Referer", "X-Api-Key", "X-Forwarded-For"])
def test_header(service: Service, name: str, secret: str) -> None:
    """A secret in a header stays out of the output."""
    for value in (secret, f"Bearer {secret}", f"agent/1 ({secret})"):
        _send(service, "/orders", [(name, value)])
    _assert_unseen(service, secret)


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("member", ["sku", "quantity", "customer_email", "extra"])
def test_body(service: Service, member: str, secret: str) -> None:
    """A secret in the body stays out of the output, taken or refused."""
    body = json.dumps(order(**{member: secret})).encode()
    _send(service, "/orders", [("Content-Type", "application/json")], body)
    _assert_unseen(service, secret)


def test_malformed_body(service: Service) -> None:
    """A body that cannot be parsed is not shown."""
    body = f'{{"customer_email": "{EMAIL}", "card": "{CARD}"'.encode()
    _send(service, "/orders", [("Content-Type", "application/json")], body)
    _assert_unseen(service, EMAIL)
    _assert_unseen(service, CARD)


def test_key(service: Service) -> None:
    """An idempotency key is not shown: who knows it could read the stored answer."""
    key = new_id("zq7key")
    for quantity in (1, 1, 2):
        place(service, ("Idempotency-Key", key), sku="same", quantity=quantity)
    settle(service)
    assert key not in service.output()


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_exception(probe: Service, secret: str) -> None:
    """A secret in an exception's message, or its cause's, stays out of the output."""
    response = probe.post("/probe/crash", {"message": f"no access for {secret} today"})
    access_line(probe, response.header("X-Request-ID"))
    _assert_unseen(probe, secret)
    assert secret not in response.body.decode()


@pytest.mark.parametrize(
    "text",
    ["a%0Ab", "a%0D%0Ab", "a%0A" + urllib.parse.quote(FORGED), "%1b%5b31mred", "%e2%80%a8", "%c2%85", "%00", "%0b%0c"],
)
def test_path_injection(service: Service, text: str) -> None:
    """Line breaks and control characters of a path are escaped: one event stays one line."""
    settle(service)
    before = len(service.out)
    _send(service, f"/orders/{text}", [])
    _send(service, f"/orders?q={text}", [])
    assert len(service.out) == before + 2
    _assert_clean(service, before)


def _assert_clean(service: Service, since: int) -> None:
    """The lines after the first *since* hold no control character and none that a client wrote."""
    for line in service.out[since:]:
        assert parse(line)["event"] != "forged"
        assert line.isprintable(), repr(line)


@pytest.mark.parametrize("raw", [b"\x1b[31m", b"a\tb", b"\xe2\x80\xa8", b"\xc2\x85" + FORGED.encode(), b"\x7f\x08"])
@pytest.mark.parametrize("name", ["User-Agent", "X-Forwarded-For", "X-Request-ID"])
def test_header_injection(service: Service, name: str, raw: bytes) -> None:
    """Control characters of a header are escaped or the request is refused."""
    start, before = head("GET", "/orders", [("Connection", "close")]).removesuffix(b"\r\n"), len(service.out)
    exchange(service.port, start + f"{name}: ".encode() + raw + b"\r\n\r\n", method="GET")
    _send(service, "/orders", [])
    _assert_clean(service, before)


def test_line_break_in_header(service: Service) -> None:
    """A bare carriage return does not end a header for one party and not for the other."""
    start = head("GET", "/orders", [("Connection", "close")]).removesuffix(b"\r\n")
    exchange(service.port, start + b"User-Agent: a\rX-Request-ID: forged\r\n\r\n", method="GET")
    _send(service, "/orders", [])
    assert not [line for line in lines(service) if line.get("request_id") == "forged"]


def test_body_injection(probe: Service) -> None:
    """Line breaks of an exception's message are escaped."""
    before = len(probe.out)
    message = f"first\r\n{FORGED}\n\x1b[31m\u2028\u0085last"
    response = probe.post("/probe/crash", {"message": message})
    access_line(probe, response.header("X-Request-ID"))
    _assert_clean(probe, before)


def test_odd_values(probe: Service) -> None:
    """Values that are no JSON are logged as text, and the request succeeds."""
    before = len(probe.out)
    response = probe.post("/probe/log-odd-values")
    assert response.status == 200
    found = of_request(probe, response.header("X-Request-ID"))
    assert len([line for line in found if line["event"] == "probe.odd"]) == 1
    _assert_clean(probe, before)


@pytest.mark.parametrize("format_", ["console", "logfmt"])
def test_other_formats(launch: Launch, format_: str) -> None:
    """The other formats keep one event on one line as well, and hide the same."""
    service = launch(LOG__FORMAT=format_)
    before = len(service.out)
    for _ in range(3):
        service.get("/orders/a%0D%0Ab%1b%5b31m", ("User-Agent", f"agent {CARD} {EMAIL}"))
    service.stop()
    requests = [line for line in service.out[before:] if "http.request" in line]
    assert len(requests) == 3
    assert not [line for line in service.out if line.startswith("b")]
    assert "\x1b[31mred" not in service.output()
    for secret in (CARD, EMAIL):
        _assert_unseen(service, secret)
