"""How many messages are received early follows from how many ended just now."""

import pytest

from app.daemon import pace as pace_module
from app.daemon.pace import SOON, Pace


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return what it was set to."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Return the clock of the pace."""
    own = Clock()
    monkeypatch.setattr(pace_module, "time", own)
    return own


def test_as_many_as_ended_just_now(clock: Clock) -> None:
    """What ended a while ago says nothing of what begins soon."""
    pace = Pace(10)
    assert pace.soon() == 0
    for _ in range(4):
        pace.ended()
        clock.now += SOON / 4 + 0.0001
    assert pace.soon() == 3
    clock.now += SOON
    assert pace.soon() == 0


def test_no_more_than_its_limit(clock: Clock) -> None:
    """However quick messages are; a limit of none is none."""
    quick, none = Pace(3), Pace(0)
    for _ in range(9):
        quick.ended()
        none.ended()
    assert (quick.soon(), none.soon()) == (3, 0)
