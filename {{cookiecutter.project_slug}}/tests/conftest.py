"""What tests share: settings that touch nothing outside a temporary folder, the application, and its log."""

import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.adapters.logging import configure_logging
from app.api.application import create_app
from app.bootstrap import Services, bootstrap
from app.settings import Settings


@pytest.fixture(autouse=True)
def _own_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's `.env` and variables out of the tests."""
    monkeypatch.chdir(tmp_path)
    own = tuple(name.upper() for name in Settings.model_fields)
    for name in [name for name in os.environ if name.startswith((*own, "OTEL_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings for a database of the test's own."""
    return Settings(
        environment="test", service_name="orders", service_version="1.2.3", database_url=f"sqlite:///{tmp_path}/test.db"
    )


class Log(list[str]):
    """The lines that were logged."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """The lines as JSON."""
        return [json.loads(line) for line in self]

    def named(self, event: str) -> list[dict[str, Any]]:
        """Return the lines of one event."""
        return [line for line in self.events if line["event"] == event]


@pytest.fixture
def log(settings: Settings) -> Iterator[Log]:
    """Return the log as JSON lines, from here to the end of the test."""
    lines = Log()
    configure_logging(
        settings.model_copy(update={"log": settings.log.model_copy(update={"format": "json"})}), sink=lines.append
    )
    yield lines
    configure_logging(settings, sink=lambda _line: None)


@pytest.fixture
async def services(settings: Settings) -> AsyncIterator[Services]:
    """Return the service's parts; closed when the test ends."""
    built = bootstrap(settings)
    yield built
    await built.aclose()


@pytest.fixture
def app(settings: Settings, services: Services) -> FastAPI:
    """Return the application, not started."""
    return create_app(settings, services=services)


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Return a client of the started application."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://service") as http,
    ):
        yield http
