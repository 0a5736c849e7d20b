"""The application, put together."""

import httpx2
import pytest
from fastapi import FastAPI, Request, WebSocket, WebSocketException
from fastapi.responses import PlainTextResponse
from starlette.types import Message

from app.adapters.database import Database
from app.api.application import create_app
from app.bootstrap import Services

from ..processes import run_python

TRACED = """
import asyncio
import httpx2
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from app.api.application import create_app
from app.settings import load_settings
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
async def main():
    transport = httpx2.ASGITransport(app=create_app(load_settings()))
    async with httpx2.AsyncClient(transport=transport, base_url="http://s") as client:
        await client.get("/livez")
asyncio.run(main())
print(len(exporter.get_finished_spans()))
"""


def test_no_second_span() -> None:
    """Where a library has set OpenTelemetry's global provider, FastAPI makes no span beside the service's own."""
    ended = run_python("-c", TRACED)
    assert ended.stdout.splitlines()[-1:] == ["0"], ended.stderr


async def test_stopping_closes(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the application stops, what was opened is closed."""
    closed: list[str] = []
    close = Database.aclose

    async def noted(database: Database) -> None:
        # Migrating opens a database of its own, and closes it.
        closed.extend(["database"] if database is services.database else [])
        await close(database)

    monkeypatch.setattr(Database, "aclose", noted)
    app = create_app(services.settings, services=services)
    async with app.router.lifespan_context(app):
        assert closed == []
    assert closed == ["database"]


async def test_own_exception_handlers_work(services: Services) -> None:
    """A handler that the owner registers answers, for errors of endpoints and of the router alike."""
    app = create_app(services.settings, services=services)

    async def gone(_request: Request, _error: Exception) -> PlainTextResponse:
        return PlainTextResponse("gone", 410)

    @app.get("/raises")
    async def raises() -> None:
        raise LookupError

    app.add_exception_handler(LookupError, gone)
    app.add_exception_handler(404, gone)
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://s") as client:
        assert [(await client.get(path)).status_code for path in ("/raises", "/nowhere")] == [410, 410]


async def test_websockets_are_closed_as_the_framework_does(app: FastAPI) -> None:
    """An error that names a code closes the connection with it: only requests have fewer layers around them."""

    @app.websocket("/refuses")
    async def refuses(socket: WebSocket) -> None:
        await socket.accept()
        raise WebSocketException(code=4001)

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/refuses", "headers": [], "query_string": b"", "scheme": "ws"}
    await app(scope, receive, send)
    assert [(message["type"], message.get("code")) for message in sent] == [
        ("websocket.accept", None),
        ("websocket.close", 4001),
    ]
