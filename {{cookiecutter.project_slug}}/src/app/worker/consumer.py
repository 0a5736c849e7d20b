"""What takes messages: one that is no task which this worker knows is buried, where Celery would throw it away."""

from typing import Any

from celery.worker.consumer import Consumer
from kombu.message import Message

from ..core.logging import get_logger
from ..core.retry import Reason
from .bootstrap import current_services
from .dead_letters.burial import bury

log = get_logger("app.tasks")


class ServiceConsumer(Consumer):
    """Takes messages, and loses none that it cannot use."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        current_services().metrics.watch_dead_letters()

    def on_unknown_message(self, body: Any, message: Message) -> None:
        """Bury what is no task."""
        if self._buried(message, Reason.UNREADABLE, ValueError("The message is no task.")):
            super().on_unknown_message(body, message)

    def on_unknown_task(self, body: Any, message: Message, exc: Exception) -> None:
        """Bury a task whose name nobody here knows: it may be known after the next release."""
        if self._buried(message, Reason.UNKNOWN, exc):
            super().on_unknown_task(body, message, exc)

    def on_invalid_task(self, body: Any, message: Message, exc: Exception) -> None:
        """Bury a task that breaks a rule of Celery's, or comes in a format that is not accepted."""
        if self._buried(message, Reason.UNREADABLE, exc):
            super().on_invalid_task(body, message, exc)

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Bury what cannot be read."""
        if self._buried(message, Reason.UNREADABLE, exc):
            super().on_decode_error(message, exc)

    def _buried(self, message: Message, reason: Reason, error: BaseException) -> bool:
        """Return whether the message lies among the dead letters; else it is given back."""
        try:
            bury(self.app, message, reason, error)
        except Exception:
            log.exception("task.not_buried", task_id=str(message.headers.get("id", "")))
            message.requeue()
            return False
        return True
