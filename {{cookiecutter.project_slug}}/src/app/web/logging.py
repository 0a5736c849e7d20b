"""Django's records, gunicorn's and everybody else's in the service's own shape, and a logger for views."""

import logging
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest

from ..adapters.logging import configure_logging
from ..core.logging import Logger, get_logger
from .request_state import is_observed
from .routing import route_template, view_of

# What the access line says of a request already.
_OF_REQUESTS = "django.request"


def configure(_logging: Mapping[str, Any]) -> None:
    """Set logging up, as Django calls it while it starts.

    Args:
        _logging: Django's setting `LOGGING`; the service's settings say what is logged.

    """
    # Not at the top: Django's settings name this function while they are read.
    from .bootstrap import current_services

    services = current_services()
    configure_logging(services.settings, on_event=services.metrics.log_record)
    # The same function each time, so that it is there once.
    logging.getLogger(_OF_REQUESTS).addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Return whether a record says more than how a request went that has an access line."""
    request = getattr(record, "request", None)
    return not (isinstance(request, HttpRequest) and is_observed(request))


def view_logger(request: HttpRequest) -> Logger:
    """Return a logger of the view that handles a request: its lines have the view's name and route.

    Args:
        request: The request, after Django has resolved its path.

    """
    view = view_of(request)
    name = __name__ if view is None else view.__module__
    return get_logger(name).bind(view=getattr(view, "__qualname__", None), route=route_template(request))
