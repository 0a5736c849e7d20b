"""Templates and methods of routes."""

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import include, path, re_path
from django.views import View
from ninja import Router

from app.web.bootstrap import Services
from app.web.orders.api import place_order
from app.web.routing import match_of, routes, template_of, view_of

from ..conftest import Log
from .conftest import Ask
from .paths import operations, serving


@pytest.mark.parametrize(
    ("route", "template"),
    [
        ("", "/"),
        ("orders", "/orders"),
        ("orders/<order_id>", "/orders/{order_id}"),
        ("a/<int:a>/<path:b>/", "/a/{a}/{b}/"),
        ("admin/orders/orderrecord/<path:object_id>/change/", "/admin/orders/orderrecord/{object_id}/change/"),
        ("admin/(?P<url>.*)$", "/admin/{url}"),
        (r"admin/^(?P<app_label>auth|orders)/$", "/admin/{app_label}/"),
        (r"^files/(?P<name>[\w.]+(?:-x)?)/(\d+)/?$", "/files/{name}/{var}/"),
    ],
)
def test_template(route: str, template: str) -> None:
    """A route as Django writes it, a regular expression too, is a template as FastAPI writes it."""
    assert template_of(route) == template


def test_template_of_nested_routers(ask: Ask, log: Log) -> None:
    """A route of a router within a router, or of an included path, is named with all its prefixes."""
    inner, outer = Router(), Router()

    @inner.get("/items/{int:item}")
    def item(request: HttpRequest, shop: str, item: int) -> None: ...

    outer.add_router("/{shop}", inner)
    included = include([re_path(r"^y/(?P<year>\d{4})$", lambda request, year: HttpResponse())])
    with serving(operations(("/shops", outer)), path("years/", included)):
        ask("GET", "/shops/7/items/8")
        ask("GET", "/years/y/2026")
    routes_of_lines = [line["route"] for line in log.named("http.request")]
    assert routes_of_lines == ["/shops/{shop}/items/{item}", "/years/y/{year}"]


@pytest.mark.parametrize("where", ["/openapi.json", "/docs", "/admin/login/"])
def test_template_of_pages(ask: Ask, log: Log, where: str) -> None:
    """Ninja's own paths and Django's are named too."""
    ask("GET", where)
    assert log.named("http.request")[0]["route"] == where


def test_unmatched(ask: Ask, log: Log) -> None:
    """A path that nobody serves has one template for all."""
    ask("GET", "/nowhere/1")
    assert log.named("http.request")[0]["route"] == "unmatched"


def test_routes() -> None:
    """The API's operations are listed with their templates and methods."""
    listed = {(route.template, *route.methods) for route in routes()}
    assert {("/orders", "GET"), ("/orders", "POST"), ("/orders/{order_id}/cancel", "POST"), ("/livez", "GET")} <= listed


def test_match_before_django_has_looked() -> None:
    """Where a path leads is known before Django has looked, and that it leads nowhere."""
    match = match_of(RequestFactory().get("/orders/1"))
    assert match is not None
    assert match.kwargs == {"order_id": "1"}
    assert match_of(RequestFactory().get("/nowhere")) is None


def test_view(services: Services) -> None:
    """What handles a request is an operation's function, a view's class, or the view."""
    seen: list[object] = []

    class Page(View):
        def get(self, request: HttpRequest) -> HttpResponse:
            seen.append(view_of(request))
            return HttpResponse()

    def page(request: HttpRequest) -> HttpResponse:
        seen.append(view_of(request))
        return HttpResponse()

    with serving(path("class", Page.as_view()), path("function", page)):
        Client().get("/class")
        Client().get("/function")
    assert seen == [Page, page]
    request = RequestFactory().post("/orders")
    assert view_of(request) is None
    request.resolver_match = match_of(request)
    assert view_of(request) is place_order
