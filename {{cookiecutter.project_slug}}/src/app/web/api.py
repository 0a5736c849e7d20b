"""The HTTP API, put together."""

import json
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from ninja.parser import Parser
from ninja.renderers import BaseRenderer
from pydantic_core import to_json

from ..core.errors import MalformedInputError, UnsupportedMediaTypeError
from .health import router as health_router
from .metrics import router as metrics_router
from .openapi import DocumentedAPI
from .orders.api import router as orders_router

_JSON = ("application/json", "+json")


class JsonRenderer(BaseRenderer):
    """JSON as pydantic writes it: Django's own encoder cuts microseconds off."""

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        """Return the body of an answer."""
        return to_json(data)


class JsonParser(Parser):
    """Reads bodies that say that they are JSON, and guesses at no other."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return what a body says.

        Raises:
            UnsupportedMediaTypeError: It says that it is something else.
            MalformedInputError: It is no JSON.

        """
        if not (request.content_type or "").endswith(_JSON):
            raise UnsupportedMediaTypeError
        try:
            return json.loads(request.body)
        except (ValueError, RecursionError):
            raise MalformedInputError(public_message="The request body is not valid JSON.") from None


api = DocumentedAPI(
    title=settings.SERVICE.service_name,
    version=settings.SERVICE.service_version,
    renderer=JsonRenderer(),
    parser=JsonParser(),
    openapi_url="/openapi.json",
    docs_url="/docs",
)
api.add_router("/orders", orders_router)
api.add_router("", health_router)
if settings.SERVICE.metrics.enabled:
    api.add_router("", metrics_router)
