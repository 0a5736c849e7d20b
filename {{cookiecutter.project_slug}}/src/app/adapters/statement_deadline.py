"""A bound in time for statements on PostgreSQL, whose driver waits for ever for a server that hangs.

psycopg drives each exchange as a generator that is resumed every tenth of a second, on an event loop and without one.
When its time is over the generator closes the connection and raises what a library takes for a lost connection: it
asks the server nothing more, not even to cancel the statement, and opens a new connection when it is next needed.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_deadline: ContextVar[float | None] = ContextVar("statement_deadline", default=None)


@contextmanager
def statements_within(seconds: float) -> Iterator[None]:
    """Bound what the statements of a block may take together, on connections whose exchanges are `bounded`.

    Args:
        seconds: How long.

    """
    token = _deadline.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _deadline.reset(token)


def seconds_left() -> float | None:
    """Return what is left of the time of the block around, or None where there is none."""
    deadline = _deadline.get()
    return None if deadline is None else deadline - time.monotonic()


def bounded(exchange: Generator[Any, Any, Any], connection: Any) -> Generator[Any, Any, Any]:
    """Return an exchange with the server that ends with the time of the block around, where there is one.

    Args:
        exchange: What psycopg drives.
        connection: Its connection.

    """
    deadline = _deadline.get()
    return exchange if deadline is None else _until(deadline, exchange, connection)


def _until(deadline: float, exchange: Generator[Any, Any, Any], connection: Any) -> Generator[Any, Any, Any]:
    """Drive an exchange with the server up to a deadline."""
    try:
        wanted = next(exchange)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= deadline:
                # Not at the top: on SQLite nobody needs it.
                from psycopg import OperationalError

                connection.pgconn.finish()
                msg = "the server did not answer in time"
                raise OperationalError(msg)
            wanted = exchange.send(ready)
    except StopIteration as ended:
        return ended.value
