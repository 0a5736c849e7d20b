"""Static files."""

import threading
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings

from app.web.bootstrap import Services
from app.web.handlers import ServiceASGIHandler
from app.web.static import StaticMiddleware

CSS = "/static/admin/css/base.css"


@pytest.mark.parametrize("refresh", [False, True])
def test_file(services: Services, refresh: bool) -> None:
    """A file is served with its type, under WSGI as a stream."""
    with override_settings(WHITENOISE_AUTOREFRESH=refresh):
        response: Any = Client().get(CSS)
        assert (response.status_code, response["content-type"]) == (200, 'text/css; charset="utf-8"')
        assert len(b"".join(response)) == int(response["content-length"])
        assert Client().get("/static/none.css").status_code == 404


@pytest.mark.parametrize("refresh", [False, True])
async def test_file_under_asgi(services: Services, refresh: bool) -> None:
    """Under ASGI it is read in a thread, as a whole."""
    with override_settings(WHITENOISE_AUTOREFRESH=refresh):
        response: Any = await AsyncClient().get(CSS)
        assert (response.status_code, response["content-type"]) == (200, 'text/css; charset="utf-8"')
        assert len(response.content) == int(response["content-length"])
        assert (await AsyncClient().get("/static/none.css")).status_code == 404


async def test_not_changed(services: Services) -> None:
    """Who has a file already is told so."""
    first = await AsyncClient().get(CSS)
    again = await AsyncClient().get(CSS, headers={"if-modified-since": first["last-modified"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_no_thread_for_other_requests() -> None:
    """A request that is for no file passes on the event loop."""
    threads: list[threading.Thread] = []

    async def further_in(request: HttpRequest) -> HttpResponse:
        threads.append(threading.current_thread())
        return HttpResponse()

    await StaticMiddleware(further_in)(RequestFactory().get("/orders"))
    assert threads == [threading.current_thread()]


def test_whole_chain_is_on_the_event_loop(services: Services) -> None:
    """No middleware makes Django run those around it in a thread."""
    chain: Any = vars(ServiceASGIHandler())["_middleware_chain"]
    while chain is not None:
        assert iscoroutinefunction(chain), chain
        inside = getattr(chain, "__wrapped__", chain)
        chain = getattr(inside, "get_response", None)
