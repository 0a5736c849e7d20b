"""The cheap look lets ordinary lines pass, and no line in which something is to be hidden."""

import json
import uuid

import pytest

from app.core.redaction import REDACTED, is_secret_name, may_hold_secret, redact_field
from app.core.redaction_names import ANYWHERE, ENDINGS, LAST_WORDS, WEAK_LAST_WORDS

from ..fakes import CARD, DICE, PASSWORD, hexes, made, part

SPELLINGS = ["{}", "x_{}", "X-{t}", "user{t}", "{u}", "my.{}"]


@pytest.mark.parametrize("word", sorted({*ANYWHERE, *ENDINGS, *LAST_WORDS, *WEAK_LAST_WORDS}))
def test_every_name(word: str) -> None:
    """What the cheap look lets pass has no field, at any depth, whose name is a secret's."""
    for spelling in SPELLINGS:
        name = spelling.replace("{}", word).replace("{t}", word.title()).replace("{u}", word.upper())
        shown = {name: PASSWORD}
        for line in (shown, {"a": [{"b": shown}]}, {"body": json.dumps(shown)}):
            assert may_hold_secret(json.dumps(line)), name
        if word not in WEAK_LAST_WORDS:
            assert is_secret_name(name)
            assert redact_field(name, [1, {"a": PASSWORD}]) == REDACTED


@pytest.mark.parametrize(
    "name", ["date_of_birth", "credit_card", "tax_id", "card_no", "id_number", "Account Number", "auth_code"]
)
def test_names_of_several_words(name: str) -> None:
    """The words of a name may stand apart."""
    assert is_secret_name(name)
    assert may_hold_secret(json.dumps({name: 1}))


def access_line() -> str:
    """Return an access log line."""
    ids = {"request_id": str(uuid.UUID(int=DICE.getrandbits(128))), "trace_id": hexes(32), "span_id": "a" + hexes(15)}
    line = {
        "timestamp": "2026-11-20T23:59:01.123456Z",
        "level": "info",
        "logger": "app.access",
        "event": "http.request",
    }
    line |= {"service": "orders", "environment": "production", "version": "1.2.3", **ids, "method": "GET"}
    line |= {"route": "/orders/{order_id}", "path": "/orders/42", "client_ip": "10.0.0.1", "user_agent": "curl/8.5.0"}
    return json.dumps({**line, "status_code": 200, "duration_ms": DICE.random()}, separators=(",", ":"))


def test_ordinary_lines_pass() -> None:
    """Access log lines cost a look, alone and joined; one secret among them is seen."""
    lines = [access_line() for _ in range(200)]
    assert sum(may_hold_secret(line) for line in lines) < 10
    quiet = [line for line in lines if not may_hold_secret(line)]
    assert not may_hold_secret("\n".join(quiet))
    secret = '{"a":"' + part("AK", "IA", made(16).upper()) + '"}'
    assert may_hold_secret("\n".join([*quiet, secret, *quiet]))


@pytest.mark.parametrize("secret", [CARD, part("gh", "p_", made(36)), "078-05-1123", "pin=4711"])
def test_remembered_shapes(secret: str) -> None:
    """A harmless text of the same shape was seen before, and the secret is seen nevertheless."""
    text = f"value {secret} here"
    for other in "0ac":
        may_hold_secret("".join(other if char in "0123456789abcdef" else char for char in text))
    assert may_hold_secret(text)


def test_looks_of_a_secret_do_not_cost_a_line() -> None:
    """A plain word of the shape of a secret's is told apart, and a secret in a line of that shape is found."""
    line = '{"logger":"can","message":"benchmark/1.0 took 12"}'
    assert not may_hold_secret(line)
    assert not may_hold_secret(line.replace("12", "345"))
    assert may_hold_secret('{"logger":"can","message":"benchmark/1.0 pass 12"}')
    # The same shape, and a national id's word where a plain one was.
    assert may_hold_secret('{"logger":"abn","message":"benchmark/1.0 took 12"}')
