"""Nothing secret that a request brings or an operation says is in its line, its answer, its span or a report."""

import json
from dataclasses import replace
from urllib.parse import quote

import pytest
from django.http import HttpRequest
from django.test import Client
from ninja.errors import HttpError
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.adapters.tracing import Tracing
from app.core.errors import AppError, BusinessRuleError, NotFoundError
from app.core.redaction import REDACTED
from app.web.bootstrap import Services, using_services

from ..conftest import Log
from ..fakes import CARD, EMAIL, PASSWORD, part
from .conftest import Ask
from .paths import operation, raising, serving

pytestmark = pytest.mark.django_db
JWT = ".".join([part("eyJ", "hbGciOiJIUzI1NiJ9"), part("eyJ", "zdWIiOiIxIn0"), "c2ln" * 8])
SECRETS = {"address": EMAIL, "card": CARD, "token": JWT, "key": part("AK", "IA", "QRSTUVWXYZ234567")}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("where", ["/orders/{}", "/nowhere/{}", "/{}", "/orders?q={}", "/admin/{}/"])
def test_request_line(ask: Ask, log: Log, where: str, secret: str) -> None:
    """A secret in the path or the query is neither in the request's line nor in the answer."""
    response = ask("GET", where.replace("{}", quote(secret)), headers={"user-agent": f"agent/1 ({secret})"})
    (line,) = log.named("http.request")
    assert line["user_agent"] == f"agent/1 ({REDACTED})"
    for text in ("".join(log), response.content.decode()):
        assert secret not in text
        assert quote(secret) not in text


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "X-Api-Key", "Referer", "X-Correlation-ID"])
def test_headers(ask: Ask, log: Log, name: str) -> None:
    """A secret in a header is in no line."""
    ask("GET", "/nowhere", headers={name: f"Bearer {PASSWORD} {CARD}"})
    assert [secret for secret in (PASSWORD, CARD) if secret in "".join(log)] == []


@pytest.mark.parametrize("member", ["sku", "quantity", "customer_email", "extra"])
def test_body(ask: Ask, log: Log, member: str) -> None:
    """A secret in a body is in no line, and an answer that refuses it does not repeat it."""
    order = {"sku": "A-1", "quantity": 1, "customer_email": EMAIL, member: CARD}
    response = ask("POST", "/orders", json.dumps(order), content_type="application/json")
    for text in ("".join(log), "" if response.status_code == 201 else response.content.decode()):
        assert [secret for secret in (CARD, EMAIL) if secret in text] == []


ERRORS = [
    BusinessRuleError(public_message=f"No account for {EMAIL}.", details={"customer_email": EMAIL, "cards": [CARD]}),
    NotFoundError(f"no account for {EMAIL}", details={"login": {"password": PASSWORD}}),
    HttpError(409, f"taken by {EMAIL}"),
    RuntimeError(f"postgresql://app:{PASSWORD}@db/app is down"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_problem(ask: Ask, log: Log, error: Exception) -> None:
    """A problem document shows no secret, though the operation put one into its sentence or its details."""
    with serving(operation("/fails", raising(error))):
        response = ask("GET", "/fails")
    assert response["content-type"] == "application/problem+json"
    for text in ("".join(log), response.content.decode()):
        assert [secret for secret in (EMAIL, CARD, PASSWORD) if secret in text] == []
    if isinstance(error, AppError):
        assert REDACTED in response.content.decode()


def test_records_of_django(services: Services, log: Log) -> None:
    """What Django's own records repeat of a request is redacted."""
    Client().get(f"/orders?password={PASSWORD}", headers={"host": f"{EMAIL}.example"})
    assert log.events[0]["logger"] == "django.security.DisallowedHost"
    assert [secret for secret in (EMAIL, PASSWORD) if secret in "".join(log)] == []


def test_span(services: Services) -> None:
    """A span shows no secret: not in its attributes, its events or its status."""
    exporter = InMemorySpanExporter()
    tracing = Tracing(services.settings, processor=SimpleSpanProcessor(exporter))

    def fails(request: HttpRequest, user: str) -> None:
        msg = f"no account for {user}, password={PASSWORD}"
        raise RuntimeError(msg)

    with using_services(replace(services, tracing=tracing)), serving(operation("/fails/{user}", fails)):
        Client(raise_request_exception=False).get(f"/fails/{EMAIL}?token={PASSWORD}")
    (span,) = (span for span in exporter.get_finished_spans() if span.name == "GET /fails/{user}")
    shown = span.to_json()
    assert [secret for secret in (EMAIL, PASSWORD) if secret in shown] == []
    assert REDACTED in json.dumps(dict(span.attributes or {}))
    assert REDACTED in json.dumps([dict(event.attributes or {}) for event in span.events])
