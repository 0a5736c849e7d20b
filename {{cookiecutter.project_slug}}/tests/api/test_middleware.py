"""The order of the middleware is one setting."""

from dataclasses import replace

import httpx2
import pytest

from app.api.application import create_app
from app.api.middleware import BUILDERS, middleware_stack
from app.bootstrap import Services
from app.settings import ConfigurationError, Settings
from app.settings_groups import HttpSettings


def with_middleware(services: Services, *names: str) -> Services:
    """Return the services with another list."""
    settings = services.settings.model_copy(update={"http": HttpSettings(middleware=names)})
    return replace(services, settings=settings)


def test_default_order(services: Services) -> None:
    """By default all of it is on, what reports outermost and what commits around what is kept."""
    names = [entry.cls.__name__ for entry in middleware_stack(services)]  # type: ignore[attr-defined]
    assert names == [
        "ObservabilityMiddleware",
        "ErrorsMiddleware",
        "BodyLimitMiddleware",
        "TransactionMiddleware",
        "IdempotencyMiddleware",
    ]
    assert Settings().http.middleware is None
    assert tuple(BUILDERS) == ("observability", "errors", "body_limit", "transaction", "idempotency")


async def test_switched_off(services: Services) -> None:
    """What the setting leaves out is not there."""
    app = create_app(services.settings, services=with_middleware(services, "errors", "transaction"))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url="http://s") as client:
        assert "x-request-id" not in (await client.get("/livez")).headers


def test_order_that_cannot_work(services: Services) -> None:
    """Idempotency without a transaction around it stops the start."""
    with pytest.raises(ConfigurationError, match="put 'transaction' before it"):
        middleware_stack(with_middleware(services, "errors", "idempotency", "transaction"))


def test_unknown_name(services: Services) -> None:
    """A name that nobody knows stops the start and says which are known."""
    with pytest.raises(
        ConfigurationError, match=r"HTTP__MIDDLEWARE: received \['gzip'\]; allowed: observability, errors"
    ):
        middleware_stack(with_middleware(services, "errors", "gzip"))
