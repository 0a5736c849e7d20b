"""Secrets and personal data never pass, whatever value they are a part of."""

import json
import uuid
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr

from app.core.redaction import REDACTED, is_secret_name, redact, redact_field

from ..fakes import CARD, EMAIL, PASSWORD, made


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "PASSWORD",
        "db_password",
        "user-password",
        "Proxy-Authorization",
        "X-Api-Key",
        "apiKey",
        "API_KEY",
        "access_token",
        "refreshToken",
        "client.secret",
        "Set-Cookie",
        "customer_email",
        "Card Number",
        "phone_number",
        "secret_key",
        "dsn",
    ],
)
def test_secret_names(name: str) -> None:
    """A name tells a secret in any case and with any separators, and hides whatever value it has."""
    assert is_secret_name(name)
    for value in ("x", 7, 1.5, b"x", ["x"], {"a": "x"}, object()):
        assert redact_field(name, value) == REDACTED


@pytest.mark.parametrize(
    "name",
    ["max_tokens", "token_type", "pageToken", "sku", "key", "id", "status", "tokens", "", "email_sent", "pinned"],
)
def test_harmless_names(name: str) -> None:
    """A name that only looks like a secret's keeps its value."""
    assert not is_secret_name(name)
    assert redact_field(name, 100) == 100


@pytest.mark.parametrize("value", [None, True, False])
def test_whether_a_secret_is_there(value: bool | None) -> None:
    """Whether a secret is set at all may be seen."""
    assert redact_field("password", value) is value


@pytest.mark.parametrize("value", [uuid.uuid4() for _ in range(3)])
def test_uuid(value: uuid.UUID) -> None:
    """A UUID is shown in full."""
    assert redact(value) == str(value)


@pytest.mark.parametrize("name", ["trace_id", "span_id"])
def test_ids_of_a_span(name: str) -> None:
    """An id that happens to have the digits of a card number is still an id."""
    digits = CARD * (2 if name == "trace_id" else 1)
    assert redact_field(name, digits) == digits
    assert redact_field(name, EMAIL) == REDACTED


@dataclass
class Account:
    """A plain object with something to hide."""

    name: str
    password: str
    contact: object


class Profile(BaseModel):
    """A model with something to hide."""

    name: str
    email: str
    key: SecretStr


def test_nested_values() -> None:
    """Mappings, sequences, dataclasses and models are walked to the bottom."""
    account = Account("ada", PASSWORD, [{"mail": EMAIL}, (EMAIL, 7)])
    assert redact({"a": {"b": [account]}}) == {
        "a": {"b": [{"name": "ada", "password": REDACTED, "contact": [{"mail": REDACTED}, [REDACTED, 7]]}]}
    }
    profile = Profile(name="ada", email=EMAIL, key=SecretStr(PASSWORD))
    assert redact([profile]) == [{"name": "ada", "email": REDACTED, "key": REDACTED}]


@pytest.mark.parametrize(
    "value",
    [
        SecretStr(PASSWORD),
        SecretBytes(PASSWORD.encode()),
        EMAIL,
        EMAIL.encode(),
        bytearray(EMAIL.encode()),
        int(CARD),
        -int(CARD),
    ],
)
def test_single_values(value: object) -> None:
    """A secret is hidden in whatever type it comes."""
    assert redact(value) == REDACTED


def test_exceptions_and_other_objects() -> None:
    """What is shown of an object is its text, without the secrets in it."""
    assert redact(ValueError(f"no account for {EMAIL}")) == "no account for [redacted]"
    assert redact({EMAIL}) == [REDACTED]
    assert redact({EMAIL: 1}) == {REDACTED: 1}


class Hostile:
    """An object that cannot be shown."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError


def test_value_that_cannot_be_read() -> None:
    """What cannot be read is not shown, and breaks nothing around it."""
    assert redact({"bad": Hostile(), "good": 1}) == {"bad": REDACTED, "good": 1}


def test_cycle_is_cut() -> None:
    """A value that contains itself ends where it comes back to itself."""
    parent: dict[str, object] = {"name": "root"}
    parent["children"] = [{"name": str(number), "parent": parent} for number in range(200)]
    shown = redact(parent)
    assert shown["children"][199] == {"name": "199", "parent": REDACTED}


def test_shared_value_is_no_cycle() -> None:
    """One value in two places is shown in both."""
    shared = {"a": 1}
    assert redact([shared, shared]) == [{"a": 1}, {"a": 1}]


def test_huge_values_are_bounded() -> None:
    """Depth and number of items have a limit, whatever the value's shape."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert str(redact(deep)).count("[") < 50
    assert len(redact(list(range(5000)))) == 1000
    doubling: list[object] = ["x"]
    for _ in range(14):
        doubling = [doubling] * 10
    assert str(redact(doubling)).count("x") <= 100_000


class Login(NamedTuple):
    """A tuple whose members have names."""

    user: str
    password: str


class Colour(Enum):
    """A plain enumeration."""

    RED = "red"
    MAIL = EMAIL


HEADERS = [(b"host", b"example.com"), (b"authorization", b"Basic opaque"), (b"x-api-key", b"opaque")]


def test_values_whose_names_stand_elsewhere() -> None:
    """A name is known as a member of a tuple, as the first of a pair, as an option, or as a value itself."""
    assert redact(Login("ada", "opaque")) == {"user": "ada", "password": REDACTED}
    assert redact(HEADERS) == [["host", "example.com"], ["authorization", REDACTED], ["x-api-key", REDACTED]]
    assert redact({"argv": ["mysql", "--password", "opaque", "-h", "db"]})["argv"][2] == REDACTED
    assert redact({"env": [{"name": "A", "value": "b"}, {"name": "DB_PASSWORD", "value": "opaque"}]}) == {
        "env": [{"name": "A", "value": "b"}, {"name": "DB_PASSWORD", "value": REDACTED}]
    }
    assert redact({b"password": "opaque", b"user": b"ada"}) == {"password": REDACTED, "user": "ada"}
    assert redact({"tokens": [made(24), "x"], "max_tokens": 4096}) == {"tokens": REDACTED, "max_tokens": 4096}


@pytest.mark.parametrize(
    "value",
    [["email", "name"], ["token", "opaque"], {"pass": 12, "fail": 0}, {"name": "A", "value": "b"}, [["a", "b"]]],
)
def test_values_that_only_look_named(value: object) -> None:
    """Two words in a list are no pair, and tests that pass are no password."""
    assert redact(value) == value


def test_kinds_of_values() -> None:
    """Whatever a value is, its secrets do not show, and nothing is used up."""
    numbers = (number for number in range(3))
    value: dict[str, Any] = {"numbers": numbers, "colour": Colour.RED, "to": [Colour.MAIL], "set": {7}}
    value |= {"raw": f"password={PASSWORD}".encode(), "view": memoryview(f"token={PASSWORD}".encode())}
    value |= {"error": ValueError(f"token={PASSWORD}"), "nested": json.dumps({"a": json.dumps({"pin": "4711x"})})}
    value["self"] = value
    shown = redact({"value": value})["value"]
    assert PASSWORD not in json.dumps(shown, default=str)
    assert "4711x" not in shown["nested"]
    assert (shown["colour"], shown["to"], shown["set"]) == ("red", [REDACTED], [7])
    assert shown["self"] == REDACTED
    assert list(numbers) == [0, 1, 2]
