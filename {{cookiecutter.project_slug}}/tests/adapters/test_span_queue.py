"""Finished spans: none is lost that could be sent, what waits is bounded, and trouble is told once."""

import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.trace import SpanKind

from app.adapters.span_queue import Batching, Sent, SpanQueue
from app.core.spans import RecordedSpan
from app.core.tracing import Trace

from ..conftest import Log

PATIENCE = 10.0
SOON = Batching(queue_size=100, batch_size=10, delay=0.01, timeout=PATIENCE)
NEVER = SOON._replace(delay=PATIENCE)
REFUSED = Sent(10, "refused", may_retry=True, retry_after=0.0)


def span(number: int) -> RecordedSpan:
    """Return a finished span."""
    return RecordedSpan(Trace("1" * 32, "2" * 16, 1), str(number), SpanKind.INTERNAL, None, {}, lambda _span: None)


class Exporter:
    """Takes batches as it is told to.

    Args:
        answers: What is said to the attempts, in turn; success when there are no more.

    """

    def __init__(self, *answers: Sent | Exception) -> None:
        self.batches: list[list[str]] = []
        self.attempts = 0
        self.is_closed = False
        self.running = threading.Event()
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._answers = list(answers)

    def encode(self, spans: Sequence[RecordedSpan]) -> list[str]:
        """Return the names."""
        return [one.name for one in spans]

    def send(self, batch: list[str], count: int, timeout: float) -> Sent:
        """Take a batch."""
        assert 0 < timeout <= PATIENCE
        assert count == len(batch)
        self.attempts += 1
        self.running.set()
        self.goes_on.wait(PATIENCE)
        answer = self._answers.pop(0) if self._answers else Sent()
        if isinstance(answer, Exception):
            raise answer
        if not answer.lost:
            self.batches.append(batch)
        return answer._replace(lost=min(answer.lost, count))

    def close(self) -> None:
        """Note it."""
        self.is_closed = True

    @property
    def names(self) -> list[int]:
        """What was taken, in order."""
        return [int(name) for batch in self.batches for name in batch]


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    """Return an exporter that takes everything; it holds no thread up at the end."""
    made = Exporter()
    yield made
    made.goes_on.set()


def test_nothing_runs_without_a_span(exporter: Exporter) -> None:
    """A queue that is not used has no thread, and closes at once."""
    before = threading.active_count()
    queue = SpanQueue(exporter, NEVER)
    assert queue.flush(PATIENCE)
    queue.close(PATIENCE)
    assert threading.active_count() == before


def test_batches(exporter: Exporter) -> None:
    """Spans are sent in the order in which they ended, never more than a batch at once."""
    queue = SpanQueue(exporter, NEVER)
    for number in range(35):
        queue.put(span(number))
    queue.close(PATIENCE)
    assert exporter.names == list(range(35))
    assert max(map(len, exporter.batches)) == 10
    assert exporter.is_closed
    assert (queue.account.exported, queue.account.dropped) == (35, 0)


def test_full_batch_is_sent_at_once(exporter: Exporter) -> None:
    """A batch that is full does not wait for its time; the rest does."""
    queue = SpanQueue(exporter, NEVER)
    for number in range(10):
        queue.put(span(number))
    assert exporter.running.wait(PATIENCE / 2)
    queue.put(span(10))
    assert queue.flush(PATIENCE / 2)
    assert exporter.batches == [[str(number) for number in range(10)], ["10"]]
    queue.close(PATIENCE)


def test_single_span_is_sent_in_time(exporter: Exporter) -> None:
    """A span that stays alone is sent after the delay."""
    queue = SpanQueue(exporter, SOON)
    queue.put(span(0))
    assert exporter.running.wait(PATIENCE)
    queue.close(PATIENCE)
    assert exporter.names == [0]


def test_queue_is_bounded(exporter: Exporter, log: Log) -> None:
    """While the exporter takes nothing, the newest spans are dropped, counted, and told once."""
    exporter.goes_on.clear()
    queue = SpanQueue(exporter, NEVER)
    for number in range(10):
        queue.put(span(number))
    assert exporter.running.wait(PATIENCE)
    for number in range(10, 200):
        queue.put(span(number))
    assert queue.account.dropped == 90
    exporter.goes_on.set()
    queue.close(PATIENCE)
    assert exporter.names == list(range(110))
    assert (queue.account.exported, queue.account.dropped) == (110, 90)
    assert [line["dropped"] for line in log.named("traces.dropped")] == [90]


