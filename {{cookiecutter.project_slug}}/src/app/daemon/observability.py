"""What is done around every message: ids, span, metrics, and the lines that say what became of it.

It runs for every message, so it is written for speed: one method before it and one after, nothing computed twice.
"""

import hashlib
import time
from contextvars import Token
from functools import lru_cache
from typing import Any

from opentelemetry.trace import Span, SpanKind, StatusCode

from ..adapters.message_metrics import MessageMetrics
from ..adapters.tracing import record_error
from ..bootstrap import Services
from ..core.context import Context, close_context, open_context
from ..core.errors import AppError, Severity
from ..core.logging import Logger, get_logger, mark_reported
from ..core.message_source import Delivery
from ..core.messages import Message
from ..core.metrics import OTHER
from ..core.preview import preview
from ..core.queries import QueryCount
from ..core.query_warnings import ManyQueries
from ..core.redaction import redact_text
from ..core.reporting import ErrorContext
from ..core.retry import Reason
from ..core.task_headers import Sender, read_task_headers, waited
from ..core.tracing import Trace, close_trace, open_span, open_trace

log = get_logger("app.messages")
SUCCESS = "success"
DUPLICATE = "duplicate"
RETRY = "retry"
FAILURE = "failure"
INTERRUPTED = "interrupted"
# What a message that is given up before it is begun counts as.
REFUSED = {
    Reason.UNREADABLE: "unreadable",
    Reason.UNKNOWN: "unknown",
    Reason.WORKER_LOST: "lost",
    Reason.EXPIRED: "expired",
}
_LEVELS = {Severity.LOW: "warning", Severity.MEDIUM: "error", Severity.HIGH: "error", Severity.CRITICAL: "critical"}
MAX_REASON = 500


class Run:
    """One attempt at a message, and what is open while it lasts."""

    __slots__ = ("context", "kind", "log", "opened", "position", "span", "started")
    context: Context
    opened: Token[Any]
    position: Token[Any]
    span: Span | None
    kind: str
    log: Logger
    started: float


@lru_cache(maxsize=1024)
def _log_of(queue: str, attempt: int) -> Logger:
    """Return the logger of one kind of attempt: what its lines have in common is rendered once."""
    return log.bind(queue=queue, attempt=attempt)


