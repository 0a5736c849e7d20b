"""Nothing secret that a request brings or an endpoint says is in its line, its answer, its span or a report."""

import json
from urllib.parse import quote

import httpx2
import pytest
from fastapi import FastAPI, HTTPException
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.adapters.tracing import Tracing
from app.api.application import create_app
from app.bootstrap import bootstrap
from app.core.errors import AppError, BusinessRuleError, NotFoundError
from app.core.redaction import REDACTED
from app.settings import Settings

from ..conftest import Log
from ..fakes import CARD, EMAIL, PASSWORD, part

JWT = ".".join([part("eyJ", "hbGciOiJIUzI1NiJ9"), part("eyJ", "zdWIiOiIxIn0"), "c2ln" * 8])
SECRETS = {"address": EMAIL, "card": CARD, "token": JWT, "key": part("AK", "IA", "QRSTUVWXYZ234567")}


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("path", ["/orders/{}", "/nowhere/{}", "/{}", "/orders?q={}", "/orders?cursor=1&email={}"])
async def test_request_line(client: httpx2.AsyncClient, log: Log, path: str, secret: str) -> None:
    """A secret in the path or the query is neither in the request's line nor in the answer."""
    response = await client.get(path.replace("{}", quote(secret)), headers={"user-agent": f"agent/1 ({secret})"})
    (line,) = log.named("http.request")
    assert line["user_agent"] == f"agent/1 ({REDACTED})"
    for text in ("".join(log), response.text):
        assert secret not in text
        assert quote(secret) not in text


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "X-Api-Key", "Referer", "X-Correlation-ID"])
async def test_headers(client: httpx2.AsyncClient, log: Log, name: str) -> None:
    """A secret in a header is in no line."""
    await client.get("/nowhere", headers={name: f"Bearer {PASSWORD} {CARD}"})
    assert [secret for secret in (PASSWORD, CARD) if secret in "".join(log)] == []


@pytest.mark.parametrize("member", ["sku", "quantity", "customer_email", "extra"])
async def test_body(client: httpx2.AsyncClient, log: Log, member: str) -> None:
    """A secret in a body is in no line, and an answer that refuses it does not repeat it."""
    order = {"sku": "A-1", "quantity": 1, "customer_email": EMAIL, member: CARD}
    response = await client.post("/orders", json=order)
    for text in ("".join(log), "" if response.is_success else response.text):
        assert [secret for secret in (CARD, EMAIL) if secret in text] == []


ERRORS = [
    BusinessRuleError(public_message=f"No account for {EMAIL}.", details={"customer_email": EMAIL, "cards": [CARD]}),
    NotFoundError(f"no account for {EMAIL}", details={"login": {"password": PASSWORD}}),
    HTTPException(409, f"taken by {EMAIL}"),
    RuntimeError(f"postgresql://app:{PASSWORD}@db/app is down"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_problem(client: httpx2.AsyncClient, app: FastAPI, log: Log, error: Exception) -> None:
    """A problem document shows no secret, though the endpoint put one into its sentence or its details."""

    @app.get("/fails")
    def fails() -> None:
        raise error

    response = await client.get("/fails")
    assert response.headers["content-type"] == "application/problem+json"
    for text in ("".join(log), response.text):
        assert [secret for secret in (EMAIL, CARD, PASSWORD) if secret in text] == []
    if isinstance(error, AppError):
        assert REDACTED in response.text


async def test_span(settings: Settings) -> None:
    """A span shows no secret: not in its attributes, its events or its status."""
    exporter = InMemorySpanExporter()
    services = bootstrap(settings, tracing=Tracing(settings, processor=SimpleSpanProcessor(exporter)))
    app = create_app(settings, services=services)

    @app.get("/fails/{user}")
    def fails(user: str) -> None:
        msg = f"no account for {user}, password={PASSWORD}"
        raise RuntimeError(msg)

    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=transport, base_url="http://s") as client:
        await client.get(f"/fails/{EMAIL}?token={PASSWORD}")
    (span,) = (span for span in exporter.get_finished_spans() if span.name == "GET /fails/{user}")
    shown = span.to_json()
    assert [secret for secret in (EMAIL, PASSWORD) if secret in shown] == []
    assert REDACTED in json.dumps(dict(span.attributes or {}))
    assert REDACTED in json.dumps([dict(event.attributes or {}) for event in span.events])
