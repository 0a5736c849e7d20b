"""What Django knows of a request's path: the template that it matched, and which operations the API has."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from django.contrib.admindocs.utils import (
    remove_non_capturing_groups,
    replace_metacharacters,
    replace_named_groups,
    replace_unnamed_groups,
)
from django.http import HttpRequest
from django.urls import Resolver404, ResolverMatch, resolve

UNMATCHED = "unmatched"
# `<uuid:id>` of a path, and `<id>` of one without a converter or of a regular expression's group.
_PARAMETER = re.compile(r"<(?:[^<>:]*:)?([^<>:]+)>")
_OF_REGULAR_EXPRESSION = re.compile(r"[\^$(\\]")
# What Ninja's URLs are included with.
_API = "ninja"


@dataclass(frozen=True, slots=True)
class Route:
    """An operation of the API, as metrics and idempotency see it.

    Attributes:
        template: Its path, such as `/orders/{order_id}`.
        methods: What it answers to.
        view: The function that it runs.

    """

    template: str
    methods: frozenset[str]
    view: Callable[..., Any]


def route_template(request: HttpRequest) -> str:
    """Return the template of the route that a request took, such as `/orders/{order_id}`, or `unmatched`.

    Args:
        request: The request, after Django has resolved its path.

    """
    match = request.resolver_match
    return UNMATCHED if match is None else template_of(match.route)


@lru_cache(maxsize=1024)
def template_of(route: str) -> str:
    """Return a route of Django's as a template.

    Args:
        route: As Django writes it: `orders/<uuid:id>`, or a regular expression.

    """
    if _OF_REGULAR_EXPRESSION.search(route):
        route = replace_unnamed_groups(replace_named_groups(remove_non_capturing_groups(route)))
        route = replace_metacharacters(route)
    return "/" + _PARAMETER.sub(r"{\1}", route).lstrip("/")


def match_of(request: HttpRequest) -> ResolverMatch | None:
    """Return where a request's path leads, also before Django has looked; None when it leads nowhere.

    Args:
        request: The request.

    """
    if request.resolver_match is not None:
        return request.resolver_match
    try:
        return resolve(request.path_info)
    except Resolver404:
        return None


def is_of_api(match: ResolverMatch) -> bool:
    """Return whether a path belongs to the API, not to the admin site or another page.

    Args:
        match: Where it leads.

    """
    return _API in match.app_names


def routes() -> Iterator[Route]:
    """Yield every operation of the API."""
    # Not at the top: operations import what stands here.
    from .api import api

    for router in api._get_bound_routers():  # noqa: SLF001 -- Ninja's own OpenAPI document is made from them
        for path, view in router.path_operations.items():
            template = template_of("/".join(part.strip("/") for part in (router.prefix, path) if part.strip("/")))
            for operation in view.operations:
                yield Route(template, frozenset(operation.methods), operation.view_func)


def view_of(request: HttpRequest) -> Callable[..., Any] | None:
    """Return what handles a request: an operation's function, a view, or the class of one; None before that is known.

    Args:
        request: The request.

    """
    match = request.resolver_match
    if match is None:
        return None
    if is_of_api(match):
        operation = _operations().get((template_of(match.route), request.method))
        if operation is not None:
            return operation
    view: Callable[..., Any] = getattr(match.func, "view_class", match.func)
    return view


@lru_cache(maxsize=1)
def _operations() -> Mapping[tuple[str, str | None], Callable[..., Any]]:
    return {(route.template, method): route.view for route in routes() for method in route.methods}
