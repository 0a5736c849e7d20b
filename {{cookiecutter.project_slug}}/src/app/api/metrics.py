"""The exposition of the service's series."""

from fastapi import FastAPI, Response

from ..adapters.metrics import Metrics
from ..core.openapi import problems


def add_metrics_route(app: FastAPI, metrics: Metrics) -> None:
    """Add the route that Prometheus scrapes.

    Args:
        app: The application.
        metrics: The series.

    """

    @app.get(
        "/metrics",
        tags=["operations"],
        response_class=Response,
        responses={**problems(), 200: {"content": {"text/plain": {}}}},
    )
    def expose() -> Response:
        """Return all series in Prometheus's text format."""
        # No `async def`: in a thread, many series hold up no request.
        return Response(metrics.render(), media_type=metrics.content_type)
