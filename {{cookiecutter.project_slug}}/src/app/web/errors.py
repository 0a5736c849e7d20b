"""Every error as a problem document: the service's, Ninja's, Django's, and those of middleware.

Exceptions pass through Ninja untouched. Those of views are translated by the middleware, the others, as of a path that
nobody serves, where Django asks the handlers in `urls.py` for a page. Who asks for HTML where there are pages, as a
browser does in the admin site, gets Django's own.
"""

import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.views import csrf, defaults

from ..core import problem
from ..core.context import current_context, request_context
from ..core.errors import SecurityError
from ..core.negotiation import prefers_html
from ..core.problem import Problem
from ..core.problem_answer import problem_body, report_context
from ..core.tracing import accept_request_id, continue_trace, read_trace
from .bootstrap import current_services
from .request_state import error_of, ids_of, is_observed, keep_ids, note_error, refusal_of
from .routing import is_of_api, match_of, route_template
from .translation import problem_of

__all__ = ["ErrorsMiddleware", "answer_error", "error_of", "note_error", "problem_response", "report", "translate"]
GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]
SERVER_ERROR = 500
# What belongs to a body that is replaced.
_OF_BODY = ("Content-Encoding", "ETag")


def translate(error: BaseException, request: HttpRequest) -> Problem:
    """Return what the caller is told of an error.

    Args:
        error: What was raised.
        request: The request.

    """
    return problem_of(error)


def problem_response(found: Problem, request: HttpRequest) -> HttpResponse:
    """Return a problem as a response.

    Args:
        found: The problem.
        request: The request that it answers.

    """
    body = problem_body(found, request.path)
    # No other middleware may be left to count it.
    headers = {"Content-Length": str(len(body)), **found.headers}
    return HttpResponse(body, problem.MEDIA_TYPE, found.status, headers=headers)


def report(request: HttpRequest, error: BaseException, found: Problem | None = None) -> None:
    """Report an error when it is a fault of the service, once.

    Args:
        request: The request that it belongs to.
        error: What was raised.
        found: What the caller is told of it; nothing more, when its answer had begun.

    """
    found = found or problem.unexpected()
    if found.status >= SERVER_ERROR:
        context = report_context(found, request.method or "", route_template(request), request.path)
        # Of a request that is observed, the access line has the exception.
        current_services().reporting.report(error, context, in_log=is_observed(request))


def answer_error(request: HttpRequest, error: BaseException) -> HttpResponse:
    """Return an error as a problem document, noted and, when it is a fault of the service, reported.

    Args:
        request: The request.
        error: What was raised.

    """
    note_error(request, error)
    with _identified(request) as ids:
        found = translate(error, request)
        report(request, error, found)
        response = problem_response(found, request)
    _add_headers(response, ids)
    return response


def _add_headers(response: HttpResponse, headers: Mapping[str, str]) -> None:
    for name, value in headers.items():
        response.headers[name] = value


@contextmanager
def _identified(request: HttpRequest) -> Iterator[Mapping[str, str]]:
    """Give the request its ids where no middleware has, or where they went with it, and return the headers with them.

    They are those that the caller sent, and the same for all that happens to one request.
    """
    if "request_id" in current_context():
        yield {}
        return
    ids = ids_of(request)
    if ids is None:
        sent = [request.headers.get(name) for name in ("traceparent", "tracestate", "x-request-id")]
        traceparents, tracestates, request_ids = ([] if value is None else [value] for value in sent)
        trace = continue_trace(read_trace(traceparents, tracestates))
        ids = {"request_id": accept_request_id(request_ids), "trace_id": trace.trace_id}
        keep_ids(request, ids)
    with request_context(**ids):
        yield {"X-Request-ID": ids["request_id"], "X-Trace-ID": ids["trace_id"]}


