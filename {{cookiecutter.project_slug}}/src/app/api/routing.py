"""What the router knows of a path: its template, its methods, its endpoint.

FastAPI keeps included routers as a tree, so a route's own `path` lacks the prefix it was included with; the full
template stands in the context that FastAPI leaves in the scope.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import Scope

UNMATCHED = "unmatched"
# Set by middleware that answers instead of the router.
TEMPLATE = "app.route_template"


@dataclass(frozen=True, slots=True)
class RouteInfo:
    """A route as the metrics, the 405 answer and idempotency see it."""

    template: str
    pattern: re.Pattern[str]
    methods: frozenset[str]
    endpoint: Callable[..., Any]


def route_template(scope: Scope) -> str:
    """Return the template of the route that a request took, such as `/orders/{order_id}`, or `unmatched`.

    Args:
        scope: The request, after routing.

    """
    if TEMPLATE in scope:
        return str(scope[TEMPLATE])
    if "route" not in scope and "endpoint" in scope:
        return _template_of(scope)
    context = scope.get("fastapi", {}).get("effective_route_context")
    route = context if context is not None else scope.get("route")
    return getattr(route, "path_format", None) or getattr(route, "path", None) or UNMATCHED


def _template_of(scope: Scope) -> str:
    """Return the template of a route of Starlette itself, such as the documentation: it leaves only its endpoint."""
    routes = routes_of(scope["app"])
    return next((route.template for route in routes if route.endpoint is scope["endpoint"]), UNMATCHED)


def routes_of(app: FastAPI) -> Iterator[RouteInfo]:
    """Yield every HTTP route of an application, those of included routers too.

    Args:
        app: The application.

    """
    for context in iter_route_contexts(app.routes):
        if context.methods and context.endpoint is not None:
            template = context.path_format or context.path or ""
            yield RouteInfo(template, context.path_regex, frozenset(context.methods), context.endpoint)


def allowed_methods(app: FastAPI, path: str) -> list[str]:
    """Return all methods that a path answers; Starlette itself names those of the first route only.

    Args:
        app: The application.
        path: The path of the request.

    """
    return sorted({method for route in routes_of(app) if route.pattern.match(path) for method in route.methods})
