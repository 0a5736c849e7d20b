"""The service's paths, with the probes among its operations."""

# mypy: disable-error-code="import-not-found,import-untyped,untyped-decorator"

import asyncio
import base64
import json
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import structlog
from app.adapters.http_client import create_http_client
from app.core import errors
from app.web.api import api
from app.web.bootstrap import current_services
from app.web.idempotency import idempotency
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

PAUSE = 0.02
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


@api.api_operation(["POST", "PATCH"], "/probe/act")
def act(request: HttpRequest) -> HttpResponseBase:
    """Act out the plan in the body, as `plans` describes it."""
    plan = json.loads(request.body.lstrip(b"="))
    if "note" in plan:
        _note(plan["note"])
    while "wait" in plan and not Path(plan["wait"]).exists():
        time.sleep(PAUSE)
    if "error" in plan:
        raise ERRORS[plan["error"]](plan.get("message", "boom"))
    return _answer(request, plan)


def _note(name: str) -> None:
    with Path(name).open("a") as note:
        note.write(f"{os.getpid()}\n")


def _answer(request: HttpRequest, plan: dict[str, Any]) -> HttpResponseBase:
    body = base64.b64decode(plan.get("body", "e30=")) * plan.get("times", 1)
    response: HttpResponseBase
    if "chunks" in plan:
        # Each interface would first collect the whole of what was made for the other one.
        make = _chunks_async if hasattr(request, "scope") else _chunks
        response = StreamingHttpResponse(make(body, plan["chunks"], plan.get("hold")), status=plan.get("status", 200))
    else:
        response = HttpResponse(body, status=plan.get("status", 200))
    del response["Content-Type"]
    if "sign" in plan:
        response["X-Process"] = str(os.getpid())
    if "after" in plan:
        cast(Any, response)._resource_closers.append(lambda: _note(plan["after"]))
    for name, value in plan.get("headers", ()):
        # Django keeps one field of each name.
        response[name] = f"{response[name]}, {value}" if name in response else value
    return response


def _chunks(chunk: bytes, count: int, hold: str | None) -> Iterator[bytes]:
    for number in range(count):
        while number and hold and not Path(hold).exists():
            time.sleep(PAUSE)
        yield chunk


async def _chunks_async(chunk: bytes, count: int, hold: str | None) -> AsyncIterator[bytes]:
    for number in range(count):
        while number and hold and not Path(hold).exists():
            await asyncio.sleep(PAUSE)
        yield chunk


@api.post("/probe/act/{path:name}")
def act_by_name(request: HttpRequest, name: str) -> HttpResponseBase:
    """Act out the plan on a path of its own."""
    del name
    return act(request)


@api.post("/probe/required")
@idempotency(required=True)
def act_with_key(request: HttpRequest) -> HttpResponseBase:
    """Act out the plan, but only under a key."""
    return act(request)


@api.post("/probe/crash")
def crash(request: HttpRequest) -> None:
    """Raise what nobody expects."""
    secret_of_this_frame = "zq7local"
    message = json.loads(request.body)["message"] if request.body else "boom"
    raise RuntimeError(message.removesuffix(secret_of_this_frame))


@api.post("/probe/crash-with-cause")
def crash_with_cause(request: HttpRequest) -> None:
    """Raise because of something else."""
    try:
        ERRORS["the cause"]
    except KeyError as error:
        msg = "the effect"
        raise RuntimeError(msg) from error


@api.get("/probe/raise/{kind}")
def raise_kind(request: HttpRequest, kind: str) -> None:
    """Raise an error of the service's own tree."""
    message = "for the log alone"
    raise ERRORS[kind](message)


@api.post("/probe/log-odd-values")
def log_odd_values(request: HttpRequest) -> None:
    """Log what JSON does not know."""
    cycle: list[Any] = []
    cycle.append(cycle)
    odd = {"set": {1}, "bytes": b"\xff\x00", "when": datetime.now(UTC), "nan": float("nan"), "cycle": cycle}
    structlog.get_logger("probe").info("probe.odd", **odd, huge=10**400, text="a\nb\x1b[31m\ud800", obj=object())
    too_few = ("arguments",)
    logging.getLogger("probe").warning("not %s enough %s", *too_few)


@api.post("/test")
async def forward(request: HttpRequest) -> list[int]:
    """Post each call's `arguments` to its `url`, and return the statuses, as the W3C's harness asks for."""
    calls = json.loads(request.body)
    calls = calls if isinstance(calls, list) else [calls]
    # A proxy from the environment would see the calls, and might alter their headers.
    async with create_http_client(current_services().tracing, trust_env=False) as client:
        return [(await client.post(call["url"], json=call["arguments"])).status_code for call in calls]


# Last: what stands there takes the operations over.
from app.web.urls import handler400, handler403, handler404, handler500, urlpatterns  # noqa: E402

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]
