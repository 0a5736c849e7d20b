"""What a relay of the outbox may send, and how much at once."""

from collections.abc import Iterable
from typing import NamedTuple

_QUICK = 0.25


class Row(NamedTuple):
    """A message in the outbox.

    Attributes:
        id: Its place: what was added later has a higher one.
        key: Within which order is kept; None: any order will do.
        queue: Where it is to go; nothing: to the relay's own queue.
        body: The message as it is sent; None when another relay has it.

    """

    id: int
    key: str | None
    queue: str
    body: str | None


def sendable(seen: Iterable[Row]) -> list[Row]:
    """Return what keeps the order of every key: its rows from the first one up to one that is another relay's.

    Args:
        seen: The first rows of each key, by place, whoever has them.

    """
    found, held = [], set()
    for row in seen:
        if row.body is None:
            held.add(row.key)
        elif row.key is None or row.key not in held:
            found.append(row)
    return found


def next_size(size: int, *, limit: int, share: float | None) -> int:
    """Return how many messages are sent together the next time.

    Half as many after a failure: a broker that is too slow for many in the time that they have may do with fewer, and
    less is sent twice. Twice as many when that leaves half of the time.

    Args:
        size: How many they were now.
        limit: The most.
        share: Which part of the time that they had it took; None when sending failed.

    """
    if share is None:
        return max(1, size // 2)
    return min(limit, size * 2) if share <= _QUICK else size
