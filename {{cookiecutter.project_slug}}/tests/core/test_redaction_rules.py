"""Rules are added and taken out by the owner, hurt no id, and scan hostile text in linear time."""

import json
import threading
import uuid
from collections.abc import Iterator

import pytest

from app.core import redaction
from app.core.redaction import (
    REDACTED,
    allow_name,
    is_secret_name,
    may_hold_secret,
    pattern_names,
    redact,
    redact_text,
    register_pattern,
    register_secret_name,
    remove_pattern,
)
from app.core.redaction_names import LONG_WORDS, SHORT_WORDS
from app.core.redaction_rule import Rule
from app.core.redaction_rules import RULES
from app.core.redaction_tokens import DISTINCT

from ..fakes import CARD, DICE, EMAIL, PASSWORD, hexes, part, pem
from ..processes import run_python


@pytest.fixture(autouse=True)
def redactor(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(redaction, "_redactor", redaction.Redactor())


HARMLESS = """
    The order was placed.
    ORD-2024-000123
    2024-11-21T00:33:12.123456Z
    12345678901234567890123456789012
    00-12345678901234567890123456789012-1234567890123456-01
    traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
    41111111-1111-1111-1111-111111111111
    ulid 01ARZ3NDEKTSV4RRFFQ69G5FAV
    listening on 0.0.0.0:8000
    arn:aws:sqs:eu-west-1:123456789012:queue
    sqlite:///var/app.db
    https://example.com/a?b=c
    sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg==
    data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk
    Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36
    pod api-7d9c6b5f4d-x2x8z evicted
    static/app.8f3a2b1c.js served
    Task orders.ship[66c73035-825d-4b6e-82cf-dd140051f1de] succeeded in 0.01s: None
    foreign key constraint violated
    the key of the door; the author of the token
"""


@pytest.mark.parametrize("text", [line.strip() for line in HARMLESS.strip().splitlines()])
def test_harmless_texts(text: str) -> None:
    """Ids, order numbers, times and plain words stay as they are."""
    assert redact_text(text) == text


def ids() -> Iterator[str]:
    """Yield texts with ids."""
    for _ in range(500):
        yield f"order {uuid.UUID(int=DICE.getrandbits(128), version=4)} shipped"
        yield f"commit {hexes(40)} span {hexes(16)} digest sha256:{hexes(64)}"


def test_random_ids_stay() -> None:
    """No id among many is taken for a secret."""
    assert [text for text in ids() if redact_text(text) != text] == []


def test_redacted_text_stays() -> None:
    """To redact twice is to redact once."""
    secrets = [CARD, "+491701234567", EMAIL, part("AK", "IA", "QRSTUVWXYZ234567"), part("gh", "p_", "a1" * 18)]
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
    remove_pattern("e-mail")
    assert redact_text(f"to {EMAIL}") == f"to {EMAIL}"
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
    assert redact_text("run --staff-badge 77 now") == f"run --staff-badge {REDACTED} now"
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


def test_failing_rule_drops_the_value() -> None:
    """When a rule breaks, the text that it was to look at is not shown, and what is around it is."""

    def fail(value: str) -> bool:
        raise ValueError(value)

    redaction._redactor.add(Rule("broken", r"\d+", hints=("trips",), check=fail))
    value = {"a": f"trips 7 {PASSWORD}", "b": "ok", "c": [f"trips 8 {PASSWORD}", "ok"]}
    assert redact(value) == {"a": REDACTED, "b": "ok", "c": [REDACTED, "ok"]}
    assert redact_text(f"trips 7 {PASSWORD}") == REDACTED


def test_text_of_secrets_is_no_message() -> None:
    """Of a text in which a rule finds more than any message holds, the rest is not shown."""
    shown = redact_text(f"{EMAIL}, " * 3000)
    assert shown.startswith(f"{REDACTED}, {REDACTED}, ")
    assert shown.count(REDACTED) == 1001


# A quadratic rule takes 256 times as long for 16 times the text, a linear one 16 times.
HOSTILE = r"""
import sys, time
from app.core.redaction import redact_text

def seconds(seed, size):
    text = (seed * size)[:size]
    started = time.thread_time()
    redact_text(text + "@")
    return time.thread_time() - started

for seed in sys.argv[1:]:
    for _ in range(5):
        grown = seconds(seed, 48_000) / max(seconds(seed, 3_000), 1e-4)
        if grown < 64:
            break
    else:
        print(grown, repr(seed))
"""


def hostile_seeds() -> list[str]:
    """Return what rules begin with: repeated, it would keep a rule busy that looks at a run again and again."""
    seeds = [chr(code) for code in range(1, 128)] + list("\u00e9\u6ce8\u2028\U0001f600")
    seeds += [*DISTINCT[::9], *(hint for rule in RULES for hint in rule.hints[:1])]
    seeds += [shape.replace("0", "1") + " " for rule in RULES for shape in rule.shapes[:1]]
    seeds += [f"{word}=" for word in (*LONG_WORDS[::8], *SHORT_WORDS[::8])]
    seeds += ["://~:~@~@a", "://a:://", "://a:", "a@", "a@a.", "a'", "a-", "1-", "1 ", "eyJ-", "eyJa.", "DE89 ", "ssn "]
    seeds += [
        "phone '",
        "tel://",
        'password="',
        "token='\"",
        'token=\\"',
        "password:",
        "cookie: a ",
        " --token a",
        " -a b",
    ]
    seeds += [
        "curl -u ",
        "mysql -p",
        "insert into (",
        "-----BEGIN A PRIVATE" + " KEY-----",
        "aaaaaaaaaaaaaaaa -----END ",
    ]
    return list(dict.fromkeys(seeds))


def test_hostile_text_takes_linear_time() -> None:
    """Of all that a rule begins with, repeated, a text sixteen times as long takes about sixteen times as long."""
    ended = run_python("-c", HOSTILE, *hostile_seeds())
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
