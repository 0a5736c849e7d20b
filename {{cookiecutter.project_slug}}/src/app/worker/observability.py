"""What is done around every task: ids, span, metrics, and the lines that say what became of it.

It runs for every task, so it is written for speed: one function before it and one after, nothing computed twice. What
ends a task in the parent of the pool's processes, because its own one is gone, is told there with the same ids.
"""

import inspect
import time
from collections.abc import Mapping
from contextvars import Token
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from celery import Task, states
from celery.app.task import Context as TaskRequest
from celery.exceptions import Retry
from opentelemetry.trace import Span, SpanKind, StatusCode

from ..adapters.task_sender import SYSTEMS
from ..adapters.tracing import record_error
from ..bootstrap import Services
from ..core.broker_url import read_broker_url
from ..core.context import Context, close_context, current_context, open_context
from ..core.errors import AppError, Severity
from ..core.logging import Logger, get_logger, mark_reported
from ..core.preview import preview
from ..core.queries import QueryCount
from ..core.query_warnings import ManyQueries
from ..core.reporting import ErrorContext
from ..core.task_headers import Sender, read_task_headers, task_headers, waited
from ..core.tracing import Trace, close_trace, current_trace, open_span, open_trace
from .task import temporary

log = get_logger("app.tasks")
OUTCOMES = {
    states.SUCCESS: "success",
    states.FAILURE: "failure",
    states.RETRY: "retry",
    states.REJECTED: "rejected",
    states.IGNORED: "ignored",
}
INTERRUPTED = "interrupted"
_LEVELS = {Severity.LOW: "warning", Severity.MEDIUM: "error", Severity.HIGH: "error", Severity.CRITICAL: "critical"}
_KEY = "app_observed"
_DELAYED, _DELAY_PARTS = "celery_delayed", 28


class Run:
    """One attempt at a task, and what is open while it lasts."""

    __slots__ = ("attempt", "context", "opened", "position", "queue", "span", "started")
    context: Context
    opened: Token[Any]
    position: Token[Any]
    span: Span | None
    queue: str
    attempt: int
    started: float


@lru_cache(maxsize=1024)
def _log_of(queue: str, attempt: int) -> Logger:
    """Return the logger of one kind of attempt: what its lines have in common is rendered once."""
    return log.bind(queue=queue, attempt=attempt)


