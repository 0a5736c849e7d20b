"""A folder as a broker: messages are whole, and those of a worker that is gone come back."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from kombu import Connection, Exchange, Queue

from app.adapters import file_broker
from app.adapters.broker import broker_configuration

from ..processes import variables

# Any: its types ask for a name.
JOBS: Any = Queue("jobs", Exchange("jobs"), routing_key="jobs")
PATIENCE = 30.0
TAKER = """
import sys, time
from pathlib import Path
from tests.adapters.test_file_broker import JOBS, connect
with connect(Path(sys.argv[1])) as connection:
    assert connection.SimpleQueue(JOBS).get(timeout=20)
    print("taken", flush=True)
    time.sleep(600)
"""


def connect(folder: Path) -> Connection:
    """Return a connection to the broker in a folder."""
    configuration = broker_configuration(f"filesystem://{folder}", "jobs")
    return Connection(
        configuration["broker_url"],
        transport=configuration["broker_transport"],
        transport_options=configuration["broker_transport_options"],
    )


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """Return what opens a queue as another worker would."""
    monkeypatch.setattr(file_broker, "SCAN_SECONDS", 0.0)
    with ExitStack() as stack:
        yield lambda: stack.enter_context(connect(tmp_path)).SimpleQueue(JOBS)


def files(folder: Path) -> list[str]:
    """Return the messages in a folder, taken or not."""
    return [path.name for path in folder.rglob("*.msg")]


def test_a_message_is_there_until_it_is_acknowledged(opened: Callable[[], Any], tmp_path: Path) -> None:
    """Taken, it lies elsewhere."""
    queue = opened()
    queue.put({"id": 1})
    assert len(files(tmp_path)) == 1
    message = queue.get_nowait()
    assert message.payload == {"id": 1}
    assert len(files(tmp_path)) == 1
    message.ack()
    assert files(tmp_path) == []


def test_messages_come_in_order(opened: Callable[[], Any]) -> None:
    """The first that was sent comes first."""
    queue = opened()
    for number in range(20):
        queue.put(number)
    assert [queue.get_nowait().payload for _ in range(20)] == list(range(20))


def test_what_is_half_written_is_not_read(opened: Callable[[], Any], tmp_path: Path) -> None:
    """A file that is begun has another name."""
    queue = opened()
    queue.put(1)
    (tmp_path / "messages" / ".0.begun").write_text('{"body": ')
    assert queue.get_nowait().payload == 1
    with pytest.raises(queue.Empty):
        queue.get_nowait()


def test_what_a_worker_has_nobody_else_gets(opened: Callable[[], Any]) -> None:
    """Until it is given back."""
    one, other = opened(), opened()
    one.put(1)
    message = one.get_nowait()
    with pytest.raises(Empty):
        other.get_nowait()
    message.requeue()
    again = other.get_nowait()
    assert again.payload == 1
    assert again.delivery_info["redelivered"]


def test_what_a_worker_has_is_given_back_when_it_leaves(opened: Callable[[], Any]) -> None:
    """It closes its connection."""
    one, other = opened(), opened()
    one.put(1)
    one.get_nowait()
    one.channel.connection.client.close()
    assert other.get_nowait().payload == 1


def test_what_a_worker_had_that_was_killed_is_given_back(opened: Callable[[], Any], tmp_path: Path) -> None:
    """Its lock ends with it, and not before."""
    queue = opened()
    queue.put(1)
    root = Path(__file__).parents[2]
    own = variables(PYTHONPATH=f"{root / 'src'}:{root}")
    taker = subprocess.Popen([sys.executable, "-c", TAKER, str(tmp_path)], env=own, stdout=subprocess.PIPE)
    try:
        assert taker.stdout is not None
        assert taker.stdout.readline() == b"taken\n"
        with pytest.raises(Empty):
            queue.get_nowait()
    finally:
        taker.kill()
        taker.communicate()
    end = time.monotonic() + PATIENCE
    message = None
    while message is None and time.monotonic() < end:
        message = queue.channel.basic_get("jobs")
    assert message is not None
    assert message.payload == 1
    assert message.delivery_info["redelivered"]
    assert len(list((tmp_path / "taken").iterdir())) == 1


def test_two_bindings_of_an_exchange_both_get_what_is_sent_to_all(tmp_path: Path) -> None:
    """As `celery inspect` speaks to every worker."""
    everybody = Exchange("everybody", type="fanout")
    with connect(tmp_path) as connection, connection.channel() as channel:
        queues = [Queue(name, everybody).bind(channel) for name in ("one", "two")]
        for queue in queues:
            queue.declare()
        connection.Producer(channel).publish("hello", exchange=everybody)
        messages: list[Any] = [queue.get(no_ack=True) for queue in queues]
        assert [message.payload for message in messages] == ["hello", "hello"]
    assert files(tmp_path) == []
