"""Liveness and readiness."""

from fastapi import FastAPI, Response

from ..adapters.health import Health
from ..core.health import Status
from ..core.health_views import LiveView, ReadyView
from ..core.openapi import problems


def add_health_routes(app: FastAPI, health: Health) -> None:
    """Add the routes that an orchestrator asks.

    Args:
        app: The application.
        health: The readiness checks.

    """

    @app.get("/livez", tags=["operations"], responses=problems())
    async def live() -> LiveView:
        """Say that the process serves; touches no dependency."""
        return LiveView(status=Status.OK)

    @app.get(
        "/readyz", tags=["operations"], responses={**problems(), 503: {"model": ReadyView, "description": "Not ready"}}
    )
    async def ready(response: Response) -> ReadyView:
        """Say whether the service may receive work."""
        report = await health.report()
        response.status_code = 200 if report.ready else 503
        response.headers["Cache-Control"] = "no-store"
        return ReadyView.model_validate(report.document())
