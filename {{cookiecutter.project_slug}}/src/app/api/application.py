"""The FastAPI application, put together."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI, Request
from fastapi.middleware.asyncexitstack import AsyncExitStackMiddleware
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

from ..adapters.idempotency_purge import purge_regularly
from ..bootstrap import Services, bootstrap
from ..core.logging import get_logger
from ..core.reporting import ErrorContext
from ..migrations import migrate
from ..settings import Settings
from .errors import ERROR, ErrorsMiddleware, has_other_handlers, last_resort, register_error_handlers
from .health import add_health_routes
from .metrics import add_metrics_route
from .middleware import middleware_stack
from .openapi import install_openapi
from .orders import router as orders_router

log = get_logger(__name__)
# The service has spans, logs and metrics of its own: FastAPI's would double them.
NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}


class Application(FastAPI):
    """FastAPI without the layers around each request that its own errors middleware makes idle.

    They return as soon as somebody registers an exception handler, switches `debug` on or takes `errors` out of
    `HTTP__MIDDLEWARE`.
    """

    def build_middleware_stack(self) -> ASGIApp:
        """Return the middleware around the router."""
        kinds: list[object] = [entry.cls for entry in self.user_middleware]
        if self.debug or ErrorsMiddleware not in kinds or has_other_handlers(self):
            return super().build_middleware_stack()
        # FastAPI closes uploaded files with it.
        of_requests = AsyncExitStackMiddleware(self.router)
        of_others = ExceptionMiddleware(of_requests, handlers=self.exception_handlers)

        def innermost(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            return (of_requests if scope["type"] == "http" else of_others)(scope, receive, send)

        app: ASGIApp = innermost
        for middleware, args, options in reversed(self.user_middleware):
            app = middleware(app, *args, **options)
        return app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; one that not even the middleware could answer is answered here."""
        scope["app"] = self
        try:
            if scope["type"] == "http" and self.middleware_stack is not None and not self.root_path:
                await self.middleware_stack(scope, receive, send)
            else:
                await super().__call__(scope, receive, send)
        except Exception as error:
            if scope["type"] == "http" and ERROR not in scope:
                # A server refuses a second answer when the first has begun.
                with suppress(Exception):
                    response = await last_resort(Request(scope), error)
                    await response(scope, receive, send)
            raise


def create_app(settings: Settings, *, services: Services | None = None) -> FastAPI:
    """Return the application; it connects to nothing before it starts.

    Args:
        settings: How it is set up.
        services: Its parts, instead of those that the settings ask for.

    """
    services = services or bootstrap(settings)
    app = Application(
        title=settings.service_name,
        version=settings.service_version,
        lifespan=_lifespan(services),
        middleware=middleware_stack(services),
        redirect_slashes=False,
        redoc_url=None,
        telemetry=NO_TELEMETRY,
    )
    app.state.services = services
    register_error_handlers(app)
    install_openapi(app)
    app.include_router(orders_router)
    # Not as routers: FastAPI looks through each included one for every request that comes after it.
    add_health_routes(app, services.health)
    if settings.metrics.enabled:
        add_metrics_route(app, services.metrics)
    return app


def _lifespan(services: Services) -> Lifespan[FastAPI]:
    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        with services.reporting.watching(asyncio.get_running_loop()):
            async with _running(services):
                yield

    return lifespan


@asynccontextmanager
async def _running(services: Services) -> AsyncIterator[None]:
    try:
        services.metrics.start()
        if services.database.url.get_backend_name() == "sqlite":
            await asyncio.to_thread(migrate, services.database.url)
        log.info("service.started")
        async with _purging(services):
            yield
    except Exception as error:
        log.exception("service.failed")
        services.reporting.report(error, ErrorContext(operation="service"), in_log=True)
        raise
    finally:
        await services.aclose()
        log.info("service.stopped")


@asynccontextmanager
async def _purging(services: Services) -> AsyncIterator[None]:
    """Delete idempotency records that are over while the service runs."""
    interval = services.settings.idempotency.purge_interval
    if not (interval and services.idempotency_store.transactional):
        yield
        return
    on_purged = services.metrics.idempotency_purged
    task = asyncio.create_task(purge_regularly(services.idempotency_store, interval=interval, on_purged=on_purged))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
