"""Liveness and readiness."""

from django.http import HttpRequest, HttpResponse
from ninja import Router
from ninja.responses import Status as Answer

from ..core.health import Status
from ..core.health_views import LiveView, ReadyView
from .bootstrap import current_services
from .openapi import answers

router = Router(tags=["operations"])


@router.get("/livez", response=LiveView, **answers())
def live(request: HttpRequest) -> LiveView:
    """Say that the process serves; touches no dependency."""
    return LiveView(status=Status.OK)


@router.get("/readyz", response={200: ReadyView, 503: ReadyView}, **answers())
def ready(request: HttpRequest, response: HttpResponse) -> Answer[ReadyView]:
    """Say whether the service may receive work."""
    report = current_services().health.report()
    response["Cache-Control"] = "no-store"
    return Answer(200 if report.ready else 503, ReadyView.model_validate(report.document()))
