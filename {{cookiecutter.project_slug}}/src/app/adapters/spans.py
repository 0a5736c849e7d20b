"""Where recorded spans go; loaded only when spans are recorded.

To a collector, or to the log with `OTEL_TRACES_EXPORTER=console`. Safe over `fork`: the child begins with nothing
queued and a connection of its own, and a span that was open is the parent's.
"""

import atexit
import os
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..core.logging import get_logger
from ..core.spans import RecordedSpan
from ..settings import Settings
from .otlp import OtlpExporter
from .span_queue import Batching, Sent, SpanAccount, SpanExporter, SpanQueue

log = get_logger("app.tracing")
FLUSH_SECONDS = 3.0


class Recorder:
    """Takes spans when they end.

    Args:
        make_exporter: Returns what exports; asked again in a forked child.
        batching: How spans wait.

    """

    def __init__(self, make_exporter: Callable[[], SpanExporter], batching: Batching) -> None:
        self._make_exporter = make_exporter
        self.batching = batching
        self._queue = SpanQueue(make_exporter(), batching)
        self._parents: list[SpanQueue] = []
        self.finish: Callable[[RecordedSpan], None] = self._queue.put
        _recorders.add(self)

    @property
    def account(self) -> SpanAccount:
        """What became of the spans of this process."""
        return self._queue.account

    def flush(self, timeout: float) -> bool:
        """Export what waits, and return whether nothing does any more."""
        return self._queue.flush(timeout)

    def shutdown(self) -> None:
        """Export what waits, for a bounded time, and stop."""
        self._queue.close(FLUSH_SECONDS)

    def restart(self) -> None:
        """Begin anew in a forked child; what was waiting or open is the parent's to export."""
        self._queue.abandon()
        # Kept: taking it apart would close files whose locks a thread of the parent may have held.
        self._parents.append(self._queue)
        self._queue = SpanQueue(self._make_exporter(), self.batching)
        self.finish = self._queue.put


class ConsoleExporter:
    """Shows each span as a line of the log, for a look at them without a collector."""

    def encode(self, spans: Sequence[RecordedSpan]) -> Sequence[RecordedSpan]:
        """Return the spans; the log hides what is secret."""
        return spans

    def send(self, batch: Sequence[RecordedSpan], count: int, timeout: float) -> Sent:  # noqa: ARG002 -- a protocol
        """Log the spans."""
        for span in batch:
            log.info("span", **_shown(span))
        return Sent()

    def close(self) -> None:
        """Do nothing: the log is not this one's to close."""


def _shown(span: RecordedSpan) -> dict[str, object]:
    return {
        "name": span.name,
        "kind": span.kind.name.lower(),
        "trace_id": span.trace.trace_id,
        "span_id": span.trace.span_id,
        "parent_span_id": span.parent.span_id if span.parent else None,
        "duration_ms": (span.end_time - span.start_time) / 1e6,
        "status": span.status.name.lower(),
        "attributes": span.attributes,
        "events": [{"name": event.name, **event.attributes} for event in span.events],
    }


def create_recorder(
    settings: Settings, resource: Mapping[str, object], exporter: SpanExporter | None = None
) -> Recorder:
    """Return what takes the spans of a service.

    Args:
        settings: How they wait and where they go.
        resource: The attributes of who is speaking.
        exporter: Where they go instead.

    """
    batching = Batching(
        settings.otel_bsp_max_queue_size,
        settings.otel_bsp_max_export_batch_size,
        settings.otel_bsp_schedule_delay / 1000,
        settings.otel_bsp_export_timeout / 1000,
    )
    if exporter is not None:
        return Recorder(lambda: exporter, batching)
    if settings.otel_traces_exporter == "console":
        return Recorder(ConsoleExporter, batching)
    endpoint = settings.traces_endpoint
    return Recorder(lambda: OtlpExporter(endpoint, resource), batching)


_recorders: "weakref.WeakSet[Recorder]" = weakref.WeakSet()


def _close_all() -> None:
    for recorder in list(_recorders):
        recorder.shutdown()


def _after_fork_in_child() -> None:
    for recorder in list(_recorders):
        recorder.restart()
        for name in ("multiprocessing.util", "billiard.util"):
            _close_with_process(recorder, sys.modules.get(name))


def _close_with_process(recorder: Recorder, util: Any) -> None:
    """Have a worker process flush when it ends: `multiprocessing` leaves it without running what `atexit` knows."""
    if util is not None:
        util.register_after_fork(recorder, lambda one: util.Finalize(None, one.shutdown, exitpriority=-100))


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
