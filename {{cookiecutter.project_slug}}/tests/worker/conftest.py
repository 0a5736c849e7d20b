"""A worker in the test's own process, with everything below the test's own folder."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery import Celery

from app.worker.configuration import WorkerSettings

from .in_process import application, settings_in, use_memory


@pytest.fixture(autouse=True)
def _own_worker_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's variables for the worker out of the tests."""
    for name in [name for name in os.environ if name.startswith(("WORKER__", "ADMIN_PORT"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def worker_settings(tmp_path: Path) -> WorkerSettings:
    """Return the settings of a worker of the test's own."""
    return settings_in(tmp_path)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Celery]:
    """Return an application of the module's own, on a broker in memory."""
    settings = settings_in(tmp_path_factory.mktemp("worker"))
    with application(settings) as app:
        use_memory(app)
        yield app
