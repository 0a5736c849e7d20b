"""The emitted project, with everything on: what `python -m app.api` serves, and the two endpoints."""

import secrets

from app.adapters.logging import configure_logging
from app.adapters.tracing import Tracing
from app.api.application import create_app
from app.bootstrap import bootstrap
from app.settings import Settings, load_settings

from . import Built, spans
from .endpoints import add_endpoints


def settings() -> Settings:
    """Return the settings of a production service; nothing but the log's format depends on them here."""
    return load_settings(
        environment="production",
        secret_key=secrets.token_urlsafe(48),
        service_name="benchmark",
        service_version="1.0.0",
    )


def build() -> Built:
    """Return the application, logging as its entry point does; `OTEL_TRACES_SAMPLER` says how much is sampled."""
    own = settings()
    processor = spans.processor()
    services = bootstrap(own, tracing=Tracing(own, processor=processor))
    app = add_endpoints(create_app(own, services=services))
    configure_logging(own, on_event=services.metrics.log_record)
    return Built(app, processor.force_flush)
