"""Serve the application in this process: alone, or as one of several."""

import socket
from typing import TYPE_CHECKING

from ..settings import Settings, load_settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ..bootstrap import Services


def run(settings: Settings, listener: socket.socket | None = None) -> int:
    """Serve in this process, and return its exit code: 0 after a signal, 1 when the service could not start.

    Args:
        settings: How it is set up.
        listener: Where connections come in, instead of at the address that the settings name.

    """
    # Not at the top: the process that watches workers needs nothing of the application.
    from ..adapters.logging import configure_logging
    from ..bootstrap import bootstrap
    from .application import create_app

    services = bootstrap(settings)
    app = create_app(settings, services=services)
    configure_logging(settings, on_event=services.metrics.log_record)
    services.tracing.install()
    services.reporting.watch_process()
    return 0 if serve(app, services, listener) else 1


def work(listener: socket.socket, folder: str) -> int:
    """Serve as one of several processes, and return the exit code.

    Args:
        listener: Where connections come in.
        folder: Where the processes' metrics add up.

    """
    return run(load_settings(prometheus_multiproc_dir=folder), listener)


def serve(app: "FastAPI", services: "Services", listener: socket.socket | None = None) -> bool:
    """Serve until a signal comes, and return whether the service had started.

    Args:
        app: The application.
        services: Its parts.
        listener: Where connections come in, instead of at the address that the settings name.

    """
    from ..serving.uvicorn_server import serve as serve_uvicorn

    return serve_uvicorn(app, services.settings, services.health, listener=listener)
