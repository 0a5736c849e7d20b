"""A worker in a thread of the test's own process, on a broker in memory, and what is seen of its tasks."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from celery import Celery
from celery.contrib.testing.worker import start_worker
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.adapters.tracing import Tracing
from app.bootstrap import Services, bootstrap
from app.worker.application import create_app
from app.worker.bootstrap import using_services
from app.worker.configuration import WorkerGroup, WorkerSettings

PATIENCE = 30.0


def until(condition: Callable[[], Any], what: str = "it") -> Any:
    """Return what a condition is at last."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not come within {PATIENCE:g} s"
        time.sleep(0.005)
    return found


class Observed:
    """An application, its parts, and its spans.

    Args:
        folder: Where its files are.
        overrides: Its settings.

    """

    def __init__(self, folder: Path, **overrides: Any) -> None:
        own: dict[str, Any] = {
            "environment": "test",
            "service_name": "orders",
            "database_url": f"sqlite:///{folder}/test.db",
            "broker_url": f"filesystem://{folder}/broker",
            "worker": WorkerGroup(pool="solo", queue=f"tests-{uuid4().hex}"),
        }
        self.settings = WorkerSettings(**{**own, **overrides})
        # What its tasks noted.
        self.seen: list[dict[str, Any]] = []
        self.spans = InMemorySpanExporter()
        tracing = Tracing(self.settings, processor=SimpleSpanProcessor(self.spans))
        self.services: Services = bootstrap(self.settings, tracing=tracing)
        self.app: Celery = create_app(self.settings)
        self.app.conf.update(
            broker_url="memory://", broker_transport=None, broker_transport_options={"polling_interval": 0.005}
        )

    @contextmanager
    def working(self, pool: str = "solo", **options: Any) -> Iterator[None]:
        """Work on tasks inside the block.

        Args:
            pool: In which way.
            options: Further arguments of the worker.

        """
        started = start_worker(self.app, pool=pool, perform_ping_check=False, shutdown_timeout=PATIENCE, **options)
        worker: Any
        with using_services(self.services), started as worker:
            _look_often(worker.consumer.connection)
            yield
        self.close()

    def close(self) -> None:
        """Close what was opened."""
        self.app.close()
        self.services.idempotency.close()
        self.services.database.sync_engine.dispose()

    def span(self, name: str) -> ReadableSpan:
        """Return the only span of a name, when it is there."""
        found = until(lambda: [span for span in self.spans.get_finished_spans() if span.name == name], name)
        assert len(found) == 1
        return found[0]  # type: ignore[no-any-return]

    def number(self, series: str) -> float:
        """Return a number of the exposition; 0 when it is not there."""
        lines = self.services.metrics.render().decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{series} ")), 0.0)


def _look_often(connection: Any) -> None:
    """Let a worker see soon that it is to end: it waits for messages for two seconds otherwise."""
    drain = connection.drain_events
    connection.drain_events = lambda **_timeout: drain(timeout=0.02)
