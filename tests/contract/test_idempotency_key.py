"""
The header is one quoted string or one bare token.

The grammar is that of https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/ (expired draft,
revision 07), a String of Structured Fields (RFC 9651); `http_sf` is the judge of what such a string is.
"""

from typing import Any

import http_sf
import pytest

from .orders import encoded, order, with_sku
from .plans import Plan, is_replay, keyed
from .problems import assert_problem
from .server import Service, new_id
from .wire import Response, exchange, head

JSON = ("Content-Type", "application/json")
LONGEST = 255


def _send(service: Service, *values: bytes, body: bytes | None = None) -> Response:
    """Place an order with the header's bytes exactly as given."""
    body = body or encoded()
    start = head("POST", "/orders", [JSON, ("Content-Length", str(len(body)))]).removesuffix(b"\r\n")
    lines = b"".join(b"Idempotency-Key: " + value + b"\r\n" for value in values)
    return exchange(service.port, start + lines + b"\r\n" + body)


@pytest.mark.parametrize(
    "value",
    [
        b"a",
        b"8e03978e-40d5-43dd-bc93-6894a57f9324",
        b"x" * LONGEST,
        b"!#$%&'()*+-./:;<=>?@[]^_`{|}~",
        b'"a"',
        b'"' + b"y" * LONGEST + b'"',
        rb'"with \"quotes\" and \\"'.replace(b" ", b"_"),
        b'"a,b"',
        b"  padded\t",
        b' "padded too" '.replace(b"d t", b"d_t"),
    ],
)
def test_accepted(service: Service, value: bytes) -> None:
    """A token or a quoted string of 1 to 255 visible characters is a key."""
    assert _send(service, value, body=_bytes({"sku": "one-for-all"})).status == 201


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"   ",
        b'""',
        b"x" * (LONGEST + 1),
        b'"' + b"y" * (LONGEST + 1) + b'"',
        b"x" * 5000,
        b"two words",
        b'"two words"',
        b"tab\there",
        b"a,b",
        b'"a", "b"',
        b'"open',
        b'"open\\"',
        b'open"'.replace(b"open", b'"a"b'),
        rb'"wrong \escape"'.replace(b" ", b"_"),
        "schlüssel".encode(),
        "schlüssel".encode("latin-1"),
        '"schlüssel"'.encode(),
        "\U0001f511".encode(),
        b"\xff",
        b"\xc2\xa0",
    ],
)
def test_refused(service: Service, value: bytes) -> None:
    """Anything else is a 400 problem, and nothing runs."""
    body = order()
    assert_problem(_send(service, value, body=_bytes(body)), 400)
    assert with_sku(service, body["sku"]) == []


@pytest.mark.parametrize("value", [b"nul\x00here", b"return\rhere", b"feed\nhere", b"bell\x07", b'"quoted\x00"'])
def test_control_character(service: Service, value: bytes) -> None:
    """A control character, with which the request is no HTTP, is refused, and nothing runs."""
    body = order()
    assert _send(service, value, body=_bytes(body)).status == 400
    assert with_sku(service, body["sku"]) == []


def _bytes(body: dict[str, Any]) -> bytes:
    return encoded(**body)


@pytest.mark.parametrize("values", [(b"a", b"b"), (b"a", b"a"), (b'"a"', b'"b"'), (b"", b"a"), (b"a", b"")])
def test_repeated(service: Service, values: tuple[bytes, bytes]) -> None:
    """Two headers are a 400 problem, the same key twice included."""
    assert_problem(_send(service, *values), 400)


def _is_key(value: bytes) -> bool:
    """Judge a quoted value by the reference parser and by the contract's visible ASCII."""
    try:
        parsed = http_sf.parse(value, tltype="item")
    except ValueError:
        return False
    text = parsed[0] if isinstance(parsed, tuple) else parsed
    return isinstance(text, str) and 1 <= len(text) <= LONGEST and all("!" <= c <= "~" for c in text)


@pytest.mark.parametrize("shape", [b'"a%bz"', b'"a\\%bz"', b'%b"az"', b'"az"%b'], ids=lambda s: s.decode())
def test_every_byte(service: Service, shape: bytes) -> None:
    """Each byte within a quoted string, escaped, before and behind it is judged as RFC 9651 does."""
    # A bare token, padding, and parameters behind the string are other subjects.
    others = b" \t;" if shape.endswith(b"%b") else b" \t" + bytes(range(0x21, 0x7F))
    skipped = others if not (shape.startswith(b'"') and shape.endswith(b'"')) else b""
    wrong = []
    for number in set(range(256)) - set(skipped):
        value = shape.replace(b"%b", bytes([number]))
        status = _send(service, value).status
        if status != (201 if _is_key(value) else 400):
            wrong.append((value, status))
    assert wrong == []


# Kinds of strings that parsers get wrong, besides those of every byte; `http_sf` says which of them are strings.
@pytest.mark.parametrize(
    "value",
    [
        b'"foo_bar"',
        b'""',
        b'"' + b"foo_" * 60 + b'"',
        b'"' + b"foo_" * 65 + b'"',
        b'"   "',
        '"füü"'.encode(),
        b'"\\t"',
        b'" \x00 "',
        b'"foo',
        b'"foo"_"bar"',
        b'"foo""bar"',
        b'"foo\\"',
        rb'"foo\,"',
        rb'"\u0061"',
        rb'"b\"a\\r"',
        b'"foo";a=1;b',
        b'"foo";a="x;y"',
        b'"foo";A',
        b'"foo";',
    ],
)
def test_strings(service: Service, value: bytes) -> None:
    """A quoted value is a key when a parser of structured fields reads a string of visible characters from it."""
    status = _send(service, value, body=_bytes({"sku": "one-for-strings"})).status
    assert status == (201 if _is_key(value) else 400)


@pytest.mark.parametrize("token", ["abc", "8e03978e-40d5", "a\\b", "~!*"])
def test_quoted_equals_bare(probe: Service, token: str) -> None:
    """A key is the same key in both forms."""
    plan, token = Plan(probe.folder), token + new_id()
    quoted = '"' + token.replace("\\", "\\\\") + '"'
    assert not is_replay(plan.send(probe, token))
    assert is_replay(plan.send(probe, quoted))
    assert plan.runs() == 1


def test_keys_are_case_sensitive(probe: Service) -> None:
    """Two spellings are two keys."""
    plan, key = Plan(probe.folder), new_id()
    for spelling in (key, key.upper()):
        assert not is_replay(plan.send(probe, spelling))
    assert plan.runs() == 2


def test_missing_where_required(probe: Service) -> None:
    """An operation that demands a key refuses requests without one."""
    plan = Plan(probe.folder)
    assert_problem(plan.send(probe, None, "/probe/required"), 400)
    assert plan.runs() == 0
    assert plan.send(probe, new_id(), "/probe/required").status == 200


def test_header_name_in_any_case(probe: Service) -> None:
    """The header's name may be written in any case."""
    plan, key = Plan(probe.folder), new_id()
    for name in ("idempotency-key", "IDEMPOTENCY-KEY", "Idempotency-key"):
        response = probe.post("/probe/act", plan.document, (name, key))
    assert is_replay(response)
    assert plan.runs() == 1


def test_malformed_key_on_unknown_path(service: Service) -> None:
    """A path that nothing serves is not found, whatever the key."""
    for key in (new_id(), ""):
        assert_problem(service.post("/nowhere", {}, *keyed(key)), 404)
