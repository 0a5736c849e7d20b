"""Signals: who is told of them, where that is possible, and who listens afterwards."""

import signal
import threading

from app.daemon.signals import SIGNALS, listening, told_in_a_thread

PATIENCE = 30.0


def test_signals_are_heard_and_handlers_put_back() -> None:
    """Each of them, in the main thread."""
    before = [signal.getsignal(number) for number in SIGNALS]
    heard: list[int] = []
    with listening(heard.append) as can:
        assert can
        for number in SIGNALS:
            signal.raise_signal(number)
    assert heard == list(SIGNALS) == [signal.SIGTERM, signal.SIGINT]
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_handlers_are_put_back_after_an_error() -> None:
    """Whatever ends the block."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        with listening(lambda _number: None):
            raise RuntimeError  # noqa: TRY301
    except RuntimeError:
        pass
    assert signal.getsignal(signal.SIGTERM) is before


def test_another_thread_hears_none() -> None:
    """There it is not possible, and no error."""
    before = [signal.getsignal(number) for number in SIGNALS]
    found: list[object] = []

    def run() -> None:
        with listening(found.append) as can:
            found.append(can)
            found.append([signal.getsignal(number) for number in SIGNALS] == before)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [False, True]


def test_a_thread_acts_when_it_is_told() -> None:
    """Within the block, or while it ends."""
    acted = threading.Event()
    with told_in_a_thread(acted.set) as tell:
        tell()
    assert acted.wait(PATIENCE)


def test_a_thread_that_is_not_told_ends() -> None:
    """With the block, and without doing anything."""
    acted = threading.Event()
    with told_in_a_thread(acted.set):
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "daemon-stop"]
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert not acted.is_set()
