"""Every rule finds what it is for, hurts nothing else, takes no time on hostile text, and can be added to or taken out.

Secrets are put together from parts when a test runs, so that no scanner of this repository finds one.
"""

import json
import random
import re
import string
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from app.core import redaction
from app.core.redaction import (
    REDACTED,
    allow_name,
    is_secret_name,
    may_hold_secret,
    pattern_names,
    redact,
    redact_field,
    redact_text,
    register_pattern,
    register_secret_name,
    remove_pattern,
)
from app.core.redaction_names import ANYWHERE, ENDINGS, LAST_WORDS, WEAK_LAST_WORDS
from app.core.redaction_rules import RULES
from app.core.redaction_tokens import DISTINCT, EXACT

from ..processes import run_python

DICE = random.Random(20261121)
ALNUM = string.ascii_letters + string.digits
PASSWORD = "-".join(["Correct", "horse7", "battery"])


def made(size: int, alphabet: str = ALNUM) -> str:
    """Return random characters that look like no word."""
    return "Z9" + "".join(DICE.choice(alphabet) for _ in range(size - 2))


def hexes(size: int) -> str:
    """Return random hexadecimal digits."""
    return "".join(DICE.choice("0123456789abcdef") for _ in range(size))


def part(*parts: str) -> str:
    """Return parts put together."""
    return "".join(parts)


@pytest.fixture(autouse=True)
def redactor(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(redaction, "_redactor", redaction.Redactor())


EXACT_SAMPLES = {
    "aws": part("AK", "IA", "QRSTUVWXYZ234567"),
    "openai": part("sk", "-", made(48)),
    "openai inner": part("sess", "-", made(20), "T3Blbk", "FJ", made(20)),
    "twilio": part("S", "K", hexes(32)),
    "databricks": part("da", "pi", hexes(32)),
    "mailgun": part("ke", "y-", hexes(32)),
    "mailgun signing": "-".join([hexes(32), hexes(8), hexes(8)]),
    "mailchimp": part(hexes(32), "-us", "12"),
    "telegram": part("7123456789", ":A", made(34)),
    "discord": part("M", made(23), ".", made(6), ".", made(27)),
    "azure": part("abc", "8Q", "~", made(34)),
    "terraform": part(made(14), ".atlas", "v1.", made(64)),
    "pulumi": part("pu", "l-", hexes(40)),
    "facebook app": part("123456789012345", "|", made(27)),
    "maxmind": part(made(6), "_", made(29), "_m", "mk"),
    "1password": part("A", "3-", "ABCDEF-GHIJKLMNOPQ-RSTUV-WXYZ2-34567"),
    "google refresh": part("1/", "/0", made(40)),
    "vault legacy": part("s", ".", made(24)),
    "jwt": part("ey", "J", made(20), ".", made(30), ".", made(40)),
}
SENTENCES = [
    "{}",
    "upstream rejected {} for tenant 42",
    "not with '{}'",
    '{"value":"{}","ok":false}',
    "a={}&b=1",
    "x\n{}\ny",
]


def survives(secret: str, text: str) -> bool:
    """Return whether half of a secret can still be read in a text."""
    run = max(6, len(secret) // 2)
    return any(secret[start : start + run] in text for start in range(len(secret) - run + 1))


@pytest.mark.parametrize("prefix", DISTINCT)
def test_tokens_by_their_start(prefix: str) -> None:
    """A token that says whose it is is cut out of any text, whole or cut off."""
    for size in (40, 16):
        token = prefix + made(size)
        for sentence in SENTENCES:
            text = sentence.replace("{}", token)
            assert not survives(token, redact_text(text)), text


@pytest.mark.parametrize("name", EXACT_SAMPLES)
def test_tokens_by_their_form(name: str) -> None:
    """A token of a known form is cut out of any text."""
    assert name in EXACT
    for sentence in SENTENCES:
        text = sentence.replace("{}", EXACT_SAMPLES[name])
        assert not survives(EXACT_SAMPLES[name], redact_text(text)), text


@pytest.mark.parametrize(
    "template",
    [
        "password={}",
        "password = '{}'",
        'db_pass="{}"',
        'DB_PASSWORD: "{}"',
        "mySecretString={}",
        "private_key => '{}'",
        "X-Api-Key: {}",
        "api key: {}",
        "apikey := `{}`",
        'getenv("API_TOKEN", "{}")',
        '("authorization", "{}")',
        r'{"raw": "{\"password\": \"{}\"}"}',
        r'{"raw": "{\"a\": \"{\\\"token\\\": \\\"{}\\\"}\"}"}',
        "Settings(debug=False, db_password='{}', port=8000)",
        "body=b'user=bob&password={}&next=%2F'",
        "/cb?state=1&client_secret={}#top",
        "mysql -u root --password={} app",
        "deploy --api-token {} now",
        part("curl ", "-u bob:{} https://example.com"),
        "<password>{}</password>",
        "postgresql+psycopg://app:{}@db/app?sslmode=require",
        "redis://:{}@cache:6379/0",
        "amqp://svc:{}@mq:5672/%2Fprod",
        "Server=db;User Id=sa;Pwd={};Encrypt=true",
        "DefaultEndpointsProtocol=https;AccountKey={};EndpointSuffix=x",
        "Cookie: theme=dark; sessionid={}; csrftoken=1",
        "Set-Cookie: sid={}; HttpOnly",
        "Authorization: Bearer {}",
        "authorization=Token {}",
        'Authorization: Digest username="a", response="{}"',
        "proxy-authorization: Basic {}",
        "https://a.blob.example.net/c?sv=2022&sig=a1{}b2c3d4%3D",
        "https://hooks.slack.com/services/T0000/B000/{}",
        "https://discord.com/api/webhooks/123456789/{}",
        "machine example.com login bob password {}",
        "the password is {}",
        "credential {} rejected",
    ],
)
def test_values_beside_a_name(template: str) -> None:
    """A value is cut out wherever a secret's name stands beside it; the rest of the text stays."""
    secret = made(20)
    shown = redact_text(template.replace("{}", secret))
    assert not survives(secret, shown)
    assert REDACTED in shown


def pem(kind: str, join: str) -> str:
    """Return a made-up private key with its lines joined by something."""
    return join.join(
        [part("-----BEGIN ", kind, "PRIVATE KEY-----"), made(64), made(64), part("-----END ", kind, "PRIVATE KEY-----")]
    )


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "DSA ", "OPENSSH ", "ENCRYPTED "])
@pytest.mark.parametrize("join", ["\n", "\r\n", "\\n"])
@pytest.mark.parametrize("cut", [slice(None), slice(0, 120), slice(40, None)])
def test_private_keys(kind: str, join: str, cut: slice) -> None:
    """A private key is cut out on many lines or one, whole or without its beginning or end."""
    key = pem(kind, join)
    body = key.split(join)[1 if cut.stop else 2]
    assert not survives(body, redact_text(f"read {key[cut]}"))


