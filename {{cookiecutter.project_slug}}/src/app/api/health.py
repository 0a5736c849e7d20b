"""Liveness and readiness."""

from fastapi import FastAPI, Response
from pydantic import BaseModel

from ..adapters.health import Health
from ..core.health import Status
from .openapi import problems


class LiveView(BaseModel):
    """The process serves."""

    status: Status


class CheckView(BaseModel):
    """What a check found, how long it took in seconds, and whether the service can not do without it."""

    name: str
    status: Status
    duration: float
    required: bool


class ReadyView(BaseModel):
    """Whether the service may receive work."""

    status: Status
    checks: list[CheckView]


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
