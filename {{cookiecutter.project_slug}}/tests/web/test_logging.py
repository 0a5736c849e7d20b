"""Records of Django, gunicorn and others in the service's own shape, and the logger of a view."""

import logging

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.urls import path

from app.core.logging import get_logger
from app.web.bootstrap import Services
from app.web.logging import configure, view_logger
from app.web.request_state import mark_observed
from app.web.routing import match_of

from ..conftest import Log
from .paths import serving


@pytest.mark.parametrize("name", ["gunicorn.access", "django.server", "uvicorn.access"])
def test_other_access_logs_are_silent(services: Services, log: Log, name: str) -> None:
    """What a server says of each request the access line says as well."""
    logging.getLogger(name).info('"GET / HTTP/1.1" 200')
    assert log == []


@pytest.mark.parametrize("name", ["gunicorn.error", "django.security.csrf", "django.db.backends", "django"])
def test_other_records_stay(services: Services, log: Log, name: str) -> None:
    """Everything else is a line in the service's own shape."""
    logging.getLogger(name).warning("something %s", "else")
    (line,) = log.events
    assert (line["logger"], line["event"], line["level"], line["service"]) == (
        name,
        "something else",
        "warning",
        "orders",
    )


def test_repetition(services: Services, log: Log) -> None:
    """Django's record about a request that has an access line is left out; others of the same logger stay."""
    logger, observed, other = logging.getLogger("django.request"), RequestFactory().get("/"), RequestFactory().get("/")
    mark_observed(observed)
    for request in (observed, other, None):
        logger.warning("Not Found: /", extra={"request": request} if request else {})
    assert len(log.events) == 2


def test_configured_by_django(services: Services, capfd: pytest.CaptureFixture[str]) -> None:
    """Django's own setting sets the service's logging up."""
    from django.conf import settings
    from django.utils.module_loading import import_string

    assert import_string(settings.LOGGING_CONFIG) is configure
    # Django calls it with nothing but this, and not at all when it is empty.
    assert settings.LOGGING


def test_view_logger(services: Services, log: Log) -> None:
    """A view's logger names the view and its route, and the request's ids come from the context."""

    def page(request: HttpRequest, number: int) -> HttpResponse:
        view_logger(request).info("seen", number=number)
        get_logger("anywhere").info("below")
        return HttpResponse()

    with serving(path("pages/<int:number>", page)):
        Client().get("/pages/7")
    (line,) = log.named("seen")
    assert (line["route"], line["number"]) == ("/pages/{number}", 7)
    assert line["view"].endswith("page")
    assert line["logger"] == page.__module__
    (access,) = log.named("http.request")
    assert line["request_id"] == access["request_id"] == log.named("below")[0]["request_id"]


def test_logger_of_an_operation(services: Services, log: Log) -> None:
    """An operation's logger names its function; before the path is known there is none."""
    request = RequestFactory().post("/orders")
    view_logger(request).info("before")
    request.resolver_match = match_of(request)
    view_logger(request).info("after")
    before, after = log.events
    assert (before["view"], before["route"]) == (None, "unmatched")
    assert (after["view"], after["route"], after["logger"]) == ("place_order", "/orders", "app.web.orders.api")
