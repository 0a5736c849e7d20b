"""`Idempotency-Key` on POST and PATCH: the operation runs once, later requests get its answer again.

Without the header a request passes untouched. With it the body is read, a claim is taken, and the answer is kept in the
operation's own transaction where the store can. An answer that is streamed or larger than the limit is not kept: the
operation still runs once, and a repetition is told so.

What makes two requests of one method and route the same is their bytes: path, query, content type and body. JSON is not
read here, so other spacing or another order of members is another request, as is a form whose boundary was drawn anew.

A key belongs to the caller whom a middleware before this one named by `core.context.set_user_id`; whoever is found out
only in an endpoint's dependency counts as anonymous here, and anonymous callers share their keys.
"""

from collections.abc import Awaitable, Iterable
from dataclasses import replace

from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..adapters.idempotency_journal import Journal
from ..adapters.idempotency_lease import LeaseKeeper
from ..adapters.metrics import Metrics
from ..core.context import current_context
from ..core.errors import AppError
from ..core.idempotency import (
    ANONYMOUS,
    REFUSALS,
    Claim,
    IdempotencyStore,
    Outcome,
    digest,
    new_claim,
)
from ..core.idempotency_answer import Answer
from ..core.idempotency_errors import IdempotencyKeyError, IdempotencyStoreError
from ..core.idempotency_http import BODILESS, HEADER, METHODS, REPLAY_HEADERS, documentation_link, read_key
from ..core.idempotency_policy import Policy, idempotency, policy_of
from ..settings_groups import IdempotencySettings
from .errors import ERROR, problem_response, translate
from .recording import Protection, Recorder
from .routing import TEMPLATE, RouteInfo, routes_of

__all__ = ["IdempotencyMiddleware", "Policy", "Routes", "idempotency"]
_HEADER = HEADER.encode()
_REPLAY_HEADERS = [(name.encode(), value.encode()) for name, value in REPLAY_HEADERS]


Found = tuple[RouteInfo, Policy]


class Routes:
    """The operations that may have a key, found as the router finds them: the first that fits.

    Args:
        routes: All routes of the application.

    """

    def __init__(self, routes: Iterable[RouteInfo]) -> None:
        self._all = [(route, policy_of(route.endpoint)) for route in routes if route.methods & METHODS]
        self.any_required = any(policy.enabled and policy.required for _, policy in self._all)
        # Most paths have no parameter, so that most requests are found without trying one pattern after the other.
        self._known = {
            (method, route.template): self._search(method, route.template)
            for route, _ in self._all
            for method in route.methods & METHODS
        }

    def find(self, scope: Scope) -> Found | None:
        """Return the operation that a request is for and its policy, or None when a key means nothing to it.

        Args:
            scope: The request.

        """
        method, path, root = scope["method"], scope["path"], scope.get("root_path", "")
        if root and path.startswith(f"{root}/"):
            path = path[len(root) :]
        try:
            return self._known[method, path]
        except KeyError:
            return self._search(method, path)

    def _search(self, method: str, path: str) -> Found | None:
        for found in self._all:
            route, policy = found
            if method in route.methods and route.pattern.match(path):
                return found if policy.enabled else None
        return None


