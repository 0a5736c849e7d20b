"""What Celery says by itself and must not: a second line beside ours, and tasks' arguments in plain text.

Their levels are in the log's configuration; here is what holds whatever level somebody asks for.
"""

import logging
from collections.abc import Callable

from celery.apps import worker as celery_worker

# Extra fields that hold a task's arguments as they are.
EXTRA = "data"
WITH_EXTRA = ("celery.app.trace", "celery.worker.strategy")
# What shows a task's arguments, or a whole message; each of the latter has a line of our own.
POOLS = ("celery.pool", "celery.concurrency.base", "celery.concurrency.asynpool")
APPLY = "TaskPool: Apply"
CONSUMERS = ("celery.worker.consumer.consumer", "celery.worker.loops")
SHOWN = ("Received unregistered task", "Received invalid task message", "Received and deleted unknown message")
UNREADABLE = "Can't decode message body"


def keep_quiet() -> None:
    """Keep tasks' arguments out of Celery's records, and its sentences from standard output."""
    for names, keep in ((WITH_EXTRA, _without_extra), (POOLS, _is_no_call), (CONSUMERS, _without_message)):
        for name in names:
            _filter(logging.getLogger(name), keep)
    # It writes past the log, from within a handler of a signal; what it says, `worker.stopping` says.
    celery_worker.safe_say = _say_nothing  # type: ignore[attr-defined] # its types leave it out


def _filter(logger: logging.Logger, keep: Callable[[logging.LogRecord], bool]) -> None:
    if keep not in logger.filters:
        logger.addFilter(keep)


def _without_extra(record: logging.LogRecord) -> bool:
    record.__dict__.pop(EXTRA, None)
    return True


def _is_no_call(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(APPLY)


def _without_message(record: logging.LogRecord) -> bool:
    text = str(record.msg)
    if text.startswith(UNREADABLE):
        error = record.args[0] if isinstance(record.args, tuple) and record.args else None
        record.msg, record.args, record.exc_info = "a message cannot be read: %s", (type(error).__name__,), None
    return not text.startswith(SHOWN)


def _say_nothing(*_args: object, **_options: object) -> None:
    """Stand in for what would print."""
