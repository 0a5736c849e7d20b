"""Middleware that fails, and that takes a header's word for who calls."""

# mypy: disable-error-code="import-not-found,import-untyped"

from collections.abc import Callable
from typing import Any

from app.core.context import set_user_id
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest


class _Middleware:
    """Passes requests on, under WSGI and under ASGI."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        """Wrap *get_response*."""
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        """Handle one request."""
        return self.get_response(request)


class CrashMiddleware(_Middleware):
    """Fails outside every view, on one path."""

    def __call__(self, request: HttpRequest) -> Any:
        """Handle one request."""
        if request.path == "/probe/crash-in-middleware":
            msg = "boom in middleware"
            raise RuntimeError(msg)
        return super().__call__(request)


class CallerMiddleware(_Middleware):
    """Takes a header's word for who calls, which is where authentication would be."""

    def __call__(self, request: HttpRequest) -> Any:
        """Handle one request."""
        user = request.headers.get("x-probe-user")
        if user is not None:
            set_user_id(user)
        return super().__call__(request)
