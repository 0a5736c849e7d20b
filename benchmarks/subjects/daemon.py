"""Messages per second of the emitted daemon against a bare loop over the same client, on one Redis."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from app.adapters.message_transports import message_transport
from app.core.messages import new_message, write_message
from redis import Redis as Client

from tests.contract.backends import MissingError

from ..effort import Effort
from ..processes import ChildFailedError, child
from ..report import Row, at_least, ratios, spread
from .celery import broker, free_port

TIMEOUT = 300.0
POLL_SECONDS = 0.002
# Of the events of a burst as many are messages.
SHARE = 20
BAR = at_least(0.8, 0.9)
# Only the effect has a bar. Where there is none, the daemon still keeps in its database that the message was handled,
# in two transactions, and the loop does nothing at all: that ratio tells what the record costs.
# What a message does: its effect is a transaction on a database of the daemon's own, or there is none.
EFFECTS = {"order": "an order fulfilled, in a transaction of its own", "nothing": "nothing"}
# As a service sends it that is traced, and whose request is recorded.
HEADERS = {"traceparent": f"00-{'5' * 32}-{'6' * 16}-01", "x-request-id": "request-of-the-benchmark"}


@dataclass(frozen=True, slots=True)
class Turns:
    """What came out of each turn of one daemon.

    Attributes:
        rates: Messages per second, by the clock.
        work: Seconds of processor time, per message.
    """

    rates: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)


def measure(effort: Effort) -> list[Row]:
    """Compare the emitted daemon with the bare loop, per effect, or say what is missing on this machine."""
    rows: list[Row] = []
    try:
        turns = collect(effort)
    except MissingError as missing:
        return [Row("all of it", "", None, note=str(missing))]
    for effect, what in EFFECTS.items():
        wired, bare = turns[f"wired {effect}"], turns[f"bare {effect}"]
        bar = BAR if effect == "order" else None
        rows.append(Row(f"messages per second, {what}", "a bare loop", ratios(wired.rates, bare.rates), bar=bar))
        rows.append(Row(f"processor time, {what}", "a bare loop", ratios(wired.work, bare.work)))
    wired = turns["wired order"]
    note = f"{effort.burst // SHARE} messages a turn, ten at once, all sampled; SQLite"
    rows.append(Row("messages per second", "a number", spread(wired.rates), unit="per second", note=note))
    return rows


def collect(effort: Effort) -> dict[str, Turns]:
    """Return what came out for each daemon, turn by turn."""
    kinds = [f"{kind} {effect}" for effect in EFFECTS for kind in ("bare", "wired")]
    turns = {kind: Turns() for kind in kinds}
    count = effort.burst // SHARE
    for _ in range(effort.processes):
        with broker() as url, Client.from_url(url) as client, daemons(url, kinds) as groups:
            for turn in range(1 + effort.rounds):
                for kind in kinds:
                    before = processor_seconds(groups[kind])
                    seconds = seconds_of(client, url, kind, turn, count)
                    # The first turn is for warming up.
                    if turn:
                        turns[kind].rates.append(count / seconds)
                        turns[kind].work.append((processor_seconds(groups[kind]) - before) / count)
    return turns


def processor_seconds(process: int) -> float:
    """Return how long all threads of a process have used a processor, to the nanosecond where the kernel knows it.

    Args:
        process: Its number.
    """
    # The number of another process's clock, as `clock_getcpuclockid` makes it.
    return time.clock_gettime((~process << 3) | 2)


@contextmanager
def daemons(url: str, kinds: list[str]) -> Iterator[dict[str, int]]:
    """Run one daemon of each kind, each on a queue of its own, and give their processes' numbers.

    Args:
        url: Where Redis is.
        kinds: Which.
    """
    groups = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="benchmark-")))
        for kind in kinds:
            asked = {"kind": kind.partition(" ")[0]}
            started = stack.enter_context(
                child("daemon_consumer", asked, environment=surroundings(url, queue_of(kind), folder))
            )
            started.result(TIMEOUT)
            groups[kind] = started.process.pid
        yield groups


def queue_of(kind: str) -> str:
    """Return the queue of a daemon.

    Args:
        kind: Which one.
    """
    return kind.replace(" ", "-")


def surroundings(url: str, queue: str, folder: Path) -> dict[str, str]:
    """Return the settings of a daemon: those of production, and a database of its own."""
    return {
        "ENVIRONMENT": "production",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "BROKER_URL": url,
        "DATABASE_URL": f"sqlite:///{folder / queue}.db",
        "ADMIN_PORT": str(free_port()),
        "DAEMON__QUEUE": queue,
    }


def seconds_of(client: "Client", url: str, kind: str, turn: int, count: int) -> float:
    """Return how long a daemon takes until all messages are handled and acknowledged.

    Args:
        client: Of the Redis that is the broker.
        url: Where that is.
        kind: Which daemon.
        turn: Which turn it is, for no message may have the id of another.
        count: How many messages.

    Raises:
        ChildFailedError: It does not come to an end.
    """
    queue, effect = queue_of(kind), kind.rpartition(" ")[2]
    messages = [
        new_message(f"benchmark.{effect}", {"order_id": f"{turn}-{number}"}, id=f"{turn}-{number}", headers=HEADERS)
        for number in range(count)
    ]
    bodies = [(write_message(message), {}) for message in messages]
    began = time.perf_counter()
    asyncio.run(sent(url, queue, bodies))
    while client.xlen(queue):
        if time.perf_counter() - began > TIMEOUT:
            msg = f"{queue}: messages are left after {TIMEOUT:g} s"
            raise ChildFailedError(msg)
        time.sleep(POLL_SECONDS)
    seconds = time.perf_counter() - began
    if client.exists(f"{queue}.dead"):
        msg = f"{queue}: messages were given up instead of being handled"
        raise ChildFailedError(msg)
    return seconds


async def sent(url: str, queue: str, bodies: list[tuple[bytes, dict[str, str]]]) -> None:
    """Send messages as a service does."""
    transport = message_transport(url, queue, TIMEOUT)
    await transport.send(bodies)
    await transport.aclose()