def test_trying_again(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that was refused for the moment is sent again, after a pause of its own or the one that was asked for."""
    monkeypatch.setattr("app.adapters.span_queue.FIRST_BACKOFF", 0.01)
    exporter = Exporter(REFUSED._replace(retry_after=None), REFUSED)
    queue = SpanQueue(exporter, NEVER)
    for number in range(10):
        queue.put(span(number))
    assert queue.flush(PATIENCE)
    assert (exporter.names, exporter.attempts) == (list(range(10)), 3)
    assert (queue.account.exported, queue.account.dropped) == (10, 0)
    assert [line["event"] for line in log.events] == ["traces.export_failed", "traces.export_recovered"]
    queue.close(PATIENCE)


def test_giving_up(log: Log) -> None:
    """A batch is given up when the next attempt would come too late."""
    exporter = Exporter(REFUSED._replace(retry_after=60.0))
    queue = SpanQueue(exporter, NEVER)
    queue.put(span(0))
    assert queue.flush(PATIENCE)
    assert (exporter.attempts, queue.account.dropped) == (1, 1)
    queue.close(PATIENCE)


def test_refusal_for_good(log: Log) -> None:
    """A batch that will never be taken is not sent again; the log has the reason, once for all batches."""
    exporter = Exporter(*[Sent(10, "the collector answered 400")] * 3)
    queue = SpanQueue(exporter, NEVER)
    for number in range(30):
        queue.put(span(number))
    queue.put(span(30))
    queue.close(PATIENCE)
    assert exporter.names == [30]
    assert (queue.account.exported, queue.account.dropped) == (1, 30)
    failed, recovered = log.events
    assert (failed["event"], failed["level"]) == ("traces.export_failed", "warning")
    assert failed["reason"] == "the collector answered 400"
    assert (recovered["event"], recovered["dropped"]) == ("traces.export_recovered", 30)


def test_part_that_was_not_taken(log: Log) -> None:
    """What a collector rejects of a batch is counted as dropped."""
    queue = SpanQueue(Exporter(Sent(3, "too old")), NEVER)
    for number in range(10):
        queue.put(span(number))
    queue.close(PATIENCE)
    assert (queue.account.exported, queue.account.dropped) == (7, 3)


def test_exporter_that_crashes(log: Log) -> None:
    """A crash costs one batch; the thread goes on."""
    exporter = Exporter(RuntimeError("broken"))
    queue = SpanQueue(exporter, NEVER)
    for number in range(20):
        queue.put(span(number))
    queue.close(PATIENCE)
    assert exporter.names == list(range(10, 20))
    assert queue.account.dropped == 10
    assert log.named("traces.export_failed")[0]["reason"] == "RuntimeError: broken"


def test_closing_tries_once(log: Log) -> None:
    """When the process stops there is one attempt for each batch, however long the other side asks to wait."""
    exporter = Exporter(*[REFUSED._replace(retry_after=PATIENCE / 2)] * 9)
    queue = SpanQueue(exporter, NEVER)
    for number in range(25):
        queue.put(span(number))
    queue.close(PATIENCE)
    assert exporter.attempts <= 4
    assert queue.account.dropped == 25


def test_closing_is_bounded(exporter: Exporter, log: Log) -> None:
    """An exporter that hangs does not keep the process; what it did not take is counted, in its hand too."""
    exporter.goes_on.clear()
    queue = SpanQueue(exporter, NEVER)
    for number in range(25):
        queue.put(span(number))
    queue.close(0.05)
    queue.close(0.05)
    assert queue.account.dropped == 25
    assert [line["dropped"] for line in log.named("traces.dropped")] == [25]


def test_spans_after_the_end(exporter: Exporter) -> None:
    """A span that ends when all is closed is counted as dropped."""
    queue = SpanQueue(exporter, NEVER)
    queue.close(PATIENCE)
    queue.put(span(0))
    assert (exporter.batches, queue.account.dropped) == ([], 1)


def test_flush_is_bounded(exporter: Exporter) -> None:
    """Waiting for what is on its way ends in time, and says that it did not arrive."""
    exporter.goes_on.clear()
    queue = SpanQueue(exporter, NEVER)
    queue.put(span(0))
    assert not queue.flush(0.05)
    exporter.goes_on.set()
    assert queue.flush(PATIENCE)
    queue.close(PATIENCE)


def test_flush_of_nothing_wakes_nobody(exporter: Exporter) -> None:
    """Where no span waits there is nothing to hand over, and no thread to ask for it."""
    queue = SpanQueue(exporter, NEVER)
    assert queue.flush(PATIENCE)
    assert not queue._wake.is_set()


def test_abandoned_queue(exporter: Exporter) -> None:
    """What is abandoned to another process is neither sent nor counted, and takes nothing."""
    queue = SpanQueue(exporter, NEVER)
    queue.put(span(0))
    queue.abandon()
    queue.put(span(1))
    queue.close(PATIENCE)
    assert exporter.batches == []


def test_many_threads(exporter: Exporter) -> None:
    """Spans that end on many threads at once are each sent once."""
    queue = SpanQueue(exporter, SOON._replace(queue_size=100_000, batch_size=100))

    def put(start: int) -> None:
        for number in range(start, start + 1000):
            queue.put(span(number))

    threads = [threading.Thread(target=put, args=(start,)) for start in range(0, 8000, 1000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    queue.close(PATIENCE)
    assert sorted(exporter.names) == list(range(8000))
    assert (queue.account.exported, queue.account.dropped) == (8000, 0)
