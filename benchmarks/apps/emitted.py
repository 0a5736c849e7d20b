"""The emitted project, with everything on: what `python -m app.api` serves, and the two endpoints."""

import secrets
from typing import Any

from app.adapters.logging import configure_logging
from app.adapters.otlp import OtlpExporter
from app.adapters.span_queue import Sent
from app.adapters.tracing import Tracing, resource_of
from app.api.application import create_app
from app.bootstrap import bootstrap
from app.otel_settings import TracesEndpoint
from app.settings import Settings, load_settings

from . import Built, spans
from .endpoints import add_endpoints


class Dropping(OtlpExporter):
    """Redacts and encodes spans as for a collector, and sends nothing."""

    def send(self, batch: bytes, count: int, timeout: float) -> Sent:  # noqa: ARG002 -- as the queue calls it
        """Succeed."""
        return Sent()


def settings(**changes: Any) -> Settings:
    """Return the settings of a production service; nothing but the log's format depends on them here.

    Args:
        changes: What is set besides.
    """
    return load_settings(
        otel_bsp_max_queue_size=spans.QUEUE,
        environment="production",
        secret_key=secrets.token_urlsafe(48),
        service_name="benchmark",
        service_version="1.0.0",
        **changes,
    )


def dropping_tracing(own: Settings) -> Tracing:
    """Return tracing that does all its work but the sending.

    Args:
        own: The service's settings.
    """
    return Tracing(own, exporter=Dropping(TracesEndpoint("http://127.0.0.1/"), resource_of(own)))


def build(**changes: Any) -> Built:
    """Return the application, logging as its entry point does; `OTEL_TRACES_SAMPLER` says how much is sampled.

    Args:
        changes: Settings besides.
    """
    own = settings(**changes)
    tracing = dropping_tracing(own)
    services = bootstrap(own, tracing=tracing)
    app = add_endpoints(create_app(own, services=services))
    configure_logging(own, on_event=services.metrics.log_record)
    return Built(app, tracing.flush)
