"""The exposition of the service's series."""

from django.http import HttpRequest, HttpResponse
from ninja import Router

from .bootstrap import current_services
from .openapi import answers

router = Router(tags=["operations"])


@router.get("/metrics", **answers())
def expose(request: HttpRequest) -> HttpResponse:
    """Return all series in Prometheus's text format."""
    metrics = current_services().metrics
    return HttpResponse(metrics.render(), content_type=metrics.content_type)