class Observer:
    """What observes the tasks of one process.

    Args:
        services: The process's parts.

    """

    def __init__(self, services: Services) -> None:
        settings = services.settings
        self.services = services
        self._tracing = services.tracing
        self._metrics = services.metrics
        self._many_queries = ManyQueries(settings.database.many_queries)
        self._system = SYSTEMS[read_broker_url(settings.broker_url).kind] if settings.broker_url else "memory"

    def begin(self, task: "Task[Any, Any]", request: TaskRequest) -> None:
        """Open what a task works in.

        Args:
            task: The task.
            request: This attempt; it keeps what was opened.

        """
        run = Run()
        # A task that is called like a function, as tests do, is a part of what calls it.
        known: Mapping[str, Any] = request.__dict__
        if request.is_eager:
            known = task_headers(current_context(), current_trace())
        sender = read_task_headers(known, request.id or "")
        run.queue = _queue_of(request.delivery_info)
        run.attempt = (request.retries or 0) + 1
        run.context = _context_of(sender, request.id or "", task.name)
        trace = self._tracing.decide(sender.trace, sender.parent)
        run.span = None
        if self._tracing.records and trace.sampled:
            run.span = self._start_span(task.name, request.id or "", trace, sender.parent, run.queue, run.attempt)
        run.opened = open_context(run.context)
        run.position = open_trace(trace) if run.span is None else open_span(run.span)
        request.__dict__[_KEY] = run
        run.started = time.perf_counter()
        self._metrics.task_started(task.name, _waited(request))
        _log_of(run.queue, run.attempt).info("task.started")

    def end(self, task: "Task[Any, Any]", request: TaskRequest, state: str | None, result: object) -> None:
        """Report on a task that is over, and close what it worked in, come what may.

        Args:
            task: The task.
            request: The attempt.
            state: What Celery calls its end; None when what ended it is no error of the task.
            result: What it returned or raised.

        """
        run: Run | None = request.__dict__.pop(_KEY, None)
        if run is None:
            return
        try:
            seconds = time.perf_counter() - run.started
            outcome = OUTCOMES.get(state or "", INTERRUPTED)
            self._metrics.task_finished(task.name, outcome, seconds)
            queries = run.context.queries
            if queries is not None and queries.count:
                self._tell_queries(task.name, queries)
            self._tell(run, task, request, outcome, result, seconds)
        finally:
            if run.span is not None:
                _end_span(run.span, state, result)
            close_trace(run.position)
            close_context(run.opened)

    def _tell(
        self, run: Run, task: "Task[Any, Any]", request: TaskRequest, outcome: str, result: object, seconds: float
    ) -> None:
        told = _log_of(run.queue, run.attempt)
        fields: dict[str, Any] = {"duration_ms": round(seconds * 1000, 3)}
        if outcome == "success":
            queries = run.context.queries
            if queries is not None and queries.count:
                fields["queries"] = queries.count
                fields["query_ms"] = round(queries.seconds * 1000, 3)
            told.info("task.succeeded", **fields)
        elif outcome == "failure" and isinstance(result, BaseException):
            self._tell_failure(told, task, request, result, fields)
        elif outcome == "retry" and isinstance(result, Retry):
            told.warning("task.retried", **fields, **_described(result))
        elif outcome == INTERRUPTED:
            told.warning("task.interrupted", **fields)
        else:
            told.warning(f"task.{outcome}", **fields, reason=_text_of(result))

    def _tell_failure(
        self,
        told: Logger,
        task: "Task[Any, Any]",
        request: TaskRequest,
        error: BaseException,
        fields: dict[str, Any],
    ) -> None:
        """Log a failure once, and report it once."""
        known = temporary(error)
        code = known.code if known else AppError.code
        severity = known.severity if known else Severity.HIGH
        preview = args_preview(task, request.args, request.kwargs)
        fields.update(code=code, severity=severity.value, args_preview=preview, exc_info=error)
        getattr(told, _LEVELS[severity])("task.failed", **fields)
        mark_reported(error)
        extra = {"queue": _queue_of(request.delivery_info), "attempt": (request.retries or 0) + 1}
        context = ErrorContext(operation=task.name, entity=f"task {request.id}", code=code, extra=extra)
        if known is None or known.status >= 500:
            self.services.reporting.report(error, context, in_log=True)

    def _tell_queries(self, task: str, queries: QueryCount) -> None:
        self._metrics.task_queries(task, queries.count)
        if queries.count > self._many_queries.limit:
            self._many_queries.warn(task, queries)

    def _start_span(
        self, task: str, task_id: str, trace: Trace, parent: Trace | None, queue: str, attempt: int
    ) -> Span:
        attributes = {
            "messaging.system": self._system,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": queue,
            "messaging.message.id": task_id,
            "celery.task.name": task,
            "celery.task.attempt": attempt,
        }
        return self._tracing.start_at(trace, f"process {task}", SpanKind.CONSUMER, parent, attributes)

    def ended_outside(
        self, task: "Task[Any, Any]", request: TaskRequest, outcome: str, error: BaseException | None, **fields: Any
    ) -> None:
        """Report on a task whose end this process knows of, though it did not work on it.

        Args:
            task: The task.
            request: The attempt.
            outcome: What became of it: `revoked`, `lost` or `failure`.
            error: What ended it, if it is a failure.
            fields: What else is known.

        """
        task_id = request.id or ""
        sender = read_task_headers(request.__dict__, task_id)
        queue, attempt = _queue_of(request.delivery_info), (request.retries or 0) + 1
        trace = self._tracing.decide(sender.trace, sender.parent)
        span: Span | None = None
        if self._tracing.records and trace.sampled:
            span = self._start_span(task.name, task_id, trace, sender.parent, queue, attempt)
        self._metrics.task_ended(task.name, outcome)
        opened = open_context(_context_of(sender, task_id, task.name))
        position = open_trace(trace) if span is None else open_span(span)
        try:
            told = _log_of(queue, attempt)
            if outcome == "failure" and error is not None:
                self._tell_failure(told, task, request, error, fields)
            else:
                told.warning(f"task.{outcome}", **fields)
        finally:
            if span is not None:
                _end_span(span, states.FAILURE if error is not None else states.REVOKED, error)
            close_trace(position)
            close_context(opened)

    def refused(self, event: str, name: str, headers: Mapping[str, Any], error: BaseException | None) -> None:
        """Report on a message that is no task which this worker knows.

        Args:
            event: What it is called in the log.
            name: The task's name, as the message has it.
            headers: The message's.
            error: Why.

        """
        task_id = str(headers.get("id", ""))[:128]
        self._metrics.task_ended("_OTHER", event.removeprefix("task."))
        opened = open_context(_context_of(read_task_headers(headers, task_id), task_id, name[:128]))
        try:
            log.error(event, reason=type(error).__name__ if error is not None else "not readable")
        finally:
            close_context(opened)


