"""What operations ask of a request before they run."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from ..core.errors import NotAcceptableError
from ..core.negotiation import accepts_json

Run = Callable[..., HttpResponseBase]


def json_only(run: Run) -> Run:
    """Refuse callers that accept no JSON: `router.add_decorator(json_only, mode="view")`.

    Args:
        run: What runs an operation.

    """

    @wraps(run)
    def checked(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        accept = request.META.get("HTTP_ACCEPT")
        if accept is not None and not accepts_json((accept,)):
            raise NotAcceptableError
        return run(request, *args, **kwargs)

    return checked
