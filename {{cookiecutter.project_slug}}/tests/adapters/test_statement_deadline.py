"""An exchange with a server ends with the time of the block around it, and only then."""

from collections.abc import Generator
from typing import Any

import pytest
from psycopg import OperationalError

from app.adapters.statement_deadline import bounded, seconds_left, statements_within


class Connection:
    """Stands for one of psycopg's."""

    def __init__(self) -> None:
        self.pgconn = self
        self.is_closed = False

    def finish(self) -> None:
        """Close it."""
        self.is_closed = True


def exchange() -> Generator[str, bool, str]:
    """Wait until the server is ready twice."""
    for wanted in ("first", "second"):
        while not (yield wanted):
            pass
    return "answer"


def drive(steps: Generator[Any, Any, Any], *ready: bool) -> Any:
    """Resume an exchange as the driver does."""
    next(steps)
    try:
        for one in ready:
            steps.send(one)
    except StopIteration as ended:
        return ended.value
    return None


def test_without_a_block() -> None:
    """Without a bound the exchange is the driver's own."""
    own = exchange()
    assert bounded(own, Connection()) is own
    assert seconds_left() is None


def test_in_time() -> None:
    """An answer that comes in time is the exchange's."""
    connection = Connection()
    with statements_within(60):
        assert drive(bounded(exchange(), connection), False, True, False, True) == "answer"
        assert 0 < (seconds_left() or 0) <= 60
    assert not connection.is_closed


def test_too_late() -> None:
    """A server that says nothing until the time is over loses its connection; one that has answered does not."""
    connection = Connection()
    with statements_within(0):
        steps = bounded(exchange(), connection)
        assert drive(steps, True) is None
        assert not connection.is_closed
        with pytest.raises(OperationalError, match="did not answer in time"):
            steps.send(False)
    assert connection.is_closed


def test_blocks_end() -> None:
    """A block's bound ends with it."""
    with statements_within(60):
        with statements_within(1):
            assert (seconds_left() or 60) <= 1
        assert (seconds_left() or 0) > 1
    assert seconds_left() is None
