"""A task as the parent of the pool's processes knows it: what ended it is told there, and what is given up buried."""

from typing import Any

from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery.exceptions import TaskPredicate
from celery.worker.request import Request

from ..core.logging import get_logger
from .dead_letters.burial import bury
from .task import reason_of
from .telling import tell

log = get_logger("app.tasks")


class ServiceRequest(Request):
    """Tells, once, what ended a task whose process could not: it was lost, or killed because of its time limit.

    What failed for the last time goes to the dead letters before it is acknowledged, or is given back.
    """

    _told = False
    _buried = False
    _already_revoked: bool
    _already_cancelled: bool
    _context: Any

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Take note that a time limit has passed."""
        if not soft:
            self._tell("failure", TimeLimitExceeded(timeout))
            self._bury(TimeLimitExceeded(timeout))
        super().on_timeout(soft, timeout)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Take note of a failure: those that `return_ok` were told by the task's own process."""
        error = getattr(exc_info.exception, "exc", exc_info.exception)
        if isinstance(error, WorkerLostError | SystemExit):
            self._tell_loss(error)
        elif isinstance(error, TimeLimitExceeded):
            self._tell("failure", error)
        if self._is_given_up(error):
            self._bury(error)
        return super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def _tell_loss(self, error: BaseException) -> None:
        # One that was revoked, or given back because the worker stops, was ended on purpose.
        if self._was_ended_on_purpose:
            return
        will_return = self.task.acks_late and self.task.reject_on_worker_lost
        self._tell("lost" if will_return else "failure", error)

    def _tell(self, outcome: str, error: BaseException) -> None:
        if not self._told:
            self._told = True
            tell(self.task, self._context, outcome, error)

    def _is_given_up(self, error: BaseException) -> bool:
        """Return whether this was the end of the task: not that it is tried again, given back, or was revoked."""
        if isinstance(error, WorkerLostError | SystemExit | KeyboardInterrupt):
            return not ((self.task.acks_late and self.task.reject_on_worker_lost) or self._was_ended_on_purpose)
        return not isinstance(error, TaskPredicate | Terminated | MemoryError)

    @property
    def _was_ended_on_purpose(self) -> bool:
        return self._already_revoked or self._already_cancelled

    def _bury(self, error: BaseException) -> None:
        if self._buried:
            return
        self._buried = True
        try:
            bury(self.task.app, self.message, reason_of(error), error)
        except Exception:
            log.exception("task.not_buried", task_id=self.id, task_name=self.name)
            # With this it counts as acknowledged, and what comes after does not do so.
            self.reject(requeue=True)
