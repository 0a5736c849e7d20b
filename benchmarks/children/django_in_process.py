"""One Django stack beside bare Django in one process, called directly, in alternating blocks.

Both have Django's own middleware. A block's cost is the processor time of the whole process, until what was put off
for later is done too.
"""

import asyncio
import gc
import io
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import django
import uvloop
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test.utils import override_settings

from . import respond
from .in_process import SETTLE_SECONDS, lines_of
from .requests import CYCLE, ENDPOINTS, Endpoint

Call = Callable[[int], Awaitable[tuple[int, bytes]]]
Flush = Callable[[], object]


def start(stack: str) -> Flush:
    """Let Django start with a stack's settings, and return what finishes the work that the stack has put off.

    Args:
        stack: `emitted` or `shelf`.
    """
    os.environ["DJANGO_SETTINGS_MODULE"] = f"benchmarks.apps.django_{stack}"
    if stack == "shelf":
        return _start_shelf()
    from ..apps.emitted import dropping_tracing

    os.environ.update(ENVIRONMENT="production", SECRET_KEY=os.urandom(32).hex(), DATABASE_URL="sqlite:///bench.db")
    django.setup()
    from app.web import bootstrap

    service = settings.SERVICE
    tracing = dropping_tracing(service)
    # The process works with these until its end.
    bootstrap.using_services(bootstrap.bootstrap(service, tracing=tracing)).__enter__()
    return tracing.flush


def _start_shelf() -> Flush:
    from opentelemetry.instrumentation.django import DjangoInstrumentor
    from opentelemetry.sdk.trace import TracerProvider

    from ..apps import spans

    provider, processor = TracerProvider(shutdown_on_exit=False), spans.processor()
    provider.add_span_processor(processor)
    DjangoInstrumentor().instrument(tracer_provider=provider)
    django.setup()
    return processor.force_flush


def _handler(interface: str, *, is_emitted: bool) -> Any:
    """Return what a server calls: Django's, or the emitted project's, which has one of its own."""
    if not is_emitted:
        return WSGIHandler() if interface == "wsgi" else ASGIHandler()
    from app.web.handlers import ServiceASGIHandler, ServiceWSGIHandler

    return ServiceWSGIHandler() if interface == "wsgi" else ServiceASGIHandler()


class Caller:
    """Calls a handler as a server would, one request at a time.

    Args:
        interface: `wsgi` or `asgi`.
        endpoint: What is called.
        prefix: What stands before its path.
        middleware: What stands around it; None for what the settings say.
        sampled: The share of requests that are sampled.
        flush: What finishes the work that was put off.
    """

    def __init__(
        self,
        interface: str,
        endpoint: Endpoint,
        prefix: str,
        middleware: list[str] | None,
        sampled: float,
        flush: Flush,
    ) -> None:
        with override_settings(**({} if middleware is None else {"MIDDLEWARE": middleware})):
            handler: Any = _handler(interface, is_emitted=middleware is None and hasattr(settings, "SERVICE"))
        path = prefix + ("/async" if interface == "asgi" else "") + endpoint.path
        self._endpoint = Endpoint(endpoint.method, path, endpoint.query, endpoint.body, endpoint.status)
        self._headers = [endpoint.headers(number, sampled) for number in range(CYCLE)]
        self._call = self._wsgi if interface == "wsgi" else self._asgi
        self._handler = handler
        self._flush = flush
        self._sent = 0

    async def call(self) -> tuple[int, bytes]:
        """Send one request, and return the status and the body of the answer."""
        headers = self._headers[self._sent % CYCLE]
        self._sent += 1
        return await self._call(headers)

    async def _wsgi(self, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
        endpoint = self._endpoint
        environ: dict[str, Any] = {
            "REQUEST_METHOD": endpoint.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": endpoint.path,
            "QUERY_STRING": endpoint.query,
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "8000",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(endpoint.body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in headers:
            key = name.decode().upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value.decode()
        started: list[str] = []
        response = self._handler(environ, lambda status, _headers, _info=None: started.append(status))
        body = b"".join(response)
        response.close()
        return int(started[0][:3]), body

    async def _asgi(self, headers: list[tuple[bytes, bytes]]) -> tuple[int, bytes]:
        answer: list[Any] = []
        done = asyncio.Event()
        body: list[Any] = [{"type": "http.request", "body": self._endpoint.body, "more_body": False}]

        async def receive() -> Any:
            if body:
                return body.pop()
            await done.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            answer.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                done.set()

        await self._handler(self._endpoint.scope(headers), receive, send)
        return answer[0]["status"], b"".join(message.get("body", b"") for message in answer[1:])

    async def block(self, size: int) -> float:
        """Send a block of requests, and return the seconds of processor time that it took, per request.

        Args:
            size: How many requests.
        """
        started = time.process_time()
        for _ in range(size):
            await self.call()
        self._flush()
        time.sleep(SETTLE_SECONDS)
        return (time.process_time() - started) / size


async def compare(
    stack: str, interface: str, method: str, sampled: float, pairs: int, block: int, warm_up: int
) -> dict[str, Any]:
    """Return the ratios of a stack's cost to bare Django's, one per pair of blocks.

    Args:
        stack: `emitted` or `shelf`.
        interface: `wsgi` or `asgi`.
        method: Which endpoint.
        sampled: The share of requests that are sampled.
        pairs: How many pairs.
        block: How many requests a block has.
        warm_up: How many requests come first.
    """
    flush, endpoint = start(stack), ENDPOINTS[method]
    bare = Caller(interface, endpoint, "/bare", settings.BARE_MIDDLEWARE, sampled, flush)
    variant = Caller(interface, endpoint, "", None, sampled, flush)
    answers = [await bare.call(), await variant.call()]
    if [status for status, _ in answers] != [endpoint.status] * 2:
        msg = f"{stack} answers {method} {endpoint.path} with {answers}, not with {endpoint.status}"
        raise ValueError(msg)
    lines = await lines_of(variant.block, warm_up)
    await bare.block(warm_up)
    gc.collect()
    gc.freeze()
    costs = [(await bare.block(block), await variant.block(block)) for _ in range(pairs)]
    ratios = [own / floor for floor, own in costs]
    added = statistics.median(own - floor for floor, own in costs)
    return {"ratios": ratios, "added_seconds": added, "lines_per_request": lines}


def main(**arguments: Any) -> dict[str, Any]:
    """Compare within an event loop as a server has it."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(compare(**arguments))


if __name__ == "__main__":
    respond(main)
