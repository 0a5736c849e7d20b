"""Secrets and personal data never pass, whatever they are wrapped in; what only looks like them does.

Every secret here is made up when the test runs, so that no scanner of this repository finds one.
"""

import uuid
from dataclasses import dataclass

import pytest
from pydantic import BaseModel, SecretBytes, SecretStr

from app.core.redaction import REDACTED, is_secret_name, may_hold_secret, redact, redact_field, redact_text

from ..processes import run_python

EMAIL = "@".join(["ada", "example.com"])
CARD = "4" + "1" * 15
PASSWORD = "-".join(["correct", "horse"])
JWT = ".".join(["eyJ" + "hbGciOiJIUzI1NiJ9", "eyJ" + "zdWIiOiIxIn0", "c2ln" * 8])
TOKENS = {
    "aws": "AKIA" + "Q" * 16,
    "github": "gh" + "p_" + "a1" * 18,
    "github fine-grained": "github" + "_pat_" + "a1" * 20,
    "gitlab": "gl" + "pat-" + "a1" * 10,
    "slack": "xox" + "b-" + "12345678-abcdef",
    "stripe": "sk" + "_live_" + "a1" * 12,
    "google": "AI" + "za" + "a1" * 17,
    "npm": "np" + "m_" + "a1" * 18,
    "jwt": JWT,
    "e-mail": EMAIL,
    "card": CARD,
    "card with spaces": "4111 1111 1111 " + "1111",
    "card with dashes": "4111-1111-1111-" + "1111",
    "social security number": "-".join(["078", "05", "1120"]),
    "private key": "-----BEGIN RSA PRIVATE" + " KEY-----\nMIIBOgIBAAJBAK\n-----END RSA PRIVATE" + " KEY-----",
}


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


@pytest.mark.parametrize("token", TOKENS.values(), ids=TOKENS.keys())
@pytest.mark.parametrize("template", ["{}", "before {} after", "'{}'", "x={}", "[{}]", "{}, {}", "a\n{}\nb"])
def test_secrets_by_shape(token: str, template: str) -> None:
    """A secret of a known shape is cut out of any text, and the text around it stays."""
    text = redact_text(template.replace("{}", token))
    assert token not in text
    assert REDACTED in text
    assert text.startswith(template.partition("{}")[0])


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        (f"postgresql://app:{PASSWORD}@db/app", "postgresql://[redacted]@db/app"),
        (f"https://x/cb?code=7&access_token={PASSWORD}&a=1", "https://x/cb?code=7&access_token=[redacted]&a=1"),
        (f"Authorization: Bearer {PASSWORD}", "Authorization: Bearer [redacted]"),
        (f"sent Basic {PASSWORD}", "sent Basic [redacted]"),
        ('{"password": "' + PASSWORD + '"}', '{"password": "[redacted]"}'),
        (f"password='{PASSWORD} x'", "password='[redacted]'"),
        (f"DB_PASSWORD={PASSWORD}, retries=3", "DB_PASSWORD=[redacted], retries=3"),
        (f"api_key: {PASSWORD}", "api_key: [redacted]"),
    ],
)
def test_secrets_by_name_in_text(text: str, redacted: str) -> None:
    """A named secret within a text is cut out, the name stays."""
    assert redact_text(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "The order was placed.",
        "0af7651916cd43dd8448eb211c80319c",
        "12345678901234567890123456789012",
        "00-12345678901234567890123456789012-1234567890123456-01",
        "0b7e3c52-5f0e-4a53-9c8e-0f6e2f4a9d11",
        "41111111-1111-1111-1111-111111111111",
        "ORD-2024-000123",
        "order 1234567890 of 2024-11-21",
        "4111111111111112",
        "0000000000000000",
        "max_tokens=4096",
        "2024-11-21T00:33:12.123456Z",
        "10.0.0.1:5432",
        "sqlite:///var/app.db",
        "https://example.com/a?b=c",
        "@pytest.fixture",
        "the key of the door; the author of the token",
    ],
)
def test_harmless_text(text: str) -> None:
    """Ids, order numbers, times and plain words stay as they are."""
    assert redact_text(text) == text


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


HOSTILE = r"""
import sys
from app.core.redaction import redact_text
for seed in sys.argv[1:]:
    text = (seed * 100_000)[:100_000]
    redact_text(text)
    redact_text(text + "@")
"""


def test_hostile_text_takes_no_time() -> None:
    """Text made to keep the patterns busy is through in a moment: quadratic work on it would take minutes."""
    seeds = ["a", " ", "1 ", "1-", "eyJ-", "eyJa.", "eyJaaaaaa.a.", "a@", "a@a-", "a@a.", "a'", "://a:", "://", "sk-a "]
    seeds += ["token='\"", 'token="', "x_token=", "bearer ", "-----BEGIN A PRIVATE KEY-----", "-----BEGIN ", "SG.a-"]
    seeds += ["password", "api_key: ", "\n", "xoxb-", "4111 1111 ", "ab-", "github_pat_", "a.b_c%d+e-"]
    ended = run_python("-c", HOSTILE, *seeds)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_looks_of_a_secret_do_not_cost_a_line() -> None:
    """A plain word of the shape of a secret's is told apart, and a secret in a line of that shape is found."""
    line = '{"logger":"can","message":"benchmark/1.0 took 12"}'
    assert not may_hold_secret(line)
    assert not may_hold_secret(line.replace("12", "345"))
    assert may_hold_secret('{"logger":"can","message":"benchmark/1.0 pass 12"}')
    # The same shape, and a national id's word where a plain one was.
    assert may_hold_secret('{"logger":"abn","message":"benchmark/1.0 took 12"}')
