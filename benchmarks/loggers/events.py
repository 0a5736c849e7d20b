"""The event that every logger gets, and how many of them arrived."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import EVENT

# Odd, so that multiplying by it visits every number of 128 bits once.
STEP = 0x9E3779B97F4A7C15F39CC0605CEDC835
LETTERS = str.maketrans("0123456789abcdef", "abcdefghijklmnop")
COUNTED = re.compile(rb'"request_id": ?"([a-p]{32})"')
MARK = EVENT.encode()


def fields(number: int) -> dict[str, Any]:
    """Return the eight fields of an event; ids differ from event to event, so that no cache of values can help.

    Args:
        number: Which event it is.
    """
    return {
        "method": "GET",
        "path": "/orders/1042",
        "status_code": 200,
        "duration_ms": 12.345,
        "request_id": random_id(2 * number + 1),
        "trace_id": random_id(2 * number + 2),
        "user_id": "user-1042",
        "client_ip": "192.0.2.7",
    }


def countable(number: int) -> dict[str, Any]:
    """Return an event whose request id holds no digit, so that it can be told from all others in the log.

    Args:
        number: Which event it is.
    """
    return {**fields(number), "request_id": countable_id(number)}


def random_id(number: int, bits: int = 128) -> str:
    """Return an id that looks random and is the same in every run.

    Args:
        number: Which one.
        bits: How long it is.
    """
    return f"{number * STEP % 2**bits:0{bits // 4}x}"


def countable_id(number: int) -> str:
    """Return the request id of a countable event."""
    return random_id(2 * number + 1).translate(LETTERS)


@dataclass(frozen=True, slots=True)
class Arrived:
    """Which countable events came out of a log, and how often."""

    ids: Counter[str]

    @property
    def distinct(self) -> int:
        """How many events there are."""
        return len(self.ids)

    @property
    def repeated(self) -> int:
        """How many lines came more than once."""
        return self.ids.total() - len(self.ids)

    def of(self, numbers: Iterable[int]) -> int:
        """Return how many of these events there are."""
        return sum(countable_id(number) in self.ids for number in numbers)


def arrived(lines: Iterable[bytes]) -> Arrived:
    """Count the countable events among lines.

    Args:
        lines: All lines of a log.
    """
    return Arrived(Counter(match[1].decode() for line in lines if MARK in line and (match := COUNTED.search(line))))