def wants_page(request: HttpRequest) -> bool:
    """Return whether an error is shown as a page: HTML is asked for, at a path that has pages.

    Args:
        request: The request.

    """
    if not prefers_html(request.META.get("HTTP_ACCEPT", "")):
        return False
    match = match_of(request)
    return settings.DEBUG if match is None else not is_of_api(match)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what Django refuses to read."""
    if wants_page(request):
        return defaults.bad_request(request, exception)
    return answer_error(request, exception)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer what the caller may not do."""
    if wants_page(request):
        return defaults.permission_denied(request, exception)
    return answer_error(request, exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer for what is not there."""
    if wants_page(request):
        return defaults.page_not_found(request, exception)
    return answer_error(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer what nobody foresaw; Django calls this while the exception is handled."""
    if wants_page(request):
        return defaults.server_error(request)
    return answer_error(request, sys.exc_info()[1] or RuntimeError("Django met an error and does not say which."))


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form that may have been sent by another site; Django has logged why.

    Args:
        request: The request.
        reason: What is wrong with its token.

    """
    if wants_page(request):
        return csrf.csrf_failure(request, reason)
    return answer_error(request, SecurityError(reason, public_message="The CSRF token is missing or wrong."))


def note_unhandled(request: HttpRequest | None = None, **_: object) -> None:
    """Note and report an error that Django makes a page of, as its signal `got_request_exception` says.

    Args:
        request: The request.

    """
    error = sys.exc_info()[1]
    if request is not None and error is not None:
        note_error(request, error)
        with _identified(request):
            report(request, error, translate(error, request))


class ErrorsMiddleware:
    """Turns whatever goes wrong further in into a problem document, and reports it.

    Args:
        get_response: What is further in.

    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Handle one request."""
        if self._is_async:
            return self._answer_async(request)
        refusal = refusal_of(request)
        if refusal is not None:
            return answer_error(request, refusal)
        response = cast(HttpResponseBase, self.get_response(request))
        if response.status_code >= 400:
            _complete(request, response)
        return response

    async def _answer_async(self, request: HttpRequest) -> HttpResponseBase:
        refusal = refusal_of(request)
        if refusal is not None:
            return answer_error(request, refusal)
        response = await cast(Awaitable[HttpResponseBase], self.get_response(request))
        if response.status_code >= 400:
            _complete(request, response)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer an error of a view, unless Django is to show a page."""
        return None if wants_page(request) else answer_error(request, exception)


def _complete(request: HttpRequest, response: HttpResponseBase) -> None:
    """Make a problem document of an answer that Django or Ninja gave without one; report a fault that is none yet."""
    error = error_of(request)
    if error is not None and response.status_code >= SERVER_ERROR:
        with _identified(request):
            report(request, error, translate(error, request))
    if not isinstance(response, HttpResponse) or response.headers.get("Content-Type") == problem.MEDIA_TYPE:
        return
    if isinstance(response, HttpResponseNotAllowed):
        allowed = sorted(method.strip() for method in response.headers["Allow"].split(","))
        found: Problem | None = problem.from_status(405, None, {"allow": ", ".join(allowed)})
    else:
        found = _of_technical_page(request, response) if settings.DEBUG else None
    if found is not None and not wants_page(request):
        with _identified(request) as ids:
            _become(response, found, request)
        _add_headers(response, ids)


def _of_technical_page(request: HttpRequest, response: HttpResponse) -> Problem | None:
    """Return the problem behind a page that Django made because of DEBUG, before it asked anybody for another."""
    error = error_of(request)
    if error is not None:
        return translate(error, request)
    is_page = response.status_code in (400, 404) and response.headers.get("Content-Type", "").startswith("text/")
    return problem.from_status(response.status_code) if is_page else None


def _become(response: HttpResponse, found: Problem, request: HttpRequest) -> None:
    """Make a response a problem document; what other middleware has put on it stays."""
    for name in _OF_BODY:
        del response[name]
    body = response.content = problem_body(found, request.path)
    response.status_code = found.status
    length = str(len(body))
    _add_headers(response, {"Content-Type": problem.MEDIA_TYPE, "Content-Length": length, **found.headers})
