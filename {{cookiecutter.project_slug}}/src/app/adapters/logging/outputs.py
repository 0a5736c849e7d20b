"""The sinks of a process, each behind a queue and a thread of its own, and the way of a line to those that want it.

A sink that blocks or fails holds up no other: standard output has its own queue, and so has each layer's file.
"""

import logging
import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TextIO

from ...core import logging as chain
from ...core.logging.layers import STDOUT, Layer, sinks_of
from ...settings import ConfigurationError, Settings
from ...settings_groups import LayerSettings
from ..delivery import CLOSE_SECONDS, Account, Delivery
from ..sinks import FileDescriptorSink, FileSink, Sink, StreamSink
from .engine import Put, identity_of
from .finishing import Finish, finisher

STDERR = "stderr"
# What every sink has to end, even when another one has used up the time.
LEAST_SECONDS = 0.1
_NAME = "app.adapters.logging"


class Outputs:
    """All sinks of a process.

    Args:
        settings: The layers, their sinks, and how much may wait.

    Raises:
        ConfigurationError: A layer's file cannot be opened.

    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._renderer = chain.LineRenderer(*identity_of(settings))
        self._layers = [_layer(name, layer) for name, layer in settings.log.layers.items()]
        self._names = frozenset(settings.log.layers)
        self._put_of = lru_cache(maxsize=4096)(self._choose)
        self._deliveries = {STDOUT: self._delivery(STDOUT, _stream(sys.stdout), self._shown(sys.stdout))}
        for name, layer in settings.log.layers.items():
            if layer.sink not in self._deliveries:
                self._deliveries[layer.sink] = self._deliver_layer(name, layer)

    def route(self, logger: str, number: int, named: object) -> Put:
        """Return what takes the line of an event.

        Args:
            logger: The name of its logger.
            number: Its level, as the standard library numbers it.
            named: What its `layer` field says.

        """
        # Whatever else a field of that name may hold is no layer's name, and may be no key of a cache.
        return self._put_of(logger, number, named if isinstance(named, str) and named in self._names else None)

    def _choose(self, logger: str, number: int, named: str | None) -> Put:
        sinks = sinks_of(self._layers, logger, number, named)
        puts = [self._deliveries[sink].put for sink in sinks]
        return puts[0] if len(puts) == 1 else _to_each(puts)

    @property
    def accounts(self) -> dict[str, Account]:
        """What became of the lines of each sink."""
        return {sink: delivery.account for sink, delivery in self._deliveries.items()}

    def flush(self, timeout: float = CLOSE_SECONDS) -> bool:
        """Wait until all lines are written, and return whether they are.

        Args:
            timeout: Seconds.

        """
        deadline = time.monotonic() + timeout
        return all(delivery.flush(deadline - time.monotonic()) for delivery in self._deliveries.values())

    def close(self, timeout: float = CLOSE_SECONDS) -> dict[str, Account]:
        """Write what waits, for a bounded time, stop, and return what became of the lines of each sink.

        Args:
            timeout: Seconds, for all together: while one is closed the others go on writing.

        """
        deadline = time.monotonic() + timeout
        return {
            sink: delivery.close(max(deadline - time.monotonic(), LEAST_SECONDS))
            for sink, delivery in self._deliveries.items()
        }

    def _deliver_layer(self, name: str, layer: LayerSettings) -> Delivery:
        if layer.sink == STDERR:
            return self._delivery(STDERR, _stream(sys.stderr), self._shown(sys.stderr), layer.overflow)
        sink = _Watched(_open_file(name, layer), lambda event, **fields: self._say(event, sink=layer.sink, **fields))
        return self._delivery(layer.sink, sink, finisher("json"), layer.overflow)

    def _delivery(
        self, name: str, sink: Sink, finish: Finish, overflow: Literal["drop", "block"] | None = None
    ) -> Delivery:
        def report(dropped: int) -> list[bytes]:
            line = self._line("warning", "log.dropped", {"dropped": dropped, "sink": name})
            return finish([line]) if line is not None else []

        log = self._settings.log
        return Delivery(
            sink,
            finish=finish,
            report=report,
            max_bytes=log.queue_bytes,
            overflow=overflow or log.overflow,
            block_seconds=log.block_seconds,
        )

    def _shown(self, stream: TextIO) -> Finish:
        return finisher(self._settings.log_format, in_colour=stream.isatty())

    def _line(self, level: str, event: str, fields: dict[str, Any]) -> bytes | None:
        return self._renderer.render(self._renderer.heads(_NAME, level), event, fields)

    def _say(self, event: str, **fields: Any) -> None:
        """Tell on standard output what became of another sink."""
        line = self._line("error", event, fields)
        if line is not None:
            self._deliveries[STDOUT].put(line, True)


class _Watched:
    """A sink of which is said, once, that it fails, and once that it takes lines again.

    Args:
        sink: Where lines go.
        say: Takes the event and its fields.

    """

    def __init__(self, sink: Sink, say: Callable[..., None]) -> None:
        self._sink = sink
        self._say = say
        self._fails = False

    def write(self, lines: list[bytes]) -> None:
        """Write the lines; a failure is raised each time, and told the first time."""
        try:
            self._sink.write(lines)
        except OSError as error:
            if not self._fails:
                self._fails = True
                self._say("log.sink_failed", error=str(error))
            raise
        if self._fails:
            self._fails = False
            self._say("log.sink_recovered")


def _layer(name: str, settings: LayerSettings) -> Layer:
    level = logging.getLevelNamesMapping()[settings.level] if settings.level else None
    return Layer(name, settings.sink, settings.loggers, level, settings.propagate)


def _to_each(puts: Sequence[Put]) -> Put:
    def put(line: bytes, is_error: bool) -> None:
        for each in puts:
            each(line, is_error)

    return put


def _open_file(name: str, layer: LayerSettings) -> FileSink:
    try:
        return FileSink(Path(layer.sink), max_bytes=layer.max_bytes, backup_count=layer.backup_count)
    except OSError as error:
        reason = error.strerror or error
        msg = (
            f"LOG__LAYERS[{name!r}]: received sink {layer.sink!r}; it cannot be opened ({reason}); "
            "allowed: stdout, stderr or the path of a file that this process may write"
        )
        raise ConfigurationError(msg) from error


def _stream(stream: TextIO) -> Sink:
    try:
        stream.flush()
        return FileDescriptorSink(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return StreamSink(stream)
