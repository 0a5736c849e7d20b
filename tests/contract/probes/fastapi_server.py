"""The FastAPI service, built by its own factory and served by its own server, with probe endpoints on top."""

# The service's package is importable where this runs, which need not be where it is type-checked.
# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator"

import asyncio
import base64
import json
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from app.adapters.logging import configure_logging
from app.api.application import create_app
from app.api.idempotency import IdempotencyMiddleware, idempotency
from app.api.server import serve
from app.bootstrap import bootstrap
from app.core import errors
from app.core.context import set_user_id
from app.settings import load_settings
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse
from starlette.background import BackgroundTask
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from forwarding import add_forwarding

ERRORS: dict[str, Callable[[str], Exception]] = {
    "authentication": errors.AuthenticationError,
    "permission": errors.PermissionDeniedError,
    "not-found": errors.NotFoundError,
    "conflict": errors.AlreadyExistsError,
    "rule": errors.BusinessRuleError,
    "rate-limit": errors.RateLimitError,
    "external": errors.ExternalServiceError,
    "infrastructure": errors.InfrastructureError,
    "crash": RuntimeError,
}


async def act(request: Request) -> Response:
    """Act out the plan in the body, as `plans` describes it."""
    plan = json.loads((await request.body()).lstrip(b"="))
    if "note" in plan:
        _note(plan["note"])
    while "wait" in plan and not Path(plan["wait"]).exists():
        await asyncio.sleep(0.02)
    if "error" in plan:
        raise ERRORS[plan["error"]](plan.get("message", "boom"))
    return _answer(plan)


def _note(name: str) -> None:
    with Path(name).open("a") as note:
        note.write(f"{os.getpid()}\n")


def _answer(plan: dict[str, Any]) -> Response:
    body = base64.b64decode(plan.get("body", "e30=")) * plan.get("times", 1)
    response: Response
    if "chunks" in plan:
        response = StreamingResponse(_chunks(body, plan["chunks"], plan.get("hold")), plan.get("status", 200))
    else:
        response = Response(body, plan.get("status", 200))
    if "sign" in plan:
        response.headers["X-Process"] = str(os.getpid())
    if "after" in plan:
        response.background = BackgroundTask(_note, plan["after"])
    for name, value in plan.get("headers", ()):
        response.headers.append(name, value)
    return response


async def _chunks(chunk: bytes, count: int, hold: str | None) -> AsyncIterator[bytes]:
    for number in range(count):
        while number and hold and not Path(hold).exists():
            await asyncio.sleep(0.02)
        yield chunk


async def act_by_name(request: Request, name: str) -> Response:
    """Act out the plan on a path of its own."""
    del name
    return await act(request)


@idempotency(required=True)
async def act_with_key(request: Request) -> Response:
    """Act out the plan, but only under a key."""
    return await act(request)


async def crash(request: Request) -> None:
    """Raise what nobody expects."""
    secret_of_this_frame = "zq7local"
    body = await request.body()
    message = json.loads(body)["message"] if body else "boom"
    raise RuntimeError(message.removesuffix(secret_of_this_frame))


async def crash_with_cause() -> None:
    """Raise because of something else."""
    try:
        ERRORS["the cause"]
    except KeyError as error:
        msg = "the effect"
        raise RuntimeError(msg) from error


async def raise_kind(kind: str) -> None:
    """Raise an error of the service's own tree."""
    message = "for the log alone"
    raise ERRORS[kind](message)


async def log_odd_values() -> None:
    """Log what JSON does not know."""
    cycle: list[Any] = []
    cycle.append(cycle)
    odd = {"set": {1}, "bytes": b"\xff\x00", "when": datetime.now(UTC), "nan": float("nan"), "cycle": cycle}
    structlog.get_logger("probe").info("probe.odd", **odd, huge=10**400, text="a\nb\x1b[31m\ud800", obj=object())
    too_few = ("arguments",)
    logging.getLogger("probe").warning("not %s enough %s", *too_few)


class CrashMiddleware:
    """Fails outside every endpoint, on one path."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap *app*."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope.get("path") == "/probe/crash-in-middleware":
            msg = "boom in middleware"
            raise RuntimeError(msg)
        await self.app(scope, receive, send)


class CallerMiddleware:
    """Takes a header's word for who calls, which is where authentication would be."""

    def __init__(self, app: ASGIApp) -> None:
        """Wrap *app*."""
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        user = Headers(scope=scope).get("x-probe-user") if scope["type"] == "http" else None
        if user is not None:
            set_user_id(user)
        await self.app(scope, receive, send)


def add_probes(app: FastAPI) -> None:
    """Add the probe endpoints to *app*."""
    app.add_api_route("/probe/act", act, methods=["POST", "PATCH"])
    app.add_api_route("/probe/act/{name:path}", act_by_name, methods=["POST"])
    app.add_api_route("/probe/required", act_with_key, methods=["POST"])
    app.add_api_route("/probe/crash", crash, methods=["POST"])
    app.add_api_route("/probe/crash-with-cause", crash_with_cause, methods=["POST"])
    app.add_api_route("/probe/raise/{kind}", raise_kind, methods=["GET"])
    app.add_api_route("/probe/log-odd-values", log_odd_values, methods=["POST"])
    app.user_middleware.append(Middleware(CrashMiddleware))
    kinds: list[object] = [entry.cls for entry in app.user_middleware]
    app.user_middleware.insert(kinds.index(IdempotencyMiddleware), Middleware(CallerMiddleware))


def main() -> int:
    """Serve as `python -m app.api` does, with the probes."""
    settings = load_settings()
    services = bootstrap(settings)
    app = create_app(settings, services=services)
    add_probes(app)
    add_forwarding(app, services)
    configure_logging(settings, on_event=services.metrics.log_record)
    return 0 if serve(app, services) else 1


if __name__ == "__main__":
    sys.exit(main())
