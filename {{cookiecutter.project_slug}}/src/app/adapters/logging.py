"""Where log lines go: one engine that every event and every record of the process passes.

The caller renders a line and queues it; redaction, other formats and writing are the delivery thread's. What holds no
secret, and nearly no line does, is told apart in one look at a whole batch.
"""

import atexit
import logging
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from multiprocessing.util import Finalize, register_after_fork
from types import FrameType, TracebackType
from typing import Any

import orjson
import structlog

from ..core import logging as chain
from ..core.redaction import may_hold_secret
from ..settings import Settings
from .delivery import CLOSE_SECONDS, Account, Delivery
from .sinks import FileDescriptorSink, Sink, StreamSink

TakeLine = Callable[[str], None]
Put = Callable[[bytes, bool], None]
Finish = Callable[[list[bytes]], list[bytes]]
_NUMBERS = {"notset": 0, "debug": 10, "info": 20, "warning": 30, "error": 40, "exception": 40, "critical": 50}
_ERROR = 40
# Libraries that are chatty at their own INFO, or that say what the access line says better.
_QUIET = {
    "alembic": "WARNING",
    "httpcore2": "WARNING",
    "httpx2": "WARNING",
    "uvicorn.access": "CRITICAL",
}


class Engine:
    """Takes events, and hands their lines on.

    Args:
        settings: Levels, and who is speaking.
        put: Takes a line, and whether it is an error.
        on_event: Called with the level of each event.

    """

    def __init__(self, settings: Settings, put: Put, on_event: Callable[[str], None] | None) -> None:
        identity = _identity(settings)
        self.levels = chain.LevelFilter(settings.log.level, {**_QUIET, **settings.log.levels})
        self._threshold = self.levels.threshold
        self._render = chain.LineRenderer(*identity).render
        self._processors: tuple[chain.Processor, ...] = (
            self.levels,
            chain.add_level,
            *([chain.count(on_event)] if on_event else []),
            chain.add_context,
            chain.add_timestamp,
            chain.add_exception,
            chain.redact_event,
            chain.add_service(*identity),
        )
        self._put = put
        self._on_event = on_event

    def is_enabled(self, name: str, number: int) -> bool:
        """Return whether a logger's events of a level are wanted."""
        return number >= self._threshold(name)

    def log(self, name: str, level: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any]) -> None:
        """Take an event of a logger; never raises."""
        number = _NUMBERS[level]
        if number < self._threshold(name):
            return
        line = None if args or level == "exception" else self._render(name, level, event, fields)
        if line is None:
            self.process(name, level, {**fields, "event": _formatted(event, args), "logger": name})
            return
        try:
            if self._on_event is not None:
                self._on_event(level)
            self._put(line, number >= _ERROR)
        except Exception:  # noqa: BLE001 -- neither a counter nor a sink may break whoever logs
            _say_lost(name)

    def process(self, name: str, level: str, event: chain.Event) -> None:
        """Take an event through the chain, the long way; never raises."""
        try:
            for processor in self._processors:
                event = processor(None, level, event)
            self._put(chain.to_json(event).encode() + b"\n", _NUMBERS[event["level"]] >= _ERROR)
        except structlog.DropEvent:
            return
        except Exception:  # noqa: BLE001 -- whoever logs is not to blame for what it is asked to show
            _say_lost(name)


def _identity(settings: Settings) -> tuple[str, str, str]:
    return settings.service_name, settings.environment, settings.service_version


def _formatted(event: Any, args: tuple[Any, ...]) -> Any:
    """Return the event with its arguments, as the standard library would put them in."""
    if not args:
        return event
    try:
        return str(event) % (args[0] if len(args) == 1 and isinstance(args[0], Mapping) else args)
    except Exception:  # noqa: BLE001 -- a wrong format string must not lose the event
        return f"{event} {args}"


def _say_lost(name: str) -> None:
    """Say on standard error that a line was lost, but not what it said: it may not have passed the redaction."""
    with suppress(Exception):
        sys.stderr.write(f"a log line of {name!r} was lost\n")


