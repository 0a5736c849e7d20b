"""Log lines leave the caller's path, and every one of them is accounted for."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.adapters.delivery import BATCH_BYTES, FINISH_LINES, HURRY_BYTES, LINE_OVERHEAD, Account, Delivery
from app.adapters.sinks import FileDescriptorSink, Sink

SOURCE = Path(__file__).parents[2] / "src"
PATIENCE = 60


class Collected:
    """A sink that keeps lines, and can be blocked or fail."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.open = threading.Event()
        self.open.set()
        self.failures = 0
        self.failure: Exception = OSError()

    def write(self, lines: list[bytes]) -> None:
        """Take lines, when the sink is open."""
        self.open.wait(PATIENCE)
        if self.failures:
            self.failures -= 1
            raise self.failure
        self.lines += lines


def delivery(sink: Sink, **options: Any) -> Delivery:
    """Return a delivery to a sink, small enough to fill."""
    report: Callable[[int], list[bytes]] = lambda dropped: [b"dropped %d\n" % dropped]  # noqa: E731
    return Delivery(sink, **{"finish": list, "report": report, "max_bytes": 1_000_000, **options})


def test_order_and_account() -> None:
    """Lines arrive in order, and each is submitted and written."""
    sink = Collected()
    delivered = delivery(sink)
    lines = [b"%d\n" % number for number in range(5000)]
    for line in lines:
        delivered.put(line)
    account = delivered.close()
    assert sink.lines == lines
    assert (account.submitted, account.written, account.dropped, account.queued) == (5000, 5000, 0, 0)


def test_blocked_sink_never_blocks_the_caller() -> None:
    """While the sink is blocked the queue fills to its bound, new lines are dropped, and errors are kept."""
    sink = Collected()
    sink.open.clear()
    delivered = delivery(sink, max_bytes=100 * (LINE_OVERHEAD + 3))
    for _ in range(1000):
        delivered.put(b"ii\n")
    for _ in range(20):
        delivered.put(b"ee\n", True)
    assert delivered.account.queued_bytes <= 125 * (LINE_OVERHEAD + 3)
    sink.open.set()
    account = delivered.close()
    assert sink.lines.count(b"ee\n") == 20
    assert account.written + account.dropped == account.submitted == 1020
    assert b"dropped %d\n" % account.dropped in sink.lines


def test_block_policy_waits_for_room() -> None:
    """With the policy `block` a caller waits, and nothing is lost."""
    sink = Collected()
    sink.open.clear()
    delivered = delivery(sink, max_bytes=10 * (LINE_OVERHEAD + 2), overflow="block", block_seconds=PATIENCE)
    threading.Timer(0.2, sink.open.set).start()
    for _ in range(100):
        delivered.put(b"x\n")
    account = delivered.close()
    assert (len(sink.lines), account.dropped) == (100, 0)


def test_block_policy_is_bounded() -> None:
    """With the policy `block` a caller waits no longer than it was told to."""
    sink = Collected()
    sink.open.clear()
    delivered = delivery(sink, max_bytes=LINE_OVERHEAD + 2, overflow="block", block_seconds=0.05)
    delivered.put(b"x\n")
    delivered.put(b"y\n")
    assert delivered.account.dropped == 1
    sink.open.set()
    delivered.close()


def test_failing_sink_is_tried_again() -> None:
    """A sink that fails for a while gets every line later."""
    sink = Collected()
    sink.failures = 3
    delivered = delivery(sink)
    delivered.put(b"x\n")
    account = delivered.close()
    assert (sink.lines, account.failed_writes) == ([b"x\n"], 3)


def test_reader_that_went_away() -> None:
    """Lines for which there is no reader any more are dropped and counted, and nobody waits for one."""
    reader, writer = os.pipe()
    os.close(reader)
    delivered = delivery(FileDescriptorSink(writer))
    delivered.put(b"x\n")
    account = delivered.close()
    os.close(writer)
    assert (account.dropped, account.queued) == (1, 0)


def test_lines_during_and_after_close_arrive() -> None:
    """Threads that log while the delivery closes, and after it, lose nothing: an exporter's thread does so."""
    for _ in range(50):
        sink = Collected()
        delivered = delivery(sink)
        started = threading.Barrier(3)

        def write(put: Callable[[bytes], None] = delivered.put, started: threading.Barrier = started) -> None:
            started.wait()
            for number in range(200):
                put(b"%d\n" % number)

        threads = [threading.Thread(target=write) for _ in range(2)]
        for thread in threads:
            thread.start()
        started.wait()
        delivered.close()
        for thread in threads:
            thread.join()
        account = delivered.account
        assert (account.submitted, account.written, account.queued, len(sink.lines)) == (400, 400, 0, 400)


def test_close_is_bounded() -> None:
    """Closing in front of a sink that is blocked for good ends, and says what is left."""
    sink = Collected()
    sink.open.clear()
    delivered = delivery(sink)
    delivered.put(b"x\n")
    assert delivered.close(timeout=0.1).queued == 1
    sink.open.set()


