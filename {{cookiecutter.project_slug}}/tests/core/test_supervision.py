"""When crashed tasks begin again, when periodic jobs are due, and which lags are a warning."""

import pytest

from app.core.supervision import CrashRecord, LagWatch, RestartPolicy, Turn, next_turn

POLICY = RestartPolicy(backoff=1.0, backoff_max=8.0, max_crashes=3, crash_window=60.0)


def longest(_low: float, high: float) -> float:
    """Return the longest pause that is possible."""
    return high


def shortest(low: float, _high: float) -> float:
    """Return the shortest pause that is possible."""
    return low


def crash_at(record: CrashRecord, *times: float) -> None:
    """Let a task crash at these times, each time as soon as it has begun."""
    for now in times:
        record.begin(now)
        record.crash(now)


def test_pauses_double_up_to_the_longest() -> None:
    """And the whole of each is random."""
    record = CrashRecord(RestartPolicy(1.0, 8.0, max_crashes=100), uniform=longest)
    assert [record.crash(float(now)).delay for now in range(6)] == [1, 2, 4, 8, 8, 8]
    assert CrashRecord(POLICY, uniform=shortest).crash(0.0).delay == 0


def test_a_long_run_begins_the_pauses_anew() -> None:
    """A shorter one does not."""
    record = CrashRecord(POLICY, uniform=longest)
    crash_at(record, 0.0)
    record.begin(1.0)
    assert record.crash(60.9).delay == 2
    record.begin(100.0)
    assert record.crash(160.0).delay == 1


def test_one_crash_too_many_gives_a_task_up_once() -> None:
    """That is said of one crash alone; the pauses are long from then on."""
    record = CrashRecord(POLICY, uniform=shortest)
    restarts = [record.crash(float(now)) for now in range(5)]
    assert [restart.gives_up for restart in restarts] == [False, False, False, True, False]
    assert [restart.crashes for restart in restarts] == [1, 2, 3, 4, 5]
    assert [restart.delay for restart in restarts] == [0, 0, 0, 4, 4]
    assert record.is_given_up(5.0)


def test_crashes_leave_the_window() -> None:
    """Few at a time are no reason to give a task up."""
    record = CrashRecord(POLICY)
    crash_at(record, 0, 1, 2, 60, 61, 62)
    assert not record.is_given_up(62)
    crash_at(record, 119.9)
    assert record.is_given_up(119.9)


def test_only_a_long_run_makes_up_for_it() -> None:
    """Not that the long pauses let the crashes leave the window."""
    record = CrashRecord(POLICY)
    crash_at(record, 0, 1, 2, 3)
    assert record.is_given_up(1000.0)
    crash_at(record, 1000.0)
    record.begin(1010.0)
    assert record.is_given_up(1069.9)
    assert not record.is_given_up(1070.0)


def test_a_task_can_be_given_up_again() -> None:
    """After it had made up for the first time."""
    record = CrashRecord(POLICY)
    crash_at(record, 0, 1, 2, 3)
    record.begin(100.0)
    assert not record.crash(200.0).gives_up
    assert not record.is_given_up(200.0)
    crash_at(record, 201, 202)
    record.begin(203)
    assert record.crash(203).gives_up


def test_a_task_that_is_done_is_not_given_up() -> None:
    """It crashes no more."""
    record = CrashRecord(POLICY)
    crash_at(record, 0, 1, 2, 3)
    record.begin(4)
    record.end()
    assert not record.is_given_up(4)


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        (100.0, Turn(2, 110.0)),
        (109.9, Turn(2, 110.0)),
        # Due at this moment.
        (110.0, Turn(2, 110.0)),
        (110.1, Turn(3, 120.0, 1)),
        (145.0, Turn(6, 150.0, 4)),
    ],
)
def test_the_next_turn_is_on_the_grid(ended: float, expected: Turn) -> None:
    """However long the one before took; those that it took the time of are counted."""
    assert next_turn(Turn(1, 100.0), first=100.0, interval=10.0, now=ended) == expected


def test_turns_do_not_drift() -> None:
    """A delay of each run does not add up."""
    turn = Turn(1, 0.5)
    for _ in range(1000):
        turn = next_turn(turn, first=0.5, interval=0.1, now=turn.due + 0.03)
    assert turn.number == 1001
    assert turn.due == pytest.approx(100.5)


def test_a_turn_is_not_taken_twice_when_it_began_too_early() -> None:
    """A clock may wake a job a little before its time."""
    assert next_turn(Turn(5, 40.0), first=0.0, interval=10.0, now=39.999) == Turn(6, 50.0)


def test_a_lag_above_the_limit_is_a_warning() -> None:
    """One that reaches it is none."""
    watch = LagWatch(0.25)
    assert watch.take(0.25, 1.0) == 0
    assert watch.take(0.26, 2.0) == 1


def test_warnings_are_not_repeated_at_once() -> None:
    """The next one says how many were not told."""
    watch = LagWatch(0.1, pause=5.0)
    assert [watch.take(1.0, now) for now in (0.0, 1.0, 4.9, 5.0, 6.0, 10.0)] == [1, 0, 0, 3, 0, 2]


def test_the_highest_lag_of_the_window_is_known() -> None:
    """A lower one takes its place when it is over."""
    watch = LagWatch(10, window=60.0)
    assert watch.highest(0.0) == 0
    for now, lag in ((0.0, 3.0), (10.0, 1.0), (20.0, 2.0), (30.0, 0.5)):
        watch.take(lag, now)
    assert [watch.highest(now) for now in (30.0, 59.9, 60.0, 79.9, 80.0, 90.0)] == [3, 3, 2, 2, 0.5, 0]


def test_the_window_holds_only_what_can_be_the_highest() -> None:
    """However many lags there were."""
    watch = LagWatch(10, window=60.0)
    for now in range(10_000):
        watch.take(1.0, float(now))
    assert len(watch._peaks) == 1
