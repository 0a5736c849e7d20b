"""Send tasks to a Celery worker: from a request, a script or another task, with the ids and the trace of the sender.

    tasks = TaskSender(settings, metrics=services.metrics)
    tasks.enqueue("orders.fulfil", "o-1")              # in code without an event loop
    await tasks.enqueue_async("orders.fulfil", "o-1")  # in a coroutine

A service that only sends needs Celery as well: `uv add 'celery[redis]>=5.7,<5.8'`.
"""

import asyncio
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.trace import SpanKind, StatusCode

from ..core.broker_url import read_broker_url
from ..core.context import current_context
from ..core.errors import BrokerError
from ..core.logging import get_logger
from ..core.spans import RecordedSpan, record_error, recorded_span
from ..core.task_headers import SENT_AT, task_headers
from ..core.tracing import current_trace
from ..settings import ConfigurationError, Settings
from .broker import accepted_delay, broker_configuration

if TYPE_CHECKING:
    from celery import Celery

log = get_logger(__name__)
# What OpenTelemetry calls a broker (https://opentelemetry.io/docs/specs/semconv/messaging/).
SYSTEMS = {"amqp": "rabbitmq", "redis": "redis", "filesystem": "filesystem"}
DEFAULT_QUEUE = "tasks"
# Seconds until a connection, and until the broker has taken a message: a request waits for it.
TIMEOUT = 2.0
# The broker that was reached a moment ago may have restarted: once more, at once, with a new connection.
RETRY_POLICY = {"max_retries": 1, "interval_start": 0.0, "interval_step": 0.1, "interval_max": 0.1}


class TaskMetrics(Protocol):
    """What counts tasks that are sent; `adapters.metrics.Metrics` does."""

    def task_sent(self, task: str, outcome: str) -> None:
        """Count a task by its name, as `sent` or `failed`."""


class Publishing:
    """Puts the sender's ids and position on every message, below a span of kind producer when the sender's is recorded.

    Args:
        system: What OpenTelemetry calls the broker.

    """

    def __init__(self, system: str) -> None:
        self._system = system
        self._open = threading.local()

    def before(self, sender: str, headers: dict[str, Any], routing_key: str | None = None, **_signal: Any) -> None:
        """Prepare a message that is about to be sent.

        Args:
            sender: The task's name.
            headers: The message's, which are added to: what a sender without ids was given stays.
            routing_key: The queue.
            _signal: What else Celery tells.

        """
        self.abandon(None)
        span = self._start(sender, str(headers.get("id", "")), routing_key or "")
        headers.update(task_headers(current_context(), current_trace() if span is None else span.trace))
        headers[SENT_AT] = time.time()

    def after(self, **_signal: Any) -> None:
        """End the span of a message that was sent."""
        span, self._open.span = getattr(self._open, "span", None), None
        if span is not None:
            span.end()

    def abandon(self, error: BaseException | None) -> None:
        """End the span of a message that was not sent, if there is one.

        Args:
            error: Why.

        """
        span, self._open.span = getattr(self._open, "span", None), None
        if span is None:
            return
        span.set_status(StatusCode.ERROR)
        if error is not None:
            record_error(span, error)
        span.end()

    def _start(self, task: str, task_id: str, queue: str) -> RecordedSpan | None:
        above = recorded_span()
        if above is None:
            return None
        attributes = {
            "messaging.system": self._system,
            "messaging.operation.name": "publish",
            "messaging.operation.type": "send",
            "messaging.destination.name": queue,
            "messaging.message.id": task_id,
            "celery.task.name": task,
        }
        span: RecordedSpan = above.child(f"publish {task}", SpanKind.PRODUCER, attributes)
        self._open.span = span
        return span


class _Connected:
    """What prepares the messages of this process, whichever application sends them."""

    publishing: Publishing | None = None
    lock = threading.Lock()


def connect_publishing(broker_url: str) -> Publishing:
    """Let every message of this process carry its sender's ids; a second call changes nothing.

    Args:
        broker_url: Where the messages go.

    """
    from celery import signals

    with _Connected.lock:
        if _Connected.publishing is None:
            _Connected.publishing = Publishing(SYSTEMS[read_broker_url(broker_url).kind])
        publishing = _Connected.publishing
        signals.before_task_publish.connect(publishing.before, weak=False, dispatch_uid="app.before_task_publish")
        signals.after_task_publish.connect(publishing.after, weak=False, dispatch_uid="app.after_task_publish")
    return publishing


