"""A Celery worker with a task that does nothing: the emitted one, or a bare one with the same delivery settings."""

import logging
import os
import sys
from typing import Any

from app.worker.bootstrap import load_worker_settings
from app.worker.delivery import delivery_configuration
from celery import Celery, shared_task, signals
from celery.apps.worker import Worker

from . import answer, arguments

TASK = "benchmark.nothing"
# As a service sends it that is traced, and whose request is recorded.
HEADERS = {"traceparent": f"00-{'5' * 32}-{'6' * 16}-01", "x-request-id": "request-of-the-benchmark"}
# What the emitted project has of its own for Redis.
OWN_TRANSPORT = "broker_transport"


@shared_task(name=TASK)
def do_nothing() -> None:
    """Do nothing."""


def prepare(app: Celery, queue: str, count: int, headers: dict[str, str]) -> None:
    """Put messages where no worker looks, to be moved to the queue as often as it takes.

    Args:
        app: Sends them.
        queue: The worker's queue.
        count: How many.
        headers: What they carry.
    """
    with app.producer_or_acquire() as producer:
        for _ in range(count):
            app.send_task(TASK, queue=f"{queue}.prepared", headers=headers, producer=producer)


def wired(queue: str, count: int) -> None:
    """Work as the emitted project's entry point does; spans are recorded, and dropped where they would be sent.

    Args:
        queue: Where tasks wait.
        count: How many messages are prepared.
    """
    from app.bootstrap import bootstrap
    from app.worker import server
    from app.worker.application import create_app

    from ..apps.emitted import dropping_tracing

    settings = load_worker_settings()
    prepare(create_app(settings), queue, count, HEADERS)
    server.bootstrap = lambda own: bootstrap(own, tracing=dropping_tracing(own))
    server.run(settings)


def bare(queue: str, count: int, *, logs: bool = False, kombu: bool = False) -> None:
    """Work as Celery does by itself.

    Args:
        queue: Where tasks wait.
        count: How many messages are prepared.
        logs: Whether it writes its two lines a task, as `--loglevel=INFO` does.
        kombu: Whether it has kombu's transport instead of the emitted project's.
    """
    configuration = delivery_configuration(load_worker_settings())
    if kombu:
        configuration.pop(OWN_TRANSPORT, None)
    app = Celery("bare")
    app.conf.update(configuration)
    app.set_default()
    prepare(app, queue, count, {})
    level = logging.INFO if logs else logging.WARNING
    Worker(app=app, quiet=True, loglevel=level, without_mingle=True, without_gossip=True).start()


def main(kind: str, queue: str, count: int) -> None:
    """Work until the parent ends it, and tell the parent when it begins.

    Args:
        kind: `wired`, `bare`, `bare_logs` or `bare_kombu`.
        queue: Where tasks wait.
        count: How many messages are prepared.
    """
    # Celery's own lines go to standard error, which the parent keeps.
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 -- a device
        sys.stderr = sys.stderr if kind == "wired" else nowhere

        def ready(**_signal: Any) -> None:
            answer({"ready": True})

        signals.worker_ready.connect(ready, weak=False)
        if kind == "wired":
            wired(queue, count)
        else:
            bare(queue, count, logs=kind == "bare_logs", kombu=kind == "bare_kombu")


if __name__ == "__main__":
    main(**arguments())
