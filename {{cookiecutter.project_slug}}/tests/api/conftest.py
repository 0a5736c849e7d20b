"""What tests of the HTTP API share: the service's parts, the application and a client of it."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI

from app.api.application import create_app
from app.bootstrap import Services, bootstrap
from app.settings import Settings


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
