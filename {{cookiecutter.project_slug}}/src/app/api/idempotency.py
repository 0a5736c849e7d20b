"""`Idempotency-Key` on POST and PATCH: the operation runs once, later requests get its answer again.

Without the header a request passes untouched. With it the body is read, a claim is taken, and the answer is kept in the
operation's own transaction where the store can. An answer that is streamed or larger than the limit is not kept: the
operation still runs once, and a repetition is told so.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import FastAPI
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..adapters.database import UnitOfWork
from ..adapters.metrics import Metrics
from ..core.context import current_context
from ..core.idempotency import (
    ANONYMOUS,
    HEADER,
    METHODS,
    REFUSALS,
    RETRY_AFTER,
    Answer,
    Claim,
    Decision,
    IdempotencyInProgressError,
    IdempotencyStore,
    IdempotencyStoreError,
    Outcome,
    digest,
    is_stored,
    new_claim,
    read_key,
)
from ..core.logging import get_logger
from ..settings import IdempotencySettings
from .errors import ERROR, problem_response, translate
from .recording import AfterSend, Recorder
from .routing import TEMPLATE, RouteInfo, routes_of
from .transaction import WORK

log = get_logger(__name__)
POLICY = "__idempotency__"
_HEADER = HEADER.encode()
REPLAY_HEADERS = ((b"idempotent-replayed", b"true"), (b"cache-control", b"no-store"))
FAILED = 500
BODILESS = frozenset({204, 304})
_REJECTED_CODES = frozenset({"VALIDATION_ERROR", "MALFORMED_REQUEST"})
_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Policy:
    """How an operation treats the header."""

    enabled: bool = True
    required: bool = False
    ttl: float | None = None


def idempotency(
    *, required: bool = False, enabled: bool = True, ttl: float | None = None
) -> Callable[[_Endpoint], _Endpoint]:
    """Set how an endpoint treats `Idempotency-Key`; place it below the route's decorator.

    Args:
        required: Whether a request without a key is refused.
        enabled: Whether a key has any effect.
        ttl: Seconds for which the answer is kept, instead of the setting's.

    """

    def mark(endpoint: _Endpoint) -> _Endpoint:
        setattr(endpoint, POLICY, Policy(enabled=enabled, required=required, ttl=ttl))
        return endpoint

    return mark


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
        self._metrics = metrics
        self._routes: list[tuple[RouteInfo, Policy]] | None = None
        self._any_required = False

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Handle one request; no coroutine of its own for one without a key."""
        if scope["type"] != "http" or scope["method"] not in METHODS:
            return self.app(scope, receive, send)
        routes = self._routes or self._index(scope["app"])
        values = [value.decode("latin-1") for name, value in scope["headers"] if name == _HEADER]
        found = _match(routes, scope) if values or self._any_required else None
        if found is None:
            return self.app(scope, receive, send)
        return self._keyed(found, values, scope, receive, send)

    async def _keyed(
        self, found: tuple[RouteInfo, Policy], values: list[str], scope: Scope, receive: Receive, send: Send
    ) -> None:
        route, policy = found
        scope[TEMPLATE] = route.template
        key = read_key(values, required=policy.required)
        if key is None:
            await self.app(scope, receive, send)
            return
        body = await _read_body(receive)
        await self._handle(Keyed(scope, _again(body, receive), send, policy), _claim(scope, route, key, body))

    def _index(self, app: FastAPI) -> list[tuple[RouteInfo, Policy]]:
        policies = [(route, getattr(route.endpoint, POLICY, Policy())) for route in routes_of(app)]
        self._routes = [(r, policy) for r, policy in policies if policy.enabled and r.methods & METHODS]
        self._any_required = any(policy.required for _, policy in self._routes)
        return self._routes

    async def _handle(self, keyed: "Keyed", claim: Claim) -> None:
        ttl = keyed.policy.ttl or self._settings.ttl
        decision = await self._begin(claim, ttl)
        if decision is None:
            await self.app(keyed.scope, keyed.receive, keyed.send)
        elif decision.outcome is Outcome.RUN:
            await self._run(keyed, claim, ttl)
        elif decision.outcome is Outcome.REPLAY and decision.answer is not None:
            await _replay(decision.answer, keyed.send)
        else:
            error = REFUSALS[decision.outcome]()
            raise error

    async def _begin(self, claim: Claim, ttl: float) -> Decision | None:
        """Return the store's decision, or None when the request runs unprotected because the store failed."""
        try:
            decision = await self._store.begin(claim, lease=self._settings.lease, ttl=ttl)
        except IdempotencyStoreError as error:
            self._metrics.idempotency(Outcome.STORE_ERROR.value)
            if self._settings.on_store_failure == "reject":
                raise
            log.warning("idempotency.unprotected", exc_info=error)
            return None
        self._metrics.idempotency(decision.outcome.value)
        return decision

    async def _run(self, keyed: "Keyed", claim: Claim, ttl: float) -> None:
        async def keep(answer: Answer) -> AfterSend | None:
            return await self._keep(keyed, claim, answer, ttl)

        async def release(status: int) -> None:
            # The operation's transaction first: on SQLite the release would wait for it in vain.
            await keyed.work.end(status)
            await self._release(claim)

        recorder = Recorder(keyed.send, keep, release, self._settings.max_response_bytes)
        async with self._lease(claim):
            try:
                await self._record(keyed, recorder)
            finally:
                if not (recorder.kept or recorder.released):
                    await release(FAILED)

    async def _record(self, keyed: "Keyed", recorder: Recorder) -> None:
        """Run the operation; an error that is an answer of it, such as 404, is recorded like one."""
        try:
            await self.app(keyed.scope, keyed.receive, recorder)
        except Exception as error:
            found = translate(error, keyed.scope)
            if recorder.sent or not is_stored(found.status, rejected=found.code in _REJECTED_CODES):
                raise
            keyed.scope[ERROR] = error
            await keyed.work.rollback()
            await problem_response(found, keyed.scope)(keyed.scope, keyed.receive, recorder)

    async def _keep(self, keyed: "Keyed", claim: Claim, answer: Answer, ttl: float) -> AfterSend | None:
        """Keep an answer in the operation's transaction, or return what keeps it once that has committed."""
        if not self._store.transactional:
            return lambda: self._keep_after(claim, answer, ttl)
        if not await self._store.complete(claim, answer, ttl=ttl, transaction=keyed.work):
            raise IdempotencyInProgressError(retry_after=RETRY_AFTER)
        return None

    async def _keep_after(self, claim: Claim, answer: Answer, ttl: float) -> None:
        try:
            await self._store.complete(claim, answer, ttl=ttl)
        except IdempotencyStoreError:
            self._metrics.idempotency(Outcome.STORE_ERROR.value)
            log.exception("idempotency.answer_lost")

    async def _release(self, claim: Claim) -> None:
        try:
            await asyncio.shield(self._store.release(claim))
        except IdempotencyStoreError as error:
            log.warning("idempotency.release_failed", exc_info=error)

    @asynccontextmanager
    async def _lease(self, claim: Claim) -> AsyncIterator[None]:
        """Renew the claim while the block runs; a short operation never needs it and starts no task."""
        period = self._settings.lease / 3
        tasks: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        timer = loop.call_later(period, lambda: tasks.append(loop.create_task(self._renew(claim, period))))
        try:
            yield
        finally:
            timer.cancel()
            for task in tasks:
                task.cancel()

    async def _renew(self, claim: Claim, period: float) -> None:
        while True:
            try:
                if not await self._store.renew(claim, lease=self._settings.lease):
                    return
            except IdempotencyStoreError as error:
                log.warning("idempotency.renewal_failed", exc_info=error)
            await asyncio.sleep(period)


