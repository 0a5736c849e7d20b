"""Requests with a key under WSGI and under ASGI, and views that act as a test says."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from asgiref.sync import async_to_sync
from django.db import connections
from django.test import AsyncClient, Client, override_settings
from django.urls import path

from app.web import urls

INTERFACES = ("wsgi", "asgi")
ORDER = {"sku": "TEA-42", "quantity": 2, "customer_email": "ada@example.com"}
KEY = {"idempotency-key": "key-1"}
View = Callable[..., Any]


@dataclass(frozen=True)
class Caller:
    """A client of the service.

    Attributes:
        interface: One of `INTERFACES`.

    """

    interface: str

    def post(self, address: str, body: Any = None, key: str | None = "key-1", **headers: str) -> Any:
        """Send a POST with JSON, or with bytes as they are, and a key."""
        sent = {**headers, **({} if key is None else {"idempotency-key": key})}
        return self.request("POST", address, body, sent)

    def request(self, method: str, address: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        """Send a request; the thread-sensitive part of one under ASGI runs in this thread."""
        client: Any = Client if self.interface == "wsgi" else AsyncClient
        send = client(raise_request_exception=False).generic
        given = _bytes(body)
        options: dict[str, Any] = {"content_type": "application/json", "headers": headers or {}}
        if self.interface == "wsgi":
            return send(method, address, given, **options)

        async def sending() -> Any:
            return await send(method, address, given, **options)

        return async_to_sync(sending)()

    def place(self, key: str | None = "key-1", **fields: Any) -> Any:
        """Place an order."""
        return self.post("/orders", {**ORDER, **fields}, key)

    def count(self) -> int:
        """Return how many orders there are."""
        found = self.request("GET", "/orders?limit=100").json()["items"]
        return len(found)


def _bytes(body: Any) -> bytes:

    return body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()


@contextmanager
def serving(**views: View) -> Iterator[None]:
    """Serve further views inside the block, each under its name.

    Args:
        views: What takes a request and returns a response.

    """
    module: Any = ModuleType("urls_of_a_test")
    more = [path(name, view) for name, view in views.items()]
    module.urlpatterns = [*more, *urls.urlpatterns]
    for name in ("handler400", "handler403", "handler404", "handler500"):
        setattr(module, name, getattr(urls, name))
    with override_settings(ROOT_URLCONF=module):
        yield


def in_thread(act: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that leaves no connection in the thread that calls it.

    Args:
        act: What it does.

    """

    def run(*arguments: Any) -> Any:
        try:
            return act(*arguments)
        finally:
            connections.close_all()

    return run