def _context_of(sender: Sender, task_id: str, name: str) -> Context:
    trace = sender.trace
    context = Context(
        request_id=sender.request_id,
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        task_id=task_id,
        task_name=name,
    )
    if sender.correlation_id is not None:
        context["correlation_id"] = sender.correlation_id
    if sender.user_id is not None:
        context["user_id"] = sender.user_id
    return context


def _queue_of(delivery: Any) -> str:
    if not isinstance(delivery, Mapping):
        return ""
    key = str(delivery.get("routing_key") or "")
    if str(delivery.get("exchange") or "").startswith(_DELAYED):
        # RabbitMQ held it back: the time stands in front of the queue's name, one bit a part.
        key = key.split(".", _DELAY_PARTS)[-1]
    return key


def _waited(request: TaskRequest) -> float | None:
    """Return how long the task waited; None when it is unknown, or it began before."""
    delivery = request.delivery_info
    if request.is_eager or (isinstance(delivery, Mapping) and delivery.get("redelivered")):
        return None
    seconds = waited(request.__dict__, time.time())
    if seconds is None or request.eta is None:
        return seconds
    due = _moment(request.eta)
    return None if due is None else max(0.0, min(seconds, time.time() - due))


def _moment(eta: object) -> float | None:
    try:
        moment = eta if isinstance(eta, datetime) else datetime.fromisoformat(str(eta))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _described(retry: Retry) -> dict[str, Any]:
    """Return why a task is tried again, and when."""
    when: Any = retry.when
    if isinstance(when, datetime):
        when = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - time.time()
    error = retry.exc if isinstance(retry.exc, BaseException) else None
    reason = f"{type(error).__name__}: {error}" if error is not None else str(retry.message or "asked for")
    countdown = round(float(when), 3) if isinstance(when, int | float) else None
    return {"reason": reason, "countdown": countdown}


def _text_of(result: object) -> str | None:
    return str(result) if isinstance(result, BaseException) and str(result) else None


def _end_span(span: Span, state: str | None, result: object) -> None:
    error = result.exc if isinstance(result, Retry) and isinstance(result.exc, BaseException) else result
    if state in (states.FAILURE, states.RETRY) and isinstance(error, BaseException):
        record_error(span, error)
    elif state not in (states.SUCCESS, states.IGNORED):
        span.set_attribute("error.type", OUTCOMES.get(state or "", (state or INTERRUPTED).lower()))
        span.set_status(StatusCode.ERROR)
    span.end()


def args_preview(task: "Task[Any, Any]", args: object, kwargs: object) -> str:
    """Return the beginning of a task's arguments as JSON, by their names and redacted.

    Args:
        task: The task, whose parameters' names tell what is secret.
        args: Its arguments.
        kwargs: Its arguments by name.

    """
    try:
        return preview({**_named(task, args), **(dict(kwargs) if isinstance(kwargs, Mapping) else {})})
    except Exception:  # noqa: BLE001 -- whatever is wrong with the arguments, the failure is told
        return ""


def _named(task: "Task[Any, Any]", args: object) -> dict[str, Any]:
    values = list(args) if isinstance(args, list | tuple) else []
    names = list(inspect.signature(task.run).parameters)
    return {names[place] if place < len(names) else str(place): value for place, value in enumerate(values)}