class TaskSender:
    """Sends tasks; one for the whole process, from any of its threads.

    Args:
        settings: Where the broker is: `BROKER_URL`.
        queue: Where the worker looks for tasks, its `WORKER__QUEUE`.
        metrics: What counts tasks that are sent.
        timeout: Seconds after which the broker counts as not reached.

    Raises:
        ConfigurationError: There is no broker, or Celery is not installed.

    """

    def __init__(
        self,
        settings: Settings,
        *,
        queue: str = DEFAULT_QUEUE,
        metrics: TaskMetrics | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        if settings.broker_url is None:
            msg = "BROKER_URL: received nothing; allowed: the broker of the worker, such as redis://127.0.0.1:6379/1"
            raise ConfigurationError(msg)
        self._app = _application(settings.broker_url, queue, timeout)
        self._publishing = connect_publishing(settings.broker_url)
        self._metrics = metrics
        self._timeout = timeout

    def enqueue(self, name: str, /, *args: Any, countdown: float | None = None, **kwargs: Any) -> str:
        """Send a task, and return its id.

        Args:
            name: The task's name, such as `orders.fulfil`.
            args: The task's arguments: what JSON has a form for.
            countdown: Seconds before which it does not begin.
            kwargs: The task's arguments by name.

        Raises:
            BrokerError: The broker did not take it in time.
            TypeError: An argument is no JSON.

        """
        options: dict[str, Any] = {"retry": True, "retry_policy": RETRY_POLICY, "timeout": self._timeout}
        if countdown is not None:
            options["countdown"] = accepted_delay(self._app.conf, countdown)
        try:
            sent = self._app.send_task(name, args=args, kwargs=kwargs, ignore_result=True, **options)
        except Exception as error:
            self._publishing.abandon(error)
            self._count(name, "failed")
            if _is_callers(error):
                raise
            msg = f"the task {name} was not sent: {type(error).__name__}"
            raise BrokerError(msg, details={"task": name}, retry_after=1) from error
        self._count(name, "sent")
        return str(sent.id)

    async def enqueue_async(self, name: str, /, *args: Any, countdown: float | None = None, **kwargs: Any) -> str:
        """Send a task without keeping the event loop, and return its id.

        Args:
            name: The task's name, such as `orders.fulfil`.
            args: The task's arguments: what JSON has a form for.
            countdown: Seconds before which it does not begin.
            kwargs: The task's arguments by name.

        Raises:
            BrokerError: The broker did not take it in time.
            TypeError: An argument is no JSON.

        """
        return await asyncio.to_thread(self.enqueue, name, *args, countdown=countdown, **kwargs)

    def close(self) -> None:
        """Close the connections; what is sent later opens new ones."""
        with suppress(Exception):
            self._app.close()

    def _count(self, name: str, outcome: str) -> None:
        if self._metrics is not None:
            self._metrics.task_sent(name, outcome)


def _application(url: str, queue: str, timeout: float) -> "Celery":
    try:
        from celery import Celery
    except ImportError as error:
        msg = "BROKER_URL is set, but Celery is not installed; add it: uv add 'celery[redis]>=5.7,<5.8'"
        raise ConfigurationError(msg) from error
    app = Celery("sender", set_as_current=False, fixups=[])
    app.conf.update(bounded(broker_configuration(url, queue), read_broker_url(url).kind, timeout))
    return app


def bounded(configuration: Mapping[str, Any], kind: str, timeout: float) -> dict[str, Any]:
    """Return the configuration of someone who only sends, and waits for no more than this.

    Args:
        configuration: What `broker_configuration` returned.
        kind: Which broker.
        timeout: In seconds.

    """
    names = {"redis": ("socket_timeout", "socket_connect_timeout"), "amqp": ("read_timeout", "write_timeout")}
    waits = dict.fromkeys(names.get(kind, ()), timeout)
    return {
        **configuration,
        "broker_transport_options": {**configuration["broker_transport_options"], **waits},
        "broker_connection_timeout": timeout,
        "broker_connection_max_retries": 1,
        "task_ignore_result": True,
    }


def _is_callers(error: Exception) -> bool:
    """Return whether a task could not be sent because of what it was given."""
    from kombu.exceptions import EncodeError

    return isinstance(error, EncodeError | TypeError | ValueError)
