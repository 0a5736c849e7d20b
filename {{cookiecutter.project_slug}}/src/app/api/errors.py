"""Every error as a problem document: the application's, the framework's, and those of middleware.

Exceptions pass through FastAPI untouched and are translated in one place, the middleware, which also sees what other
middleware raises. What is no answer that the caller asked for is reported there, once.
"""

import asyncio
from collections.abc import Awaitable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..adapters.failures import known_failure
from ..adapters.reporting import ErrorReporting
from ..core import problem
from ..core.context import current_context, request_context
from ..core.errors import AppError, InfrastructureError, UnsupportedMediaTypeError
from ..core.problem import Problem
from ..core.problem_answer import problem_body, report_context
from ..core.reporting import ErrorContext
from ..core.tracing import accept_request_id, continue_trace, read_trace
from .routing import allowed_methods, route_template

ERROR = "app.error"
BAD_REQUEST = 400
SERVER_ERROR = 500
_JSON = ("application/json", "+json")


def propagate(_request: Request, error: Exception) -> Response:
    """Let an error pass: registered so that no framework answers in its own format."""
    raise error


def register_error_handlers(app: FastAPI) -> None:
    """Make the application hand its errors to the middleware.

    Args:
        app: The application.

    """
    app.add_exception_handler(HTTPException, propagate)
    app.add_exception_handler(RequestValidationError, propagate)
    app.add_exception_handler(Exception, last_resort)


async def last_resort(request: Request, error: Exception) -> Response:
    """Answer what failed in a middleware around the one for errors, or without it, and report it.

    The ids of the request went with the middleware that gave them: those that the caller sent are taken again.
    """
    scope = request.scope
    trace = continue_trace(read_trace(*(request.headers.getlist(name) for name in ("traceparent", "tracestate"))))
    request_id = accept_request_id(request.headers.getlist("x-request-id"))
    with request_context(request_id=request_id, trace_id=trace.trace_id):
        found = translate(error, scope)
        if found.status >= SERVER_ERROR and not isinstance(error, ClientDisconnect) and scope.get(ERROR) is not error:
            reporting: ErrorReporting = request.app.state.services.reporting
            # The server logs it: it is raised once more.
            reporting.report(error, _context_of(scope, found), in_log=True)
        scope[ERROR] = error
        response = problem_response(found, scope)
    response.headers.update({"x-request-id": request_id, "x-trace-id": trace.trace_id})
    return response


def _context_of(scope: Scope, found: Problem) -> ErrorContext:
    return report_context(found, scope["method"], route_template(scope), scope["path"])


def has_other_handlers(app: FastAPI) -> bool:
    """Return whether an error of a request has a handler besides the middleware.

    Args:
        app: The application.

    """
    return any(
        handler not in (propagate, last_resort) and kind is not WebSocketRequestValidationError
        for kind, handler in app.exception_handlers.items()
    )


def translate(error: BaseException, scope: Scope) -> Problem:
    """Return what the caller is told of an error.

    Args:
        error: What was raised.
        scope: The request.

    """
    if isinstance(error, AppError):
        return problem.from_error(error)
    if isinstance(error, RequestValidationError):
        return _from_validation(error, scope)
    if isinstance(error, HTTPException):
        return _from_http(error, scope)
    if isinstance(error, asyncio.CancelledError):
        return problem.from_error(InfrastructureError(public_message="The service is shutting down."))
    known = known_failure(error)
    return problem.from_error(known) if known is not None else problem.unexpected()


def _from_validation(error: RequestValidationError, scope: Scope) -> Problem:
    media_type = _header(scope, b"content-type")
    about_body = any(entry["loc"][:1] == ("body",) for entry in error.errors())
    is_json = media_type.partition(";")[0].strip().lower().endswith(_JSON)
    if about_body and error.body and not is_json:
        return problem.from_error(UnsupportedMediaTypeError())
    return problem.from_validation(error.errors())


def _from_http(error: HTTPException, scope: Scope) -> Problem:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == 405:
        headers["allow"] = ", ".join(allowed_methods(scope["app"], scope["path"]))
    is_default = error.detail == problem.phrase(error.status_code)
    detail = None if is_default or not isinstance(error.detail, str) else error.detail
    return problem.from_status(error.status_code, detail, headers)


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def problem_response(found: Problem, scope: Scope) -> Response:
    """Return a problem as a response.

    Args:
        found: The problem.
        scope: The request that it answers.

    """
    if found.status < BAD_REQUEST:
        # Raising is one way to redirect, or to answer 304: neither is a problem, and the latter has no body.
        return Response(status_code=found.status, headers=dict(found.headers))
    body = problem_body(found, scope.get("root_path", "") + scope["path"])
    return Response(body, found.status, dict(found.headers), problem.MEDIA_TYPE)


def _unwrapped(error: BaseException) -> BaseException:
    """Return what FastAPI hid: whatever reading the body raises, it turns into a 400 of its own."""
    hidden = error.__cause__
    is_hidden = isinstance(error, HTTPException) and isinstance(hidden, AppError | ClientDisconnect)
    return hidden if is_hidden and hidden is not None else error


class ErrorsMiddleware:
    """Turns whatever is raised further in into a problem document, unless the response has begun, and reports it.

    Args:
        app: What is further in.
        reporting: What takes errors that are a fault of the service.

    """

    def __init__(self, app: ASGIApp, *, reporting: ErrorReporting) -> None:
        self.app = app
        self._reporting = reporting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = False

        def watch(message: Message) -> Awaitable[None]:
            nonlocal started
            started = True
            return send(message)

        try:
            await self.app(scope, receive, watch)
        except (Exception, asyncio.CancelledError) as raised:  # noqa: BLE001 -- whatever it is has a document
            error = scope[ERROR] = _unwrapped(raised)
            if isinstance(error, ClientDisconnect):
                raise error from error.__cause__
            found = translate(error, scope)
            if started or found.status >= SERVER_ERROR:
                self._report(error, _context_of(scope, found))
            if started:
                raise error from error.__cause__
            await problem_response(found, scope)(scope, receive, send)

    def _report(self, error: BaseException, context: ErrorContext) -> None:
        # That the service stops is no fault.
        if not isinstance(error, asyncio.CancelledError):
            # Within a request that is observed, the access line has the exception.
            self._reporting.report(error, context, in_log="request_id" in current_context())
