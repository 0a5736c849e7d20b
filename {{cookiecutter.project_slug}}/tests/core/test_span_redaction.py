"""Nothing secret leaves with a span, wherever on it it stands."""

from typing import Any
from unittest.mock import patch

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from app.core.redaction import REDACTED, allow_name, register_pattern, register_secret_name, remove_pattern
from app.core.span_redaction import redact_spans
from app.core.spans import RecordedSpan
from app.core.tracing import Trace

POSITION = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1)
EMAIL = "@".join(["ada", "example.com"])
CARD = "4111" + "1" * 12


def span(name: str = "GET /orders/{order_id}", **attributes: Any) -> RecordedSpan:
    """Return a span with attributes."""
    known = {"http.request.method": "GET", "url.path": "/orders/7", "http.response.status_code": 200}
    return RecordedSpan(POSITION, name, SpanKind.SERVER, None, {**known, **attributes}, lambda _span: None)


def shown(*spans: RecordedSpan) -> str:
    """Return all that the spans say."""
    return str(
        [(one.name, one.attributes, one.events, one.links, one.status_message, one.trace.state) for one in spans]
    )


def test_harmless_spans_stay() -> None:
    """Spans without a secret are left as they are."""
    odd: dict[str, Any] = {"peer.id": 10**13 + 1, "list": ["a"], "flag": True}
    spans = [span(), span(**odd)]
    before = shown(*spans)
    redact_spans(spans)
    assert shown(*spans) == before


@pytest.mark.parametrize(
    "attributes",
    [
        {"url.path": f"/orders/{EMAIL}"},
        {"url.full": "https://ada:" + "hunter22" + "@example.com/"},
        {"note": CARD},
        {"note": int(CARD)},
        {"note": ["a", EMAIL]},
        {"note": EMAIL.encode()},
        {EMAIL: "a name can be one too"},
    ],
    ids=["path", "login", "card", "number", "list", "bytes", "name"],
)
def test_secrets_by_their_form(attributes: dict[str, Any]) -> None:
    """What has the form of a secret is hidden in attributes, of any type, and in no other span."""
    harmless, harmful = span(), span(**attributes)
    redact_spans([harmless, harmful])
    assert not any(secret in shown(harmful) for secret in (EMAIL, "hunter22", CARD))
    assert REDACTED in shown(harmful)
    assert harmful.attributes["http.response.status_code"] == 200
    assert shown(harmless) == shown(span())


@pytest.mark.parametrize("name", ["password", "db.password", "http.request.header.x-api-key", "user.email"])
def test_secrets_by_their_name(name: str) -> None:
    """A value with a secret's name is hidden, whatever it looks like."""
    harmful = span(**{name: "plain"})
    redact_spans([span(), harmful])
    assert harmful.attributes[name] == REDACTED


def test_names_in_doubt() -> None:
    """A name that may be a secret's hides what a machine made, and nothing else."""
    made, plain = span(stripe_key="q7Zx0mKd2VwR9tLs" + "4YbNw3Tz"), span(stripe_key="live")
    redact_spans([made, plain])
    assert (made.attributes["stripe_key"], plain.attributes["stripe_key"]) == (REDACTED, "live")


def test_everything_else_of_a_span() -> None:
    """Names, events, links, the status and the state of the trace hide it too."""
    one = span(f"mail {EMAIL}")
    one.trace = POSITION._replace(state=f"vendor={EMAIL}")
    one.add_event(f"sent to {EMAIL}", {"to": EMAIL, "password": "plain"})
    one.add_link(POSITION.span_context(), {"to": EMAIL})
    one.set_status(StatusCode.ERROR, f"no account {EMAIL}")
    redact_spans([one])
    assert EMAIL not in shown(one)
    assert one.name == f"mail {REDACTED}"
    assert one.events[0].attributes["password"] == REDACTED
    assert (one.trace.state, one.trace.trace_id) == ("", POSITION.trace_id)


def test_rules_of_the_owner() -> None:
    """A pattern or a name that was added counts from the next batch on."""
    register_pattern("test badge", r"\bEMP-\d{5}\b", hint="emp-")
    register_secret_name("test_badge_name")
    one = span(note="EMP-12345", test_badge_name="x")
    try:
        redact_spans([one])
    finally:
        remove_pattern("test badge")
        allow_name("test_badge_name")
    assert (one.attributes["note"], one.attributes["test_badge_name"]) == (REDACTED, REDACTED)


class Unreadable:
    """A value that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError


def test_value_that_cannot_be_read() -> None:
    """A value that cannot be read is hidden, and its batch goes on."""
    one, other = span(note=Unreadable()), span(note=EMAIL)
    redact_spans([one, other])
    assert (one.attributes["note"], other.attributes["note"]) == (REDACTED, REDACTED)


def test_rule_that_fails() -> None:
    """Where redaction itself fails, a span keeps its place and its times, and says nothing."""
    one = span(note=EMAIL)
    with patch("app.core.span_redaction.redact_field", side_effect=[None, None, None, None, RuntimeError]):
        redact_spans([one])
    assert (one.name, one.attributes, one.trace) == (REDACTED, {}, POSITION)