class RecordHandler(logging.Handler):
    """Sends the standard library's records through the engine that own events pass.

    Args:
        engine: What takes them.
        levels: Logger name to level.

    """

    def __init__(self, engine: Engine, levels: Mapping[str, str]) -> None:
        super().__init__()
        self._engine = engine
        self._levels = levels
        self._levels_before: dict[str, int] = {}

    def install(self) -> None:
        """Make this the only handler, and set the loggers' levels: a library's own would drop what is asked for."""
        for handler in logging.root.handlers:
            if isinstance(handler, RecordHandler):
                handler.restore_levels()
        for name, level in self._levels.items():
            self._levels_before[name] = logging.getLogger(name).level
            logging.getLogger(name).setLevel(level)
        logging.root.handlers[:] = [self]

    def restore_levels(self) -> None:
        """Give the loggers back the levels that they had, unless somebody set another one since."""
        for name, level in self._levels_before.items():
            logger = logging.getLogger(name)
            if logging.getLevelName(logger.level) == self._levels[name]:
                logger.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record; one about an exception that is in the log already is left out."""
        if chain.is_reported(record.exc_info[1] if record.exc_info else None):
            return
        try:
            fields = chain.record_fields(record)
        except Exception:  # noqa: BLE001 -- what a library passes must never break the caller that logs it
            _say_lost(record.name)
            return
        self._engine.process(record.name, chain.level_name(record.levelno), fields)


class _StructlogLogger:
    """What `structlog.get_logger()` ends in: its events take the long way to the same engine."""

    def __init__(self, engine: Engine, name: str = "root") -> None:
        self._engine = engine
        self._name = name

    def __getattr__(self, level: str) -> Callable[..., None]:
        return partial(self._process, level)

    def _process(self, level: str, /, **event: Any) -> None:
        self._engine.process(self._name, level, {"logger": self._name, **event})


_log = chain.get_logger(__name__)


def _log_crash_of_thread(crash: threading.ExceptHookArgs) -> None:
    """Log what ended a thread, where a traceback would be no line of the log."""
    if crash.exc_type is not SystemExit:
        _log.error("thread.crashed", thread=crash.thread.name if crash.thread else None, exc_info=crash.exc_value)


def _log_crash(kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    """Log what ended the process; Ctrl-C is no crash."""
    if not issubclass(kind, KeyboardInterrupt):
        _log.critical("process.crashed", exc_info=error)


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
    finish = partial(_finish, _renderer(settings, in_colour=sink is None and sys.stdout.isatty()))
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
        threading.excepthook = _log_crash_of_thread
        sys.excepthook = _log_crash
    handler = RecordHandler(engine, {**_QUIET, **settings.log.levels})
    _take_over_standard_library(handler, engine.levels.lowest)


def _renderer(settings: Settings, *, in_colour: bool) -> chain.Renderer | None:
    """Return what turns a line of JSON into another format, or None when JSON is what is wanted."""
    if settings.log_format == "json":
        return None
    return chain.renderer(settings.log_format, colours=in_colour)


def _finish(render: chain.Renderer | None, lines: list[bytes]) -> list[bytes]:
    """Return the lines as they may be shown: redacted where one may hold a secret, in the wanted format."""
    batch = b"".join(lines)
    if may_hold_secret(batch.decode()):
        lines = [_redacted(line) for line in lines]
    if not batch.isascii() or b"\x7f" in batch:
        lines = [_LINE_BREAKERS.sub(_escaped, line.decode()).encode() for line in lines]
    if render is not None:
        lines = [render(orjson.loads(line)).encode() + b"\n" for line in lines]
    return lines


# JSON lets these stand, but to many readers they end a line or move a cursor.
_LINE_BREAKERS = re.compile("[\x7f-\x9f\u2028\u2029]")


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"


def _redacted(line: bytes) -> bytes:
    if not may_hold_secret(line.decode()):
        return line
    return chain.to_json(chain.redact_event(None, "", orjson.loads(line))).encode() + b"\n"


def _direct(sink: TakeLine, finish: Finish) -> Put:
    def put(line: bytes, _is_error: bool) -> None:
        for finished in finish([line]):
            sink(finished[:-1].decode())

    return put


def _queued(settings: Settings, finish: Finish) -> Put:
    render = chain.LineRenderer(*_identity(settings)).render

    def report(dropped: int) -> list[bytes]:
        line = render(__name__, "warning", "log.dropped", {"dropped": dropped})
        return finish([line]) if line is not None else []

    _State.delivery = delivery = Delivery(
        _standard_output(),
        finish=finish,
        report=report,
        max_bytes=settings.log.queue_bytes,
        overflow=settings.log.overflow,
        block_seconds=settings.log.block_seconds,
    )
    _flush_at_the_end()
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


class _End:
    """Whether the process's end was prepared."""

    prepared = False


def _flush_at_the_end() -> None:
    """Let no line be lost when the process ends: at exit, and at a SIGTERM that nobody handles."""
    if _End.prepared:
        return
    _End.prepared = True
    atexit.register(close_logging)
    # A child of `multiprocessing` forgets what was registered before the fork, and never gets to `atexit`.
    register_after_fork(_End, _flush_at_the_end_of_a_child)
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)


def _flush_at_the_end_of_a_child(_key: object) -> None:
    Finalize(None, close_logging, exitpriority=0)


def _terminate(number: int, _frame: FrameType | None) -> None:
    close_logging()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _take_over_standard_library(handler: RecordHandler, level: int) -> None:
    """Make the root logger the only one with a handler, so that no library writes past the redaction."""
    for name in list(logging.root.manager.loggerDict):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.disabled = False
    handler.install()
    logging.root.setLevel(level)
    logging.captureWarnings(capture=True)
