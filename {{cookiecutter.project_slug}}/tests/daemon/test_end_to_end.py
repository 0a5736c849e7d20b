"""A daemon's process from a message to its effect, beside what fails, and with a log that nobody reads."""

import asyncio
import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from app.adapters.message_publisher import MessagePublisher
from app.adapters.tracing import Tracing
from app.bootstrap import bootstrap
from app.core.context import request_context
from app.daemon.configuration import DaemonSettings
from app.settings import load_settings_of

from ..collectors import collector
from ..processes import run_python
from ..running import PATIENCE, ROOT, fulfilled, until
from ..servers import free_port
from .daemons import RunningDaemon, placed, publish, running_daemon
from .lives import living

IDS = {"request_id": "r-1", "correlation_id": "c-1", "user_id": "u-1"}
# A pipe that nobody reads takes this much, and then whoever writes waits.
PIPE_BYTES = 4096
MANY = 200
PUBLISHED = 'message_published_total{outcome="sent",type="order.placed"}'
_WRITE_TO_OUTBOX = """
import sys
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from app.adapters.outbox import add_to_outbox

with Session(create_engine(f"sqlite:///{sys.argv[1]}")) as session, session.begin():
    for order_id in sys.argv[2:]:
        add_to_outbox(session, "order.placed", {"order_id": order_id}, id=order_id, key="one")
"""


def _lines(daemon: RunningDaemon, message_id: str) -> list[dict[str, Any]]:
    return [line for line in daemon.events if line.get("message_id") == message_id]


def test_a_message_that_always_fails_is_buried_and_stops_nobody(tmp_path: Path) -> None:
    """After its attempts, and others are handled between them, though there is one slot for all."""
    orders = [f"o-{number}" for number in range(20)]
    own: dict[str, Any] = {
        "DAEMON__MAX_ATTEMPTS": "3",
        "DAEMON__CONCURRENCY": "1",
        "DAEMON__BACKOFF": "1",
        "DAEMON__BACKOFF_MAX": "1",
    }
    with running_daemon(tmp_path, **own) as daemon:
        daemon.publish(placed("poison", "tests.poison"), *(placed(order) for order in orders))
        buried = daemon.wait_for("message.buried")
        until(lambda: len(fulfilled(tmp_path)) == len(orders), "the others", tell=daemon.tail)
        assert fulfilled(tmp_path) == dict.fromkeys(orders, 1)
        assert Counter(line["event"] for line in _lines(daemon, "poison")) == {
            "message.started": 3,
            "message.retried": 2,
            "message.failed": 1,
            "message.buried": 1,
        }
        assert (buried["message_id"], buried["reason"]) == ("poison", "exhausted")
        events = [(line["event"], line.get("message_id")) for line in daemon.events]
        between = events[events.index(("message.retried", "poison")) : events.index(("message.buried", "poison"))]
        assert any(event == "order.fulfilled" for event, _ in between)
        assert daemon.terminate() == 0
    settings = {"BROKER_URL": f"sqlite:///{tmp_path / 'var' / 'queue.db'}"}
    listed = run_python("-m", "app.daemon.dead_letters", "list", **settings)
    assert listed.returncode == 0, listed.stderr
    assert "poison" in listed.stdout
    assert "exhausted" in listed.stdout


def test_a_message_goes_on_with_the_ids_of_its_sender(tmp_path: Path) -> None:
    """Its lines and its spans are of the sender's trace and request, in each of its attempts."""
    with collector() as collected, running_daemon(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collected.url) as daemon:
        trace_id, span_id = asyncio.run(_publish_within_a_request(tmp_path))
        until(lambda: fulfilled(tmp_path) == {"o-1": 1}, "the effect", tell=daemon.tail)
        daemon.wait_for("message.succeeded")
        assert daemon.terminate() == 0
        lines = [line for line in _lines(daemon, "m-1") if line["event"] != "order.fulfilled"]
        spans = [span for span in collected.spans if span.name == "process tests.shaky"]
    events = [line["event"] for line in lines]
    assert events == ["message.started", "message.retried", "message.started", "message.succeeded"]
    for line in lines:
        assert {name: line[name] for name in (*IDS, "trace_id")} == {**IDS, "trace_id": trace_id}
    assert [(span.trace_id.hex(), span.parent_span_id.hex()) for span in spans] == [(trace_id, span_id)] * 2
    assert {line["span_id"] for line in lines} == {span.span_id.hex() for span in spans}


