"""`Idempotency-Key` on POST and PATCH: the operation runs once, later requests get its answer again.

Without the header a request passes untouched. With it the body is read, a claim is taken, the view runs in one
transaction, and its answer is kept in that where the store can (`recording`). An answer that is streamed or larger than
the limit is not kept: the operation still runs once, and a repetition is told so.

What makes two requests of one method and route the same is their bytes: path, query, content type and body. JSON is not
read here, so other spacing or another order of members is another request, as is a form whose boundary was drawn anew.

A key belongs to the user whom Django authenticated, else to the caller whom a middleware before this one named by
`core.context.set_user_id`; whoever is found out only by Ninja's `auth` counts as anonymous here, and anonymous callers
share their keys. A view with a key runs within `transaction.atomic`: blocks of its own are part of that one, and must
not be `durable`.

Under ASGI whatever does input or output runs in the thread that Django keeps for the request, which has the view's
connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, TypeVar

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, ResolverMatch, URLPattern, URLResolver, get_resolver, reverse

from ..core.context import current_context
from ..core.errors import AppError
from ..core.idempotency import ANONYMOUS, Claim, digest, new_claim
from ..core.idempotency_errors import IdempotencyKeyError
from ..core.idempotency_http import FAILED, HEADER, METHODS, documentation_link, read_key
from ..core.idempotency_policy import Policy, idempotency, policy_of
from .bootstrap import current_services
from .errors import answer_error
from .recording import Recorder
from .routing import is_of_api, match_of, routes, template_of

__all__ = ["IdempotencyMiddleware", "Operations", "Policy", "idempotency"]
_META = "HTTP_" + HEADER.upper().replace("-", "_")
_RECORDER = "app_recorder"
GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]
T = TypeVar("T")


class Found(NamedTuple):
    """The operation that a request is for."""

    match: ResolverMatch
    template: str
    policy: Policy


class Operations:
    """The operations that may have a key."""

    def __init__(self) -> None:
        self._of_api = {
            (method, route.template): policy_of(route.view) for route in routes() for method in route.methods & METHODS
        }
        policies = [*self._of_api.values(), *map(policy_of, _views(get_resolver().url_patterns))]
        self.any_required = any(policy.enabled and policy.required for policy in policies)

    def find(self, request: HttpRequest) -> Found | None:
        """Return the operation that a request is for, or None when a key means nothing to it.

        Args:
            request: The request.

        """
        match = match_of(request)
        if match is None:
            return None
        template = template_of(match.route)
        is_api = is_of_api(match)
        policy = self._of_api.get((str(request.method), template)) if is_api else policy_of(match.func)
        return Found(match, template, policy) if policy is not None and policy.enabled else None


def _views(patterns: list[Any]) -> Iterator[Callable[..., Any]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _views(pattern.url_patterns)
        elif isinstance(pattern, URLPattern) and pattern.callback is not None:
            yield pattern.callback


class IdempotencyMiddleware:
    """Runs keyed requests once.

    Args:
        get_response: What is further in.

    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response: Callable[[HttpRequest], Any] = get_response
        self._operations: Operations | None = None
        self._is_async = iscoroutinefunction(get_response)
        if self._is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Handle one request; no coroutine of its own for one without a key."""
        if request.method not in METHODS:
            return self._pass(request)
        # Made at the first request: until then the URLs may still be read.
        operations = self._operations = self._operations or Operations()
        value = request.META.get(_META)
        found = operations.find(request) if value is not None or operations.any_required else None
        if found is None:
            return self._pass(request)
        try:
            key = read_key(_values(request), required=found.policy.required)
        except IdempotencyKeyError as error:
            request.resolver_match = found.match
            refused = _refuse(request, error)
            return _given(refused) if self._is_async else refused
        if key is None:
            return self._pass(request)
        request.resolver_match = found.match
        recorder = _recorder(request, found, key)
        setattr(request, _RECORDER, recorder)
        return self._run_async(recorder) if self._is_async else self._run(recorder)

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Take note that the view of a request with a key failed, however that is answered further out."""
        recorder: Recorder | None = getattr(request, _RECORDER, None)
        if recorder is not None:
            recorder.has_failed = True

    def _pass(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        passed: HttpResponseBase | Awaitable[HttpResponseBase] = self.get_response(request)
        return passed

    def _run(self, recorder: Recorder) -> HttpResponseBase:
        answer = recorder.begin()
        if answer is not None:
            return answer
        try:
            response = self.get_response(recorder.request)
        except BaseException:
            # No error of the view's, which Django has answered: the worker ends.
            recorder.abandon()
            raise
        return recorder.finish(response)

    async def _run_async(self, recorder: Recorder) -> HttpResponseBase:
        try:
            answer = await _to_its_end(recorder.begin)
            response = await self.get_response(recorder.request) if answer is None else answer
        except BaseException:
            # The client is gone, or the service stops. What the view still does in its thread is waited for.
            await _to_its_end(recorder.abandon)
            raise
        return response if answer is not None else await _to_its_end(partial(recorder.finish, response))


async def _given(response: HttpResponseBase) -> HttpResponseBase:
    return response


async def _to_its_end(step: Callable[[], T]) -> T:
    """Run a step in the request's thread, to its end also when the request is cut off meanwhile."""
    task = asyncio.ensure_future(sync_to_async(step)())
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise


def _recorder(request: HttpRequest, found: Found, key: str) -> Recorder:
    services = current_services()
    settings, policy = services.settings.idempotency, found.policy
    times = (policy.lease or settings.lease, policy.ttl or settings.ttl)
    return Recorder(services, request, partial(_claim, request, found, key), times, partial(_refuse, request))


def _claim(request: HttpRequest, found: Found, key: str) -> Claim:
    meta = request.META
    asked = (request.path, meta.get("QUERY_STRING", ""), meta.get("CONTENT_TYPE", ""))
    fingerprint = digest(*[part.encode("utf-8", "surrogateescape") for part in asked], request.body)
    operation = (str(request.method), found.template)
    return new_claim(caller=_caller(request), operation=operation, key=key, fingerprint=fingerprint)


def _values(request: HttpRequest) -> list[str]:
    """Return the value of each header: Django joins them by a comma, which a quoted key may hold.

    WSGI has joined them already; its server tells us of two (`gunicorn_requests`).
    """
    if isinstance(request, ASGIRequest):
        name = HEADER.encode()
        return [value.decode("latin-1") for given, value in request.scope["headers"] if given == name]
    value = request.META.get(_META)
    return [] if value is None else [value]


def _caller(request: HttpRequest) -> str:
    user = getattr(request, "user", None)
    if user is not None and user.is_authenticated:
        return str(user.pk)
    user_id = current_context().get("user_id")
    return ANONYMOUS if user_id is None else str(user_id)


def _refuse(request: HttpRequest, error: Exception) -> HttpResponse:
    """Answer with a problem; one about a key links to the documentation, as the draft of the header asks (2.7)."""
    response = answer_error(request, error)
    link = _documentation() if isinstance(error, AppError) and response.status_code < FAILED else ""
    if link:
        response["Link"] = link
    return response


def _documentation() -> str:
    """Return the link to what describes the operation and its keys; nothing when the service shows no description."""
    # Not at the top: operations are decorated with what stands here.
    from .api import api

    if not api.openapi_url:
        return ""
    try:
        description = reverse(f"{api.urls_namespace}:openapi-json")
        page = reverse(f"{api.urls_namespace}:openapi-view") if api.docs_url else None
    except NoReverseMatch:
        return ""
    return documentation_link(description, page)
