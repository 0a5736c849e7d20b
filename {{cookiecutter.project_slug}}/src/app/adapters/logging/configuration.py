"""What a process logs with: put together from the settings, replaced as a whole, closed at the end."""

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import structlog

from ...core import logging as chain
from ...settings import Settings
from ..delivery import CLOSE_SECONDS, Account, Delivery
from ..sinks import FileDescriptorSink, Sink, StreamSink
from .engine import Engine, Put, identity_of, levels_of
from .finishing import Finish, finisher
from .process_end import close_at_the_end, report_crashes
from .records import RecordHandler, take_over_standard_library

TakeLine = Callable[[str], None]


class _StructlogLogger:
    """What `structlog.get_logger()` ends in: its events take the long way to the same engine."""

    def __init__(self, engine: Engine, name: str = "root") -> None:
        self._engine = engine
        self._name = name

    def __getattr__(self, level: str) -> Callable[..., None]:
        return partial(self._process, level)

    def _process(self, level: str, /, **event: Any) -> None:
        self._engine.process(self._name, level, {"logger": self._name, **event})


class _State:
    """What the process logs with now."""

    delivery: Delivery | None = None
    lock = threading.Lock()


def configure_logging(
    settings: Settings, *, sink: TakeLine | None = None, on_event: Callable[[str], None] | None = None
) -> None:
    """Send every event and every record of this process to the sink; calling again replaces what was before.

    Args:
        settings: Level, format, delivery and who is speaking.
        sink: Takes each finished line at once, for tests; standard output, through a thread, when left out.
        on_event: Called with the level of each event that is logged, for the metrics.

    """
    finish = finisher(settings, in_colour=sink is None and sys.stdout.isatty())
    close_logging()
    engine = Engine(settings, _direct(sink, finish) if sink else _queued(settings, finish), on_event)
    chain.install(engine)
    structlog.configure(
        processors=[lambda _logger, _method, event: ((), dict(event))],
        wrapper_class=structlog.make_filtering_bound_logger(engine.levels.lowest),
        logger_factory=partial(_StructlogLogger, engine),
        cache_logger_on_first_use=False,
    )
    if sink is None:
        report_crashes()
    take_over_standard_library(RecordHandler(engine, levels_of(settings)), engine.levels.lowest)


def _direct(sink: TakeLine, finish: Finish) -> Put:
    def put(line: bytes, _is_error: bool) -> None:
        for finished in finish([line]):
            sink(finished[:-1].decode())

    return put


def _queued(settings: Settings, finish: Finish) -> Put:
    render = chain.LineRenderer(*identity_of(settings)).render

    def report(dropped: int) -> list[bytes]:
        line = render("app.adapters.logging", "warning", "log.dropped", {"dropped": dropped})
        return finish([line]) if line is not None else []

    _State.delivery = delivery = Delivery(
        _standard_output(),
        finish=finish,
        report=report,
        max_bytes=settings.log.queue_bytes,
        overflow=settings.log.overflow,
        block_seconds=settings.log.block_seconds,
    )
    close_at_the_end(close_logging)
    return delivery.put


def _standard_output() -> Sink:
    try:
        sys.stdout.flush()
        return FileDescriptorSink(sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        return StreamSink(sys.stdout)


def log_health() -> Account:
    """Return what became of the lines: submitted, written, dropped, failed writes, and what is queued in bytes."""
    return _State.delivery.account if _State.delivery is not None else Account()


def flush_logging(timeout: float = CLOSE_SECONDS) -> bool:
    """Wait until all lines are written, and return whether they are.

    Args:
        timeout: Seconds.

    """
    return _State.delivery is None or _State.delivery.flush(timeout)


def close_logging(timeout: float = CLOSE_SECONDS) -> Account:
    """Write what waits, for a bounded time, and stop; what could not be written is told on standard error.

    Args:
        timeout: Seconds.

    """
    with _State.lock:
        delivery, _State.delivery = _State.delivery, None
    if delivery is None:
        return Account()
    account = delivery.close(timeout)
    lost = account.queued + account.dropped
    if lost:
        with suppress(Exception):
            sys.stderr.write(f"{lost} of {account.submitted} log lines were lost\n")
    return account
