"""Layers: named logs beside standard output, such as errors or audit, and the choice of those that take an event.

A layer is to this log what a handler is to the standard library's: it has a level, it stands at some loggers and at
those below them, and `propagate` says whether what it takes goes on to standard output too.
"""

from collections.abc import Sequence
from dataclasses import dataclass

STDOUT = "stdout"


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer takes, and where it brings it.

    Args:
        name: What an event's `layer` field may say.
        sink: Where lines go; several layers may share one.
        loggers: Names of loggers; their events, and those of loggers below them, are taken. All, if there are none.
        level: The lowest level that is taken, as the standard library numbers it.
        propagate: Whether a line that is taken goes to standard output too.

    """

    name: str
    sink: str
    loggers: tuple[str, ...] = ()
    level: int | None = None
    propagate: bool = True

    def takes(self, logger: str, number: int, named: str | None = None) -> bool:
        """Return whether an event belongs here.

        Args:
            logger: The name of its logger.
            number: Its level, as the standard library numbers it.
            named: Which layer it asks for.

        """
        if named == self.name:
            return True
        if not self.loggers and self.level is None:
            return False
        return number >= (self.level or 0) and self._stands_at(logger)

    def _stands_at(self, logger: str) -> bool:
        return not self.loggers or any(logger == name or logger.startswith(f"{name}.") for name in self.loggers)


def sinks_of(layers: Sequence[Layer], logger: str, number: int, named: str | None = None) -> tuple[str, ...]:
    """Return the sinks that an event's line goes to, each once, standard output first.

    Args:
        layers: All that there are.
        logger: The name of its logger.
        number: Its level, as the standard library numbers it.
        named: Which layer it asks for.

    """
    taking = [layer for layer in layers if layer.takes(logger, number, named)]
    always = [STDOUT] if all(layer.propagate for layer in taking) else []
    return tuple(dict.fromkeys([*always, *(layer.sink for layer in taking)]))