def in_threads(count: int, work: Callable[[], None]) -> None:
    """Do the same in several threads at once, which take turns often."""
    threads = [threading.Thread(target=work) for _ in range(count)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)


def test_account_is_exact_at_any_time() -> None:
    """While threads log, what is read of the account only grows, and in the end every line is in it."""
    sink = Collected()
    delivered = delivery(sink)
    seen: list[list[Account]] = []

    def log() -> None:
        own: list[Account] = []
        seen.append(own)
        for _ in range(500):
            delivered.put(b"x\n")
            own.append(delivered.account)

    in_threads(4, log)
    account = delivered.close()
    for own in seen:
        for counted in ([one.submitted for one in own], [one.written for one in own]):
            assert counted == sorted(counted)
        assert all(0 <= one.queued <= one.submitted <= 2000 for one in own)
    assert account.written == account.submitted == len(sink.lines) == 2000
    assert account.queued_bytes == 0


def test_account_that_is_read_while_a_line_is_taken() -> None:
    """A line that leaves the queue between two looks of whoever reads the account is counted once."""
    delivered = delivery(Collected())

    class Moving(deque[bytes]):
        """A queue out of which the thread takes a line just before its length is read."""

        def __len__(self) -> int:
            if super().__len__():
                delivered._progress.taken.append(self.popleft())
            return super().__len__()

    delivered._queue = Moving([b"x\n"])
    assert (delivered.account.submitted, delivered.account.queued) == (1, 1)


def test_account_is_exact_when_threads_fill_the_queue() -> None:
    """What does not fit is counted once, by whichever thread; errors of all threads are kept."""
    sink = Collected()
    sink.open.clear()
    delivered = delivery(sink, max_bytes=1000 * (LINE_OVERHEAD + 3))

    def log() -> None:
        for number in range(1000):
            is_error = number % 50 == 0
            delivered.put(b"ee\n" if is_error else b"ii\n", is_error)

    in_threads(4, log)
    blocked = delivered.account
    assert blocked.submitted == 4000
    # Each thread may add one line beside the others.
    assert blocked.queued_bytes <= (1250 + 4) * (LINE_OVERHEAD + 3)
    sink.open.set()
    account = delivered.close()
    assert sink.lines.count(b"ee\n") == 80
    assert sink.lines.count(b"ee\n") + sink.lines.count(b"ii\n") == account.written
    assert account.written + account.dropped == account.submitted == 4000
    told = [int(line.split()[1]) for line in sink.lines if line.startswith(b"dropped")]
    assert sum(told) == account.dropped


def test_queue_is_bounded_in_bytes() -> None:
    """Few long lines fill the queue as many short ones do."""
    sink = Collected()
    sink.open.clear()
    delivered = delivery(sink, max_bytes=100_000)
    for _ in range(20):
        delivered.put(b"x" * 30_000 + b"\n")
    assert (delivered.account.queued, delivered.account.dropped) == (3, 17)
    delivered.put(b"short\n")
    assert delivered.account.queued == 4
    sink.open.set()
    delivered.close()


