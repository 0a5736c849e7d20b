"""Who waits for a connection, for how long, and who did in vain, is counted."""

import pytest

from app.core.connection_pool import PoolState, PoolWatch


class Counted:
    """What a pool was counted with."""

    def __init__(self) -> None:
        self.failures: list[str] = []
        self.waits: list[float] = []

    def database_failed(self, failure: str) -> None:
        """Take an error."""
        self.failures.append(str(failure))

    def connection_awaited(self, seconds: float) -> None:
        """Take how long a connection was waited for."""
        self.waits.append(seconds)


def test_two_pools_are_one_to_who_looks() -> None:
    """What two pools do together is the sum of what each does."""
    assert PoolState(1, 2, 3, 4, 5) + PoolState(10, 20, 30, 40, 50) == PoolState(11, 22, 33, 44, 55)


def test_connection() -> None:
    """Who gets a connection waited for a while, and waits no more."""
    counted = Counted()
    watch = PoolWatch(counted, TimeoutError)
    assert watch.connect(lambda: watch.waiting) == 1
    assert (watch.waiting, watch.timeouts, len(counted.waits), counted.failures) == (0, 0, 1, [])


def test_time_that_passed() -> None:
    """Who gets none in time is counted as an outage."""
    counted = Counted()
    watch = PoolWatch(counted, TimeoutError)

    def too_late() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        watch.connect(too_late)
    assert (watch.waiting, watch.timeouts, counted.waits, counted.failures) == (0, 1, [], ["unavailable"])


def test_other_failure() -> None:
    """Another failure is no matter of the pool, and who waited for it waits no more."""
    watch = PoolWatch(None, TimeoutError)

    def refuse() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        watch.connect(refuse)
    assert (watch.waiting, watch.timeouts) == (0, 0)
