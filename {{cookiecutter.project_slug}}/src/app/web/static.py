"""Static files, which are those of the admin site, by WhiteNoise.

It knows no event loop: under ASGI Django would run it in a thread, and with it all middleware around it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from whitenoise.middleware import WhiteNoiseMiddleware

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]
_METHODS = ("GET", "HEAD")


class StaticMiddleware(WhiteNoiseMiddleware):
    """Answers with static files; only these cost a thread under ASGI.

    Args:
        get_response: What is further in.

    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        super().__init__(get_response)
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:  # type: ignore[override] # as WhiteNoise itself does
        """Handle one request; no coroutine of its own for one that is for no file."""
        if not (self.autorefresh or request.path_info in self.files):
            return self.get_response(request)
        if self._is_async:
            return self._answer_async(request)
        file = self._find(request)
        return self.get_response(request) if file is None else _refused(request) or self.serve(file, request)

    def _find(self, request: HttpRequest) -> Any:
        path = request.path_info
        return self.find_file(path) if self.autorefresh else self.files.get(path)

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        file = await sync_to_async(self._find)(request)
        if file is None:
            response: HttpResponseBase = await self.get_response(request)
            return response
        return _refused(request) or await sync_to_async(self._read)(file, request)

    def _read(self, file: Any, request: HttpRequest) -> HttpResponse:
        """Return a file as a whole, as Django would under ASGI, with a warning each time."""
        streamed = self.serve(file, request)
        response = HttpResponse(b"".join(streamed), status=streamed.status_code, headers=dict(streamed.items()))
        # Not the response: closing that would tell Django that the request is over.
        opened = getattr(streamed, "file_to_stream", None)
        if opened is not None:
            opened.close()
        return response


def _refused(request: HttpRequest) -> HttpResponse | None:
    return None if request.method in _METHODS else HttpResponseNotAllowed(_METHODS)
