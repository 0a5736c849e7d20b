"""Serve the project: with gunicorn or with uvicorn, as `WEB__SERVER` says."""

import os
import socket
from contextlib import ExitStack
from importlib import import_module

from ..serving.supervisor import metrics_folder, supervise
from ..settings import load_settings_of
from .configuration import DjangoSettings
from .manage import use_settings


def serve() -> int:
    """Serve until a signal comes, and return the exit code: 0 after a signal, 1 when the service could not start.

    Raises:
        ConfigurationError: A setting is wrong, also one that only Django's settings look at.

    """
    use_settings()
    settings = load_settings_of(DjangoSettings)
    with ExitStack() as stack:
        if settings.http.workers > 1:
            # Before Django's settings are read: what they say is what each worker goes by.
            folder = stack.enter_context(metrics_folder(settings))
            settings = settings.model_copy(update={"prometheus_multiproc_dir": folder})
            _share_metrics(folder)
        import_module(os.environ["DJANGO_SETTINGS_MODULE"])  # noqa: TID251 -- as Django finds them
        if settings.web.server != "uvicorn":
            # Not at the top: there is no gunicorn on Windows.
            from .gunicorn_server import serve as serve_gunicorn

            return serve_gunicorn(settings)
        return run() if settings.http.workers == 1 else supervise(settings, work)


def run(listener: socket.socket | None = None) -> int:
    """Serve with uvicorn in this process, and return the exit code.

    Args:
        listener: Where connections come in, instead of at the address that the settings name.

    """
    # Not at the top: the process that watches workers needs nothing of the application.
    from ..serving.uvicorn_server import serve as serve_uvicorn
    from .asgi import application
    from .bootstrap import current_services

    services = current_services()
    return 0 if serve_uvicorn(application, services.settings, services.health, listener=listener) else 1


def work(listener: socket.socket, folder: str) -> int:
    """Serve with uvicorn as one of several processes, and return the exit code.

    Args:
        listener: Where connections come in.
        folder: Where the processes' metrics add up.

    """
    use_settings()
    _share_metrics(folder)
    return run(listener)


def _share_metrics(folder: str) -> None:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # noqa: TID251 -- from where each worker's settings take it
