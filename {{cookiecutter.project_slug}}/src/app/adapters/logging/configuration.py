"""What a process logs with: put together from the settings, replaced as a whole, closed at the end."""

import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from ...core.logging.enrichers import enrichers
from ...settings import Settings
from ..delivery import CLOSE_SECONDS, Account
from .engine import Engine, Put, levels_of
from .enrichers import Refreshers
from .finishing import finisher
from .outputs import Outputs
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


class _Direct:
    """A sink that takes each line at once, instead of all others."""

    def __init__(self, settings: Settings, sink: TakeLine) -> None:
        self._finish = finisher(settings.log_format)
        self._sink = sink
        self.accounts: dict[str, Account] = {}

    def route(self, _logger: str, _number: int, _named: object) -> Put:
        return self._put

    def _put(self, line: bytes, _is_error: bool) -> None:
        for finished in self._finish([line]):
            self._sink(finished[:-1].decode())

    def flush(self, _timeout: float) -> bool:
        return True

    def close(self, _timeout: float) -> dict[str, Account]:
        return {}


class _State:
    """What the process logs with now."""

    outputs: Outputs | _Direct | None = None
    refreshers: Refreshers | None = None
    # Reentrant: a signal may come while the log is being closed.
    lock = threading.RLock()


def configure_logging(
    settings: Settings, *, sink: TakeLine | None = None, on_event: Callable[[str], None] | None = None
) -> None:
    """Send every event and every record of this process to the sink; calling again replaces what was before.

    Args:
        settings: Level, format, delivery and who is speaking.
        sink: Takes each finished line at once, for tests; standard output, through a thread, when left out.
        on_event: Called with the level of each event that is logged, for the metrics.

    Raises:
        ConfigurationError: A layer's file cannot be opened.

    """
    # Before anything is closed: a layer's file that cannot be opened stops the start, not the log that there is.
    outputs = Outputs(settings) if sink is None else _Direct(settings, sink)
    close_logging()
    _State.outputs = outputs
    engine = Engine(settings, outputs.route, on_event, enrichers)
    _State.refreshers = Refreshers(enrichers, engine.enrich)
    structlog.configure(
        processors=[lambda _logger, _method, event: ((), dict(event))],
        wrapper_class=structlog.make_filtering_bound_logger(engine.levels.lowest),
        logger_factory=partial(_StructlogLogger, engine),
        cache_logger_on_first_use=False,
    )
    if sink is None:
        report_crashes()
        close_at_the_end(close_logging)
    take_over_standard_library(RecordHandler(engine, levels_of(settings)), engine.levels.lowest)


@dataclass(frozen=True, slots=True)
class LogHealth:
    """How the log does.

    Attributes:
        sinks: What became of the lines of each sink: `stdout`, `stderr`, or a file by its path.
        enrichers: How often each enricher failed.

    """

    sinks: Mapping[str, Account]
    enrichers: Mapping[str, int] = field(default_factory=dict)

    @property
    def dropped(self) -> int:
        """How many lines were lost, of all sinks."""
        return sum(account.dropped for account in self.sinks.values())

    @property
    def failed_writes(self) -> int:
        """How often a sink could not be written to."""
        return sum(account.failed_writes for account in self.sinks.values())

    @property
    def queued_bytes(self) -> int:
        """How much waits before all sinks."""
        return sum(account.queued_bytes for account in self.sinks.values())


def log_health() -> LogHealth:
    """Return what became of the lines of each sink, and how often each enricher failed."""
    accounts = _State.outputs.accounts if _State.outputs is not None else {}
    return LogHealth({sink: copy(account) for sink, account in accounts.items()}, enrichers.failures)


def flush_logging(timeout: float = CLOSE_SECONDS) -> bool:
    """Wait until all lines are written, and return whether they are.

    Args:
        timeout: Seconds.

    """
    return _State.outputs is None or _State.outputs.flush(timeout)


def close_logging(timeout: float = CLOSE_SECONDS) -> LogHealth:
    """Write what waits, for a bounded time, and stop; what could not be written is told on standard error.

    Args:
        timeout: Seconds.

    """
    with _State.lock:
        outputs, _State.outputs = _State.outputs, None
        refreshers, _State.refreshers = _State.refreshers, None
    if refreshers is not None:
        refreshers.close()
    health = LogHealth(outputs.close(timeout) if outputs is not None else {})
    for sink, account in health.sinks.items():
        lost = account.queued + account.dropped
        if lost:
            with suppress(Exception):
                sys.stderr.write(f"{lost} of {account.submitted} log lines to {sink} were lost\n")
    return health