def luhn_digit(digits: str) -> str:
    """Return the digit that makes a number valid by Luhn."""
    return next(last for last in "0123456789" if is_luhn(digits + last))


def is_luhn(digits: str) -> bool:
    """Return whether the digits are valid by Luhn, computed here once more."""
    places = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(place // 10 + place % 10 for place in places) % 10 == 0


@pytest.mark.parametrize("start", ["4", "51", "2221", "34", "37", "36", "6011", "3528", "62", "65", "5019"])
def test_cards(start: str) -> None:
    """A card's number is hidden with and without separators; one with a wrong check digit is no card."""
    size = {"34": 15, "37": 15, "36": 14}.get(start, 16)
    number = start + "".join(DICE.choice("123456789") for _ in range(size - 1 - len(start)))
    card = number + luhn_digit(number)
    wrong = number + str((int(card[-1]) + 1) % 10)
    assert redact_text(f"card {card} declined") == f"card {REDACTED} declined"
    assert redact_text(f"order {wrong} placed") == f"order {wrong} placed"
    assert redact(int(card)) == REDACTED
    if size == 16:
        for separator in " -":
            assert redact_text(separator.join(card[place : place + 4] for place in range(0, 16, 4))) == REDACTED


@pytest.mark.parametrize("separator", ["", " "])
def test_ibans(separator: str) -> None:
    """An account number is told by its check digits, and the words after it stay."""
    for country, length in (("DE", 22), ("NL", 18), ("GB", 22), ("FR", 27), ("BE", 16)):
        body = ("ABNA" if country in "NLGB" else "") + "".join(DICE.choice(string.digits) for _ in range(length))
        body = body[: length - 4]
        number = int("".join(str(int(char, 36)) for char in body + country + "00"))
        iban = f"{country}{98 - number % 97:02}{body}"
        text = separator.join(iban[place : place + 4] for place in range(0, len(iban), 4)) if separator else iban
        assert redact_text(f"payout to {text} for order 7") == f"payout to {REDACTED} for order 7"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("ssn {}", "078-05-1123"),
        ("{}", "219-09-9998"),
        ("itin={}", "911-70-1234"),
        ("nino: {}", "AA 12 34 56 B"),
        ("NHS number {}", "401-023-2137"),
        ("patient MBI {}", "1EG4-TE5-MK73"),
        ("aadhaar {}", "3123 4567 8909"),
        ("nif={}", "55555555K"),
        ("pesel={}", "44051401458"),
        ("cpf {}", "529.982.247-25"),
        ("Steuer-ID: {}", "12345678911"),
        ("codice fiscale {}", "RSSMRA85T10A562S"),
        ("numero {} ok", "RSSMRA85T10A562S"),
        ("bsn {}", "111222333"),
        ("passport number: {}", "912803456"),
        ("driving licence {}", "MORGA753116SM9IJ"),
        ("driver's license no. {}", "D1234562"),
        ("sms to {}", "+55 11 98456 5666"),
        ("call {}", "(415) 555-0132"),
        ("phone: {}", "030 1234567"),
        ("reach me at {}", "+491701234567"),
        ("mail to {} bounced", "@".join(["ada", "example.com"])),
        ("signup {}", "@".join(["user", "xn--80ak6aa92e.com"])),
    ],
)
def test_personal_data(text: str, secret: str) -> None:
    """A number or address of a person is hidden, told by its form or by the word before it."""
    shown = redact_text(text.replace("{}", secret))
    assert secret not in shown
    assert REDACTED in shown