async def _publish_within_a_request(folder: Path) -> tuple[str, str]:
    """Publish as a service does, and return the trace, and the position in it, of what was sent."""
    settings = load_settings_of(DaemonSettings, broker_url=f"sqlite:///{folder / 'var' / 'queue.db'}")
    finished = InMemorySpanExporter()
    services = bootstrap(settings, tracing=Tracing(settings, processor=SimpleSpanProcessor(finished)))
    publisher = MessagePublisher(settings)
    try:
        with services.tracing.span("request"), request_context(**IDS):
            await publisher.publish("tests.shaky", {"order_id": "o-1"}, id="m-1")
    finally:
        await publisher.aclose()
        await services.aclose()
    context = next(span.context for span in finished.get_finished_spans() if span.name == "publish tests.shaky")
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def test_a_log_that_nobody_reads_delays_no_message(tmp_path: Path) -> None:
    """All effects are there before anything was read, and the daemon ends when it is told to."""
    (tmp_path / "var").mkdir()
    publish(tmp_path, [placed(f"o-{number}") for number in range(MANY)])
    own = {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "ADMIN_PORT": str(free_port())}
    with subprocess.Popen(
        [sys.executable, "-m", "app.daemon"],
        cwd=tmp_path,
        env={**os.environ, **own, "LOG__FORMAT": "json", "SHUTDOWN_TIMEOUT": "5"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as daemon:
        try:
            assert daemon.stdout is not None
            fcntl.fcntl(daemon.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
            until(lambda: _handled(tmp_path) == MANY, "all effects")
            assert fulfilled(tmp_path) == {f"o-{number}": 1 for number in range(MANY)}
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(PATIENCE) == 0
            # There was no room for it; how much there was for others depends on how many were written at once.
            assert b"daemon.stopped" not in daemon.stdout.read()
        finally:
            daemon.kill()


def _handled(folder: Path) -> int:
    try:
        return len(fulfilled(folder))
    except sqlite3.OperationalError:
        # The daemon has not made the table yet.
        return 0


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("DAEMON__CONCURRENCY", "0", "DAEMON__CONCURRENCY"),
        ("BROKER_URL", "filesystem://x", "filesystem://x"),
        ("BROKER_URL", "sqlite:////proc/nowhere/queue.db", "'/proc/nowhere/queue.db' (No such file or directory)"),
        ("DATABASE_URL", "sqlite:////proc/nowhere/app.db", "'/proc/nowhere/app.db' (No such file or directory)"),
    ],
)
def test_a_wrong_setting_is_one_message(tmp_path: Path, name: str, value: str, shown: str) -> None:
    """It names the setting and what was received, is no traceback, and the code is 1."""
    with living(tmp_path, "-m", "app.daemon", **{name: value}) as life:
        assert life.popen.wait(PATIENCE) == 1
        said = "".join(line["line"] for line in life.named("(raw)"))
        assert not life.named("daemon.ready")
        assert not [line for line in life.events if line["level"] in ("error", "critical")]
    assert said.count(name) == 1
    assert shown in said
    assert "Traceback" not in said


def test_what_another_process_writes_to_the_outbox_is_handled_once(tmp_path: Path) -> None:
    """By one of two daemons, which are relays both."""
    database = str(tmp_path / "var" / "app.db")
    own: dict[str, Any] = {"LOG__LEVEL": "DEBUG", "DAEMON__QUEUE": "mine"}
    with running_daemon(tmp_path, **own) as daemon, running_daemon(tmp_path, **own) as other:
        for number, orders in ((2, ("o-1", "o-2")), (3, ("o-3",))):
            assert run_python("-c", _WRITE_TO_OUTBOX, database, *orders).returncode == 0
            until(lambda: len(fulfilled(tmp_path)) == number, "the effects", tell=daemon.tail)  # noqa: B023 -- at once
        until(lambda: len(_of(daemon, other, "message.succeeded")) == 3, "the ends", tell=daemon.tail)
        assert _published(daemon) + _published(other) == 3
        assert (daemon.terminate(), other.terminate()) == (0, 0)
        assert fulfilled(tmp_path) == {"o-1": 1, "o-2": 1, "o-3": 1}
        assert sum(line["messages"] for line in _of(daemon, other, "outbox.relayed")) == 3
        assert _of(daemon, other, "message.duplicate") == []


def _published(daemon: RunningDaemon) -> float:
    with urlopen(f"http://127.0.0.1:{daemon.variables['ADMIN_PORT']}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(PUBLISHED))


def test_what_is_in_hand_comes_to_its_end(tmp_path: Path) -> None:
    """A signal does not interrupt it, and nobody begins with it again."""
    with running_daemon(tmp_path) as daemon:
        daemon.publish(placed("slow", "tests.fulfil", seconds=2))
        until((tmp_path / "began-slow").exists, "the handler", tell=daemon.tail)
        assert daemon.terminate() == 0
        events = [line["event"] for line in _lines(daemon, "slow") if line["event"].startswith("message.")]
        assert events == ["message.started", "message.succeeded"]
        assert fulfilled(tmp_path) == {"slow": 1}


def _of(*given: Any) -> list[dict[str, Any]]:
    *daemons, event = given
    return [line for daemon in daemons for line in daemon.events if line["event"] == event]
