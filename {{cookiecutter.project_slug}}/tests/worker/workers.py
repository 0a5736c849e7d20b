"""A worker as a process of its own, what sends to it, and what it has done."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from app.worker.application import create_app
from app.worker.bootstrap import load_worker_settings

from ..running import Running, until


class RunningWorker(Running):
    """A worker that runs in a folder; its broker of files is there too.

    Args:
        folder: Where it runs.
        arguments: Of `python -m app.worker`.
        module: What starts it, among the tests.
        variables: Its settings, as environment variables.

    """

    def __init__(self, folder: Path, *arguments: str, module: str = "launch", **variables: str) -> None:
        own = {"WORKER__CONCURRENCY": "2", **variables}
        super().__init__(folder, f"tests.worker.{module}", *arguments, ready=("worker.ready", " ready."), **own)

    def send(self, name: str, *args: Any, headers: dict[str, str] | None = None, **options: Any) -> str:
        """Send a task to this worker's broker, and return the task's id.

        Args:
            name: Of the task.
            args: Its arguments.
            headers: The message's own.
            options: Celery's others, as `countdown`.

        """
        with sender(self.folder, **self.variables) as app:
            return str(app.send_task(name, args=args, headers=headers, **options).id)


@contextmanager
def running_worker(
    folder: Path, *arguments: str, ready: bool = True, module: str = "launch", **variables: str
) -> Iterator[RunningWorker]:
    """Run a worker, and leave no process behind.

    Args:
        folder: Where.
        arguments: Of `python -m app.worker`.
        ready: Whether to wait until it takes tasks.
        module: What starts it, among the tests.
        variables: Its settings, as environment variables.

    """
    worker = RunningWorker(folder, *arguments, module=module, **variables)
    try:
        if ready:
            until(lambda: worker.is_ready, "a worker that is ready", tell=worker.tail)
        yield worker
    finally:
        worker.kill()


@contextmanager
def sender(folder: Path, **variables: str) -> Iterator[Any]:
    """Return an application that sends to the broker of a worker in a folder.

    Args:
        folder: The worker's.
        variables: Its settings, as environment variables.

    """
    broker = variables.get("BROKER_URL", f"filesystem://{folder}/var/broker")
    queue = variables.get("WORKER__QUEUE", "tasks")
    app = create_app(load_worker_settings(broker_url=broker, worker={"queue": queue}))
    try:
        yield app
    finally:
        app.close()