def harmless_texts() -> Iterator[str]:
    """Yield texts that look like secrets and are none."""
    yield from """
        max_tokens=4096
        prompt_tokens=12 completion_tokens=34
        token_type=bearer
        password reset requested
        password must contain at least 12 characters
        password: must not be empty
        passwordless login enabled
        password=None
        secret_name=db-main
        loaded 3 secrets from vault path kv/app
        primary_key=17
        cache_key=user:42:profile
        foreign key constraint violated
        KeyError: 'user_id'
        monkeys-audio:mx64-uwp=fail
        authorization failed for role viewer
        auth_method=oidc
        author=jane
        session 5 of 12 complete
        the bearer of good news
        Basic plan activated
        spinner stopped
        otp_enabled=true
        card_type=visa last4=4242
        card ending in 4242
        phone: unknown
        phone_verified=true
        call failed after 3 retries
        tax rate 19%
        passport check passed
        isbn 978-3-16-148410-0
        parcel 1Z999AA10123456784 delivered
        ts_ns=1763669520123456789
        ts_us=1763669520123456
        traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
        ulid 01ARZ3NDEKTSV4RRFFQ69G5FAV
        listening on 0.0.0.0:8000
        client 192.168.100.200
        client 2001:db8:85a3::8a2e:370
        git@github.com:org/repo.git
        https://github.com/@user/repo
        https://url:8000/ @something else
        @app.get('/items/{id}')
        my email is info@example.
        eyJAAAA.eyJBBB
        arn:aws:sqs:eu-west-1:123456789012:queue
        npm_config_cache=/home/x/.npm
        access_token_url='https://example.com/login/oauth/access_token',
        SELECT id, name FROM users WHERE id = $1 AND token IS NULL
        File "/usr/lib/python3.12/site-packages/redis/connection.py", line 699, in connect
        Task orders.ship[66c73035-825d-4b6e-82cf-dd140051f1de] succeeded in 0.01s: None
    """.strip().splitlines()
    for _ in range(500):
        yield f"order {uuid.UUID(int=DICE.getrandbits(128), version=4)} shipped"
        yield f"commit {hexes(40)} span {hexes(16)} digest sha256:{hexes(64)}"


@pytest.mark.parametrize("text", list(harmless_texts())[:51])
def test_harmless_texts(text: str) -> None:
    """What only looks like a secret stays as it is."""
    assert redact_text(text.strip()) == text.strip()


def test_random_ids_stay() -> None:
    """No id among many is taken for a secret."""
    assert [text for text in harmless_texts() if redact_text(text) != text] == []