class Observer:
    """What observes the messages of one daemon.

    Args:
        services: The process's parts.
        queue: Where the messages come from.
        system: What OpenTelemetry calls the broker.
        metrics: What counts.

    """

    def __init__(self, services: Services, queue: str, system: str, metrics: MessageMetrics) -> None:
        self._reporting = services.reporting
        self._tracing = services.tracing
        self._metrics = metrics
        self._many_queries = ManyQueries(services.settings.database.many_queries)
        self._queue = queue
        self._system = system

    def begin(self, message: Message, attempt: int, *, is_first: bool) -> Run:
        """Open what a message is handled in, which `close` ends.

        Args:
            message: The message.
            attempt: Which attempt this is.
            is_first: Whether nobody has begun with it before.

        """
        run = Run()
        sender = read_task_headers(message.headers, message.id)
        run.kind = message.type
        run.log = _log_of(self._queue, attempt)
        run.context = _context_of(sender, message.id, message.type)
        trace = self._tracing.decide(sender.trace, sender.parent)
        run.span = None
        if self._tracing.records and trace.sampled:
            run.span = self._start_span(message, trace, sender.parent, attempt)
        run.opened = open_context(run.context)
        run.position = open_trace(trace) if run.span is None else open_span(run.span)
        run.started = time.perf_counter()
        self._metrics.started(message.type, waited(message.headers, time.time()) if is_first else None)
        run.log.info("message.started")
        return run

    def close(self, run: Run) -> None:
        """End what a message was handled in.

        Args:
            run: What `begin` returned.

        """
        close_trace(run.position)
        close_context(run.opened)

    def succeeded(self, run: Run, *, ran: bool) -> None:
        """Report on a message that is done.

        Args:
            run: The attempt.
            ran: Whether it was done now, and not before.

        """
        fields = self._finish(run, SUCCESS if ran else DUPLICATE)
        queries = run.context.queries
        if queries is not None and queries.count:
            fields["queries"] = queries.count
            fields["query_ms"] = round(queries.seconds * 1000, 3)
        run.log.info("message.succeeded" if ran else "message.duplicate", **fields)
        if run.span is not None:
            run.span.end()

    def retried(self, run: Run, error: BaseException, delay: float) -> None:
        """Report on a message that is tried again.

        Args:
            run: The attempt.
            error: What it failed with.
            delay: In how many seconds.

        """
        fields = self._finish(run, RETRY)
        reason = redact_text(f"{type(error).__name__}: {error}")[:MAX_REASON]
        run.log.warning("message.retried", **fields, reason=reason, countdown=round(delay, 3))
        if run.span is not None:
            record_error(run.span, error)
            run.span.end()

    def failed(
        self, run: Run, error: BaseException, known: AppError | None, message: Message, *, expired: bool
    ) -> None:
        """Report on a message that is given up: one line, and a report when it is a fault.

        Args:
            run: The attempt.
            error: What it failed with.
            known: The same as an error of the service; None when nobody expected it.
            message: The message.
            expired: Whether it would be tried again if it had the time.

        """
        fields = self._finish(run, REFUSED[Reason.EXPIRED] if expired else FAILURE)
        self._tell_failure(run.log, error, known, message, "message.expired" if expired else "message.failed", fields)
        if run.span is not None:
            record_error(run.span, error)
            run.span.end()

    def interrupted(self, run: Run) -> None:
        """Report on a message whose handler was cancelled, because the daemon stops.

        Args:
            run: The attempt.

        """
        run.log.warning("message.interrupted", **self._finish(run, INTERRUPTED))
        if run.span is not None:
            run.span.set_attribute("error.type", INTERRUPTED)
            run.span.set_status(StatusCode.ERROR)
            run.span.end()

    def refused(self, message: Message | ValueError, delivery: Delivery, reason: Reason, error: AppError) -> Token[Any]:
        """Report on a message that is given up before it is begun; returns what `close_context` ends.

        Args:
            message: The message, or why it is none.
            delivery: How it came.
            reason: Why it is given up.
            error: The same in one sentence.

        """
        told = _log_of(self._queue, delivery.attempt)
        if isinstance(message, Message):
            sender = read_task_headers(message.headers, message.id)
            opened = open_context(_context_of(sender, message.id, message.type))
        else:
            name = f"unreadable-{hashlib.sha256(delivery.body).hexdigest()[:16]}"
            opened = open_context(_context_of(read_task_headers(delivery.headers, name), name, None))
        is_known = isinstance(message, Message) and reason is not Reason.UNKNOWN
        kind = message.type if is_known and isinstance(message, Message) else OTHER
        self._metrics.refused(kind, REFUSED[reason])
        if isinstance(message, Message) and reason is Reason.WORKER_LOST:
            self._tell_failure(told, error, error, message, "message.failed", {})
        elif reason is Reason.EXPIRED:
            told.warning("message.expired", code=error.code, reason=str(error))
        else:
            told.error("message.failed", code=error.code, reason=redact_text(str(error))[:MAX_REASON])
        return opened

    def buried(self, attempt: int, why: dict[str, Any]) -> None:
        """Report that a message is in the dead letters.

        Args:
            attempt: Which attempt was its last.
            why: What its letter says.

        """
        self._metrics.given_up(why["reason"])
        fields = {name: why[name] for name in ("reason", "code")}
        _log_of(self._queue, attempt).warning("message.buried", **fields)

    def not_told(self, attempt: int, step: str, error: BaseException) -> None:
        """Report that the broker does not know what became of a message: it comes again.

        Args:
            attempt: Which attempt it was.
            step: What it was to be told.
            error: Why it does not know.

        """
        _log_of(self._queue, attempt).warning("message.not_acknowledged", step=step, exc_info=error)

    def _finish(self, run: Run, outcome: str) -> dict[str, Any]:
        seconds = time.perf_counter() - run.started
        self._metrics.finished(run.kind, outcome, seconds)
        queries = run.context.queries
        if queries is not None and queries.count:
            self._tell_queries(run.kind, queries)
        return {"duration_ms": round(seconds * 1000, 3)}

    def _tell_queries(self, kind: str, queries: QueryCount) -> None:
        self._metrics.queries(kind, queries.count)
        if queries.count > self._many_queries.limit:
            self._many_queries.warn(kind, queries)

    def _tell_failure(
        self,
        told: Logger,
        error: BaseException,
        known: AppError | None,
        message: Message,
        event: str,
        fields: dict[str, Any],
    ) -> None:
        """Log a failure once, and report it once."""
        code = known.code if known else AppError.code
        severity = known.severity if known else Severity.HIGH
        fields.update(code=code, severity=severity.value, data_preview=preview(message.data), exc_info=error)
        getattr(told, _LEVELS[severity])(event, **fields)
        mark_reported(error)
        if known is None or known.status >= 500:
            extra = {"queue": self._queue}
            context = ErrorContext(operation=message.type, entity=f"message {message.id}", code=code, extra=extra)
            self._reporting.report(error, context, in_log=True)

    def _start_span(self, message: Message, trace: Trace, parent: Trace | None, attempt: int) -> Span:
        attributes = {
            "messaging.system": self._system,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": self._queue,
            "messaging.message.id": message.id,
            "app.message.type": message.type,
            "app.message.attempt": attempt,
        }
        return self._tracing.start_at(trace, f"process {message.type}", SpanKind.CONSUMER, parent, attributes)


def _context_of(sender: Sender, message_id: str, kind: str | None) -> Context:
    trace = sender.trace
    context = Context(
        request_id=sender.request_id, trace_id=trace.trace_id, span_id=trace.span_id, message_id=message_id
    )
    if kind is not None:
        context["message_type"] = kind
    if sender.correlation_id is not None:
        context["correlation_id"] = sender.correlation_id
    if sender.user_id is not None:
        context["user_id"] = sender.user_id
    return context