class IdempotencyMiddleware:
    """Runs keyed requests once.

    Args:
        app: What is further in.
        store: Where records are kept.
        settings: For how long, and what happens when the store fails.
        metrics: What counts outcomes.

    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        store: IdempotencyStore,
        settings: IdempotencySettings,
        metrics: Metrics,
    ) -> None:
        self.app = app
        self._store = store
        self._settings = settings
        self._journal = Journal(metrics.idempotency, on_store_failure=settings.on_store_failure)
        keeper = LeaseKeeper(store, self._journal)
        self._protection = Protection(store, keeper, self._journal, settings.max_response_bytes)
        self._routes: Routes | None = None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one request; no coroutine of its own for one without a key."""
        if scope["type"] != "http" or scope["method"] not in METHODS:
            return self.app(scope, receive, send)
        routes = self._routes or self._index(scope["app"])
        values = [value for name, value in scope["headers"] if name == _HEADER]
        found = routes.find(scope) if values or routes.any_required else None
        if found is None:
            return self.app(scope, receive, send)
        return self._keyed(found, values, scope, receive, send)

    def _index(self, app: FastAPI) -> Routes:
        self._routes = Routes(routes_of(app))
        return self._routes

    async def _keyed(self, found: Found, values: list[bytes], scope: Scope, receive: Receive, send: Send) -> None:
        route, policy = found
        try:
            key = read_key([value.decode("latin-1") for value in values], required=policy.required)
        except IdempotencyKeyError as error:
            scope[TEMPLATE] = route.template
            await _refuse(error, scope, receive, send)
            return
        if key is None:
            await self.app(scope, receive, send)
            return
        scope[TEMPLATE] = route.template
        message = await _whole(receive)
        claim = _claim(scope, route, key, message["body"])
        lease, ttl = policy.lease or self._settings.lease, policy.ttl or self._settings.ttl
        receive = _again(message, receive)
        try:
            decision = await self._store.begin(claim, lease=lease, ttl=ttl)
        except IdempotencyStoreError as error:
            self._journal.cannot_begin(error)
            await self.app(scope, receive, send)
            return
        self._journal.decided(decision, claim)
        if decision.outcome is Outcome.RUN:
            await Recorder(self._protection, claim, ttl, scope, send).run(self.app, receive, lease)
        elif decision.outcome is Outcome.REPLAY and decision.answer is not None:
            await _replay(decision.answer, send)
        else:
            await _refuse(REFUSALS[decision.outcome](), scope, receive, send)


def _claim(scope: Scope, route: RouteInfo, key: str, body: bytes) -> Claim:
    content_type = b""
    for name, value in scope["headers"]:
        if name == b"content-type":
            content_type = value
            break
    path = scope.get("raw_path") or scope["path"].encode()
    fingerprint = digest(path, scope["query_string"], content_type, body)
    user_id = current_context().get("user_id")
    caller = ANONYMOUS if user_id is None else str(user_id)
    return new_claim(caller=caller, operation=(scope["method"], route.template), key=key, fingerprint=fingerprint)


async def _whole(receive: Receive) -> Message:
    """Return a message with the whole body; its size is bounded further out."""
    message = await receive()
    if "body" in message and not message.get("more_body", False):
        return message
    chunks: list[bytes] = []
    while message["type"] != "http.disconnect":
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return {"type": "http.request", "body": b"".join(chunks), "more_body": False}
        message = await receive()
    raise ClientDisconnect


def _again(message: Message, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once more, then whatever the server has to say."""
    pending: Message | None = message

    async def receive_again() -> Message:
        nonlocal pending
        given, pending = pending, None
        return await receive() if given is None else given

    return receive_again


async def _refuse(error: AppError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a problem that links to the documentation, as the draft of the header asks (section 2.7)."""
    scope[ERROR] = error
    found = translate(error, scope)
    link = _documentation(scope)
    headers = {**found.headers, "link": link} if link else found.headers
    await problem_response(replace(found, headers=headers), scope)(scope, receive, send)


def _documentation(scope: Scope) -> str:
    """Return the link to what describes the operation and its keys; nothing when the service shows no description."""
    app, root = scope["app"], scope.get("root_path", "")
    if not app.openapi_url:
        return ""
    return documentation_link(f"{root}{app.openapi_url}", f"{root}{app.docs_url}" if app.docs_url else None)


async def _replay(answer: Answer, send: Send) -> None:
    body = answer.body or b""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if answer.status not in BODILESS:
        headers.append((b"content-length", b"%d" % len(body)))
    headers += _REPLAY_HEADERS
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