SPELLINGS = ["{}", "x_{}", "X-{t}", "user{t}", "{u}", "my.{}"]


@pytest.mark.parametrize("word", sorted({*ANYWHERE, *ENDINGS, *LAST_WORDS, *WEAK_LAST_WORDS}))
def test_screen_sees_every_name(word: str) -> None:
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
def test_screen_sees_names_of_several_words(name: str) -> None:
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


def test_screen_lets_ordinary_lines_pass() -> None:
    """Access log lines cost a look, alone and joined; one secret among them is seen."""
    lines = [access_line() for _ in range(200)]
    assert sum(may_hold_secret(line) for line in lines) < 10
    quiet = [line for line in lines if not may_hold_secret(line)]
    assert not may_hold_secret("\n".join(quiet))
    assert may_hold_secret("\n".join([*quiet, '{"a":"' + EXACT_SAMPLES["aws"] + '"}', *quiet]))


def test_screen_is_not_fooled_by_what_it_remembers() -> None:
    """A harmless text of the same shape was seen before, and the secret is seen nevertheless."""
    card = "4" + "1" * 15
    for secret in (*EXACT_SAMPLES.values(), card, part("gh", "p_", made(36)), "078-05-1123", f"pin={card[:4]}"):
        text = f"value {secret} here"
        for other in "0ac":
            may_hold_secret(re.sub("[0-9a-f]", other, text))
        assert may_hold_secret(text), secret


def test_redacted_text_stays() -> None:
    """To redact twice is to redact once."""
    secrets = [*EXACT_SAMPLES.values(), "4" + "1" * 15, "+491701234567", "@".join(["ada", "example.com"])]
    texts = [f"password={secret}; token: '{secret}' and {secret}" for secret in secrets]
    texts += [f"Authorization: Bearer {PASSWORD}", f"redis://:{PASSWORD}@h/0", pem("RSA ", "\n")]
    for text in texts:
        assert redact_text(redact_text(text)) == redact_text(text)


def test_own_pattern() -> None:
    """The owner adds a pattern, with what stands there instead, and takes it out again."""
    text = "badge EMP-12345 of staff"
    assert redact_text(text) == text
    register_pattern("badge", r"\b(EMP-)\d{5}\b", replacement=r"\1…", hint="EMP-")
    assert redact_text(text) == "badge EMP-… of staff"
    assert may_hold_secret(json.dumps({"note": text}))
    remove_pattern("badge")
    assert redact_text(text) == text


def test_own_pattern_without_hint() -> None:
    """A pattern without a hint is tried on every text."""
    register_pattern("bicycle", r"\bframe (?P<s>\w{6})\b")
    assert redact_text("frame ABC123 found") == f"frame {REDACTED} found"
    assert may_hold_secret("anything")


@pytest.mark.parametrize(("regex", "replacement"), [("(", REDACTED), ("a", r"\2")])
def test_own_pattern_that_does_not_compile(regex: str, replacement: str) -> None:
    """A wrong pattern is refused at once, and the message names it."""
    with pytest.raises(ValueError, match="redaction pattern 'mine' does not compile"):
        register_pattern("mine", regex, replacement=replacement)
    assert "mine" not in pattern_names()


def test_rule_is_switched_off() -> None:
    """A rule is taken out by its name; an unknown name is refused with the known ones."""
    mail = "@".join(["ada", "example.com"])
    remove_pattern("e-mail")
    assert redact_text(f"to {mail}") == f"to {mail}"
    with pytest.raises(ValueError, match=r"no redaction rule 'e-male'; there are: .*card"):
        remove_pattern("e-male")


def test_own_names() -> None:
    """A name is made secret or harmless by the owner, in any spelling."""
    assert not is_secret_name("staffBadge")
    assert not may_hold_secret('{"staff_badge":"x"}')
    register_secret_name("Staff Badge")
    assert redact({"a": [{"staff_badge": 1, "STAFF-BADGE": 2}]}) == {
        "a": [{"staff_badge": REDACTED, "STAFF-BADGE": REDACTED}]
    }
    assert redact_text("staffBadge=77") == f"staffBadge={REDACTED}"
    assert may_hold_secret('{"a":{"staff_badge":"x"}}')
    allow_name("staffbadge")
    assert redact({"staff_badge": 1}) == {"staff_badge": 1}
    allow_name("sort_code")
    assert redact({"sortCode": "by-name"}) == {"sortCode": "by-name"}
    with pytest.raises(ValueError, match="needs a letter or a digit"):
        register_secret_name("--")


