"""What tests of the Django service share: parts of the test's own, and clients of both kinds."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client

from app.settings import Settings
from app.web.bootstrap import Services, bootstrap, using_services
from app.web.configuration import DjangoSettings


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    """Return the service's parts, which the process works with until the test ends."""
    built = bootstrap(DjangoSettings(**settings.model_dump()))
    with using_services(built):
        yield built
    built.close()


@pytest.fixture
def client(services: Services) -> Client:
    """Return a client of the service under WSGI; an error is an answer, as a caller sees it."""
    return Client(raise_request_exception=False)


@pytest.fixture
def async_client(services: Services) -> AsyncClient:
    """Return a client of the service under ASGI; an error is an answer, as a caller sees it."""
    return AsyncClient(raise_request_exception=False)


Ask = Callable[..., Any]


@pytest.fixture(params=["wsgi", "asgi"])
def ask(request: pytest.FixtureRequest, services: Services) -> Ask:
    """Return what sends a request, by method and path, under WSGI and under ASGI, and returns the answer."""
    if request.param == "wsgi":
        return Client(raise_request_exception=False).generic
    client = AsyncClient(raise_request_exception=False)

    async def send(*args: Any, **options: Any) -> Any:
        return await client.generic(*args, **options)

    return async_to_sync(send)