@pytest.mark.parametrize(
    ("max_bytes", "is_closing", "largest"),
    [(100_000_000, False, BATCH_BYTES), (8_000_000, False, HURRY_BYTES), (100_000_000, True, HURRY_BYTES)],
)
def test_batches(max_bytes: int, is_closing: bool, largest: int) -> None:
    """Batches are small, so that callers get the interpreter's lock, unless the queue fills or the log closes."""
    sink = Collected()
    sink.open.clear()
    parts: list[int] = []

    def finish(lines: list[bytes]) -> list[bytes]:
        parts.append(len(lines))
        return lines

    delivered = delivery(sink, finish=finish, max_bytes=max_bytes)
    size = 1024
    line = b"x" * (size - LINE_OVERHEAD - 1) + b"\n"
    for _ in range(4 * HURRY_BYTES // size):
        delivered.put(line)
    batches: list[int] = []
    write = sink.write

    def count(lines: list[bytes]) -> None:
        batches.append(len(lines))
        write(lines)

    def open_sink() -> None:
        while is_closing and not delivered._closing:
            time.sleep(0.001)
        sink.open.set()

    sink.write = count  # type: ignore[method-assign]
    threading.Thread(target=open_sink).start()
    assert is_closing or delivered.flush(PATIENCE)
    delivered.close(PATIENCE)
    assert len(sink.lines) == 4 * HURRY_BYTES // size
    assert largest / 2 < max(batches) * size <= largest + size
    assert max(parts) <= FINISH_LINES


def test_lines_that_cannot_be_finished() -> None:
    """Lines whose finishing fails are counted as dropped, and those after them arrive."""
    sink = Collected()

    def finish(lines: list[bytes]) -> list[bytes]:
        if b"bad\n" in lines:
            raise RuntimeError
        return lines

    delivered = delivery(sink, finish=finish)
    delivered.put(b"bad\n")
    assert delivered.flush()
    delivered.put(b"good\n")
    account = delivered.close()
    assert sink.lines == [b"good\n", b"dropped 1\n"]
    assert (account.written, account.dropped, account.queued) == (1, 1, 0)


def test_sink_that_breaks() -> None:
    """A sink that fails in a way that nobody foresaw loses what it was given, and gets what comes later."""
    sink = Collected()
    sink.failures, sink.failure = 1, KeyError("unforeseen")
    delivered = delivery(sink)
    delivered.put(b"x\n")
    assert delivered.flush()
    delivered.put(b"y\n")
    assert (delivered.close().dropped, sink.lines) == (1, [b"y\n", b"dropped 1\n"])


def test_close_by_a_signal_handler() -> None:
    """A handler that closes the log, whatever it has interrupted in its own thread, gets every line delivered."""
    sink = Collected()
    delivered = delivery(sink)
    with delivered.lock:
        delivered.put(b"x\n")
        account = delivered.close(timeout=PATIENCE)
        delivered.put(b"y\n")
    assert (account.written, sink.lines) == (1, [b"x\n", b"y\n"])


def test_line_that_interrupts_the_delivery_of_a_late_one() -> None:
    """A handler that logs while its own thread delivers a line after the end changes nothing for that line."""
    sink = Collected()
    delivered = delivery(sink)
    delivered.close()
    write = sink.write

    def interrupted(lines: list[bytes]) -> None:
        sink.write = write  # type: ignore[method-assign]
        delivered.put(b"second\n")
        write(lines)

    sink.write = interrupted  # type: ignore[method-assign]
    delivered.put(b"first\n")
    account = delivered.account
    assert sink.lines == [b"first\n", b"second\n"]
    assert (account.submitted, account.written) == (2, 2)


def test_line_that_comes_while_the_thread_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of another caller is delivered too, when the thread has done its first work before its start is noted."""
    sink, start = Collected(), threading.Thread.start
    delivered = delivery(sink)
    other = threading.Thread(target=delivered.put, args=(b"second\n",))

    def started(thread: threading.Thread) -> None:
        start(thread)
        if thread is other:
            return
        until(lambda: bool(sink.lines) and delivered._needs_wake_up)
        other.start()
        # It found that the thread wants to be woken, and now waits for whoever starts it.
        until(lambda: not delivered._needs_wake_up)

    monkeypatch.setattr(threading.Thread, "start", started)
    delivered.put(b"first\n")
    other.join(PATIENCE)
    until(lambda: sink.lines == [b"first\n", b"second\n"])
    delivered.close()


def until(holds: Callable[[], bool]) -> None:
    """Wait for something, for a bounded time."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_system_without_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """When no thread can be started the line waits, and comes with the next one."""
    sink = Collected()
    delivered = delivery(sink)

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        delivered.put(b"x\n")
    delivered.put(b"y\n")
    assert delivered.flush()
    assert sink.lines == [b"x\n", b"y\n"]
    delivered.close()


SCRIPT = """
import os, signal, sys, time
from app.adapters.logging import configure_logging, close_logging
from app.core.logging import get_logger
from app.settings import Settings
configure_logging(Settings(log=dict(format="json")))
log = get_logger("app")
for number in range(2000):
    log.info("event", number=number)
"""
ENDINGS = {
    "close": "close_logging(); os._exit(0)",
    "end": "",
    "exit": "sys.exit(3)",
    "exception": "raise RuntimeError",
    "sigterm": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(30)",
    "multiprocessing": """
def more():
    for number in range(2000, 3000):
        log.info("event", number=number)
import multiprocessing
child = multiprocessing.get_context("fork").Process(target=more)
child.start()
child.join()
""",
    "fork": """
if os.fork() == 0:
    for number in range(2000, 3000):
        log.info("event", number=number)
    close_logging()
    os._exit(0)
os.wait()
""",
}


def numbers(script: str, output: Path) -> list[int]:
    """Return what a process logged to a file, sorted."""
    with output.open("wb") as file:
        environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        process = subprocess.run(
            [sys.executable, "-c", script],
            stdout=file,
            stderr=subprocess.PIPE,
            env=environment,
            timeout=PATIENCE,
            check=False,
        )
    assert process.returncode in (0, 1, 3, -signal.SIGTERM), process.stderr
    lines = [json.loads(line) for line in output.read_bytes().splitlines()]
    return sorted(line["number"] for line in lines if line["event"] == "event")


@pytest.mark.parametrize("ending", ENDINGS)
def test_no_line_is_lost(tmp_path: Path, ending: str) -> None:
    """However a process ends, short of SIGKILL, all its lines are there, a forked child's too, each once."""
    expected = list(range(3000 if ending in ("fork", "multiprocessing") else 2000))
    assert numbers(SCRIPT + ENDINGS[ending], tmp_path / "log") == expected


def test_processes_share_a_pipe() -> None:
    """Lines of several processes on one pipe are never mixed."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    reader, writer = os.pipe()
    command = [sys.executable, "-c", SCRIPT]
    processes = [subprocess.Popen(command, stdout=writer, env=environment) for _ in range(4)]
    os.close(writer)
    with os.fdopen(reader, "rb") as output:
        lines = [json.loads(line) for line in output]
    assert [process.wait(PATIENCE) for process in processes] == [0, 0, 0, 0]
    assert len(lines) == 8000