def test_rules_change_while_others_redact() -> None:
    """Rules are added and removed in one thread while others redact."""
    text = f"password={PASSWORD}"
    failures: list[str] = []

    def work() -> None:
        failures.extend(shown for _ in range(300) if PASSWORD in (shown := redact_text(text)))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(5):
        register_pattern(f"own {number}", f"own{number}", hint="own")
        remove_pattern(f"own {number}")
    for thread in threads:
        thread.join()
    assert failures == []


def test_failing_rule_drops_the_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a rule breaks, the text that it was to look at is not shown, and the line around it is."""

    def fail(*_: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr(redaction, "spans_of", fail)
    assert redact({"a": f"password={PASSWORD}", "b": "ok"}) == {"a": REDACTED, "b": "ok"}


class Colour(Enum):
    """A plain enumeration."""

    RED = "red"
    MAIL = "@".join(["ada", "example.com"])


@dataclass
class Customer:
    """A plain object with something to hide."""

    name: str
    secret_key: str


class Login(BaseModel):
    """A model with something to hide."""

    user: str
    password: SecretStr


class Wrong:
    """An object whose text is no text."""

    def __str__(self) -> str:
        """Return what is no text."""
        return 7  # type: ignore[return-value]  # noqa: PLE0307 -- the mistake is the test


def test_kinds_of_values() -> None:
    """Whatever a value is, its secrets do not show, and nothing is used up."""
    numbers = (number for number in range(3))
    value: dict[str, Any] = {"numbers": numbers, "colour": Colour.RED, "mail": [Colour.MAIL], "wrong": Wrong()}
    value |= {"raw": f"password={PASSWORD}".encode(), "customer": Customer("ada", PASSWORD), "set": {7}}
    value |= {"login": Login(user="ada", password=SecretStr(PASSWORD)), "error": ValueError(f"token={PASSWORD}")}
    value["self"] = value
    shown = redact({"value": value})["value"]
    assert PASSWORD not in json.dumps(shown, default=str)
    assert (shown["colour"], shown["wrong"], shown["set"]) == ("red", REDACTED, [7])
    assert shown["customer"] == {"name": "ada", "secret_key": REDACTED}
    assert shown["self"] == REDACTED
    assert list(numbers) == [0, 1, 2]


def test_deep_value() -> None:
    """A value 200 levels deep is cut, not a failure, and shows no secret."""
    deep: dict[str, Any] = {"password": PASSWORD}
    for _ in range(200):
        deep = {"a": deep}
    assert PASSWORD not in json.dumps(redact(deep))


HOSTILE = r"""
import sys, time
from app.core.redaction import redact_text
worst = (0.0, "")
for seed in sys.argv[1:]:
    started = time.process_time()
    redact_text((seed * 50_000)[:50_000])
    worst = max(worst, (time.process_time() - started, seed))
print(*worst)
"""


def hostile_seeds() -> list[str]:
    """Return what the rules start with: repeated, it keeps a quadratic rule busy for minutes."""
    seeds = [chr(code) for code in range(1, 128)]
    seeds += [*DISTINCT[::3], *(hint for rule in RULES for hint in rule.hints), *EXACT_SAMPLES.values()]
    seeds += [f"{word}=" for word in ("password", "key", "cookie", "auth", "pin")]
    seeds += ["a@", "a@a.", "://a:", "1-", "1 ", "4111 ", "DE89 ", "ssn ", "eyJa.", pem("RSA ", "\n")[:40], "-----END "]
    seeds += [
        'password="',
        "token='\"",
        'password=\\"',
        "cookie: a ",
        "basic a",
        part("curl ", "-u a"),
        " --token a",
        "+1",
        "(1",
    ]
    return list(dict.fromkeys(seeds))


def test_hostile_text_takes_no_time() -> None:
    """50 kB of anything that a rule starts with is through in a moment: quadratic work on it would take minutes."""
    ended = run_python("-c", HOSTILE, *hostile_seeds())
    assert (ended.returncode, ended.stderr) == (0, "")
    seconds, _, seed = ended.stdout.partition(" ")
    assert float(seconds) < 1, seed
