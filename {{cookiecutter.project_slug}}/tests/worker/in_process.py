"""Run a worker in a thread of the test, and wait for what it does."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from celery import Celery
from celery.contrib.testing.worker import start_worker

from app.bootstrap import bootstrap
from app.worker.application import create_app
from app.worker.bootstrap import using_services
from app.worker.configuration import WorkerGroup, WorkerSettings

DEADLINE = 20.0


@contextmanager
def working(app: Celery, *, pool: str = "solo", **options: Any) -> Iterator[Any]:
    """Work on tasks inside the block.

    Args:
        app: Whose tasks.
        pool: Which one, without processes.
        options: Further arguments of the worker.

    """
    with start_worker(app, pool=pool, perform_ping_check=False, shutdown_timeout=DEADLINE, **options) as worker:
        yield worker


def wait_for(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """Return what a condition is at last.

    Args:
        condition: Asked again and again until it is true.
        what: How it is called when it never is.

    """
    end = time.monotonic() + DEADLINE
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not come within {DEADLINE:g} s"
        time.sleep(0.05)
    return value


def settings_in(folder: Path, **overrides: object) -> WorkerSettings:
    """Return the settings of a worker whose retries come at once.

    Args:
        folder: Where its database and its broker of files are.
        overrides: What is otherwise.

    """
    own: dict[str, Any] = {
        "environment": "test",
        "service_name": "orders",
        "service_version": "1.2.3",
        "database_url": f"sqlite:///{folder}/test.db",
        "broker_url": f"filesystem://{folder}/broker",
        "worker": WorkerGroup(pool="solo", max_attempts=3, backoff=0.01, backoff_max=0.02),
    }
    return WorkerSettings(**{**own, **overrides})


def use_memory(app: Celery) -> None:
    """Let an application send to a broker in memory.

    Args:
        app: The application.

    """
    app.conf.update(broker_url="memory://", broker_transport=None)
    app.conf.broker_transport_options = {"polling_interval": 0.01}


@contextmanager
def application(settings: WorkerSettings) -> Iterator[Celery]:
    """Lend an application and what its process works with.

    Args:
        settings: Of both.

    """
    services = bootstrap(settings)
    with using_services(services):
        app = create_app(settings)
        yield app
        app.close()
    asyncio.run(services.aclose())


class Script:
    """A task that raises one error after the other, as its caller says, and succeeds then.

    Args:
        app: Where it is registered.
        name: As what.
        options: Of the task.

    """

    def __init__(self, app: Celery, name: str, **options: Any) -> None:
        self.name = name
        self.errors: dict[str, list[Exception]] = {}
        self.attempts: dict[str, list[int]] = {}

        @app.task(name=name, shared=False, **options)
        def play(key: str) -> str:
            made = self.attempts.setdefault(key, [])
            made.append(play.request.retries)
            if len(made) <= len(self.errors[key]):
                raise self.errors[key][len(made) - 1]
            return key

        self.task = play

    def send(self, key: str, errors: list[Exception], **options: Any) -> None:
        """Send the task.

        Args:
            key: Its argument.
            errors: What it raises.
            options: Of the message.

        """
        self.errors[key] = errors
        self.task.apply_async([key], **options)

    def made(self, key: str) -> list[int]:
        """Return which attempts were made."""
        return self.attempts.get(key, [])
