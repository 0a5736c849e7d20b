"""What a worker's processes work with: the service's parts, one set per process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ..bootstrap import Services, bootstrap
from ..settings import load_settings_of
from .configuration import WorkerSettings


def load_worker_settings(**overrides: object) -> WorkerSettings:
    """Read the settings from the environment and `.env`.

    Args:
        overrides: Values that win over both, by field name.

    Raises:
        ConfigurationError: A value is not allowed; one message names each wrong variable.

    """
    return load_settings_of(WorkerSettings, **overrides)


class _Current:
    services: Services | None = None
    building = threading.Lock()


def current_services() -> Services:
    """Return what this process works with; built when it is first asked for."""
    if _Current.services is None:
        with _Current.building:
            _Current.services = _Current.services or bootstrap(load_worker_settings())
    return _Current.services


def has_services() -> bool:
    """Return whether this process has what it works with; one that was spawned has not, until it is asked for."""
    return _Current.services is not None


@contextmanager
def using_services(services: Services) -> Iterator[None]:
    """Let the process work with other parts inside the block, as tests do.

    Args:
        services: The parts.

    """
    before, _Current.services = _Current.services, services
    try:
        yield
    finally:
        _Current.services = before