@dataclass(slots=True)
class Keyed:
    """A request with a key: its body was read, and can be received again."""

    scope: Scope
    receive: Receive
    send: Send
    policy: Policy

    @property
    def work(self) -> UnitOfWork:
        """The transaction of the request."""
        work: UnitOfWork = self.scope["state"][WORK]
        return work


def _match(routes: list[tuple[RouteInfo, Policy]], scope: Scope) -> tuple[RouteInfo, Policy] | None:
    method, path = scope["method"], scope["path"]
    return next(((r, p) for r, p in routes if method in r.methods and r.pattern.match(path)), None)


def _claim(scope: Scope, route: RouteInfo, key: str, body: bytes) -> Claim:
    content_type = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    path = scope.get("raw_path") or scope["path"].encode()
    fingerprint = digest(scope["method"].encode(), path, scope["query_string"], content_type, body)
    caller = str(current_context().get("user_id") or ANONYMOUS)
    return new_claim(
        caller=caller,
        method=scope["method"],
        route=route.template,
        key=key,
        fingerprint=fingerprint,
    )


async def _read_body(receive: Receive) -> bytes:
    """Return the whole body; its size is bounded further out."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once more, then whatever the server has to say."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return pending.pop() if pending else await receive()

    return receive_again


async def _replay(answer: Answer, send: Send) -> None:
    body = answer.body or b""
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if answer.status not in BODILESS:
        headers.append((b"content-length", str(len(body)).encode()))
    await send(
        {
            "type": "http.response.start",
            "status": answer.status,
            "headers": [*headers, *REPLAY_HEADERS],
        }
    )
    await send({"type": "http.response.body", "body": body})
