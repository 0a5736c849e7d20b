"""Enrichers' values are on the lines, and are refreshed in the background."""

import asyncio
import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import structlog

from app.adapters.logging import close_logging, configure_logging, log_health
from app.core.context import request_context
from app.core.logging import get_logger, register_enricher, remove_enricher
from app.core.logging.enrichers import enrichers
from app.settings import Settings

from ...conftest import Log
from ...processes import FORKS, PATIENCE, run_python


@pytest.fixture(autouse=True)
def _no_enrichers() -> Iterator[None]:
    """Leave no enricher behind."""
    yield
    for name in list(enrichers.failures):
        remove_enricher(name)


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until something holds; what never does fails the test."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def has_value(name: str) -> bool:
    """Return whether an enricher has a value."""
    return name in enrichers.current.values


def log_everywhere() -> None:
    """Log one event each way there is."""
    get_logger("app").info("short way")
    get_logger("app").info("long %s", "way")
    logging.getLogger("lib").warning("record")
    structlog.get_logger("lib").warning("structlog")


def test_enricher_of_events(log: Log) -> None:
    """An enricher is asked once for each event, whichever way it takes."""
    register_enricher("sequence", itertools.count().__next__)
    log_everywhere()
    assert [line["sequence"] for line in log.events] == [0, 1, 2, 3]
    remove_enricher("sequence")
    log_everywhere()
    assert all("sequence" not in line for line in log.events[4:])


def test_event_that_is_not_wanted(log: Log) -> None:
    """For an event below the level nobody is asked."""
    calls: list[None] = []
    register_enricher("called", lambda: calls.append(None))
    get_logger("app").debug("dropped")
    assert calls == []


@pytest.mark.parametrize("is_async", [False, True])
def test_refreshed_enricher(log: Log, is_async: bool) -> None:
    """A value comes from the background, sync or async, and is on every line, whichever way it takes."""
    threads: list[str] = []

    def owner() -> dict[str, str]:
        threads.append(threading.current_thread().name)
        return {"team": "orders"}

    async def owner_later() -> dict[str, str]:
        await asyncio.sleep(0)
        return owner()

    register_enricher("owner", owner_later if is_async else owner, refresh_seconds=3600)
    wait_for(lambda: has_value("owner"))
    log_everywhere()
    assert [line["owner"] for line in log.events] == [{"team": "orders"}] * 4
    assert threads == ["log-enricher-owner"]


def test_own_fields_win(log: Log) -> None:
    """A field of the event or of its context is on the line once, instead of an enricher's."""
    register_enricher("owner", lambda: "enricher", refresh_seconds=3600)
    wait_for(lambda: has_value("owner"))
    get_logger("app").info("own", owner="event")
    with request_context(owner="context"):
        get_logger("app").info("inherited")
    assert [line["owner"] for line in log.events] == ["event", "context"]
    assert [line.count('"owner"') for line in log] == [1, 1]


def test_values_are_refreshed(log: Log) -> None:
    """A value is asked for again when it is as old as it may get."""
    register_enricher("number", itertools.count().__next__, refresh_seconds=0.1)
    wait_for(lambda: enrichers.current.values.get("number", 0) >= 2)
    get_logger("app").info("e")
    assert log.events[0]["number"] >= 2


async def test_async_enricher_of_a_loop(log: Log) -> None:
    """An async function that was registered on a running loop runs there, where its clients live."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def owner() -> str:
        loops.append(asyncio.get_running_loop())
        return "orders"

    register_enricher("owner", owner, refresh_seconds=3600)
    await asyncio.to_thread(wait_for, lambda: has_value("owner"))
    assert loops == [asyncio.get_running_loop()]


def test_failing_refresh(log: Log) -> None:
    """A refresh that fails leaves its field out, is counted, and is told once."""

    def fails() -> None:
        msg = "no value"
        raise RuntimeError(msg)

    register_enricher("owner", fails, refresh_seconds=0.1)
    wait_for(lambda: log_health().enrichers["owner"] >= 3 and log)
    get_logger("app").info("e")
    assert [line["event"] for line in log.events] == ["enricher.failed", "e"]
    assert log.events[0]["exception"][0]["message"] == "no value"
    assert "owner" not in log.events[1]


async def never() -> None:
    """Take for ever."""
    await asyncio.Event().wait()


def test_async_refresh_that_takes_too_long(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """An async function is not waited for for ever: that is a failure."""
    monkeypatch.setattr("app.adapters.logging.enrichers.TIMEOUT_SECONDS", 0.01)
    register_enricher("owner", never, refresh_seconds=3600)
    wait_for(lambda: log.named("enricher.failed"))
    assert log.events[0]["exception"][0]["type"] == "TimeoutError"
    assert log_health().enrichers == {"owner": 1}


def test_slow_refresh(log: Log) -> None:
    """While a function takes its time, events are logged with the value that there was."""
    entered, release = threading.Event(), threading.Event()
    values = iter(["first", "second"])

    def slow() -> str:
        value = next(values)
        if value == "second":
            entered.set()
            release.wait(PATIENCE)
        return value

    register_enricher("owner", slow, refresh_seconds=0.1)
    assert entered.wait(PATIENCE)
    get_logger("app").info("e")
    assert log.events[0]["owner"] == "first"
    remove_enricher("owner")
    release.set()


def test_closing_stops_refreshers(settings: Settings) -> None:
    """When the log is closed nothing is refreshed any more, and the next configuration starts again."""
    configure_logging(settings, sink=lambda _line: None)
    # A thread of an earlier test or configuration may be about to end.
    others = set(threading.enumerate())
    register_enricher("number", itertools.count().__next__, refresh_seconds=0.1)
    wait_for(lambda: has_value("number"))
    (thread,) = [new for new in set(threading.enumerate()) - others if new.name == "log-enricher-number"]
    close_logging()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    before = enrichers.current.values["number"]
    configure_logging(settings, sink=lambda _line: None)
    wait_for(lambda: enrichers.current.values.get("number", before) > before)


FORKING = """
import itertools, os, time
from app.adapters.logging import close_logging, configure_logging
from app.core.logging import get_logger, register_enricher
from app.core.logging.enrichers import enrichers
from app.settings import load_settings
async def pid():
    return os.getpid()
configure_logging(load_settings())
register_enricher("pid", pid, refresh_seconds=0.1)
while "pid" not in enrichers.current.values:
    time.sleep(0.01)
if os.fork() == 0:
    while enrichers.current.values["pid"] != os.getpid():
        time.sleep(0.01)
    get_logger("app").info("child", own=os.getpid())
    close_logging()
    os._exit(0)
os.wait()
get_logger("app").info("parent", own=os.getpid())
"""


def test_forked_child() -> None:
    """A child that was forked refreshes for itself."""
    ended = run_python(*FORKS, "-c", FORKING, LOG__FORMAT="json")
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [(line["event"], line["pid"] == line["own"]) for line in lines] == [("child", True), ("parent", True)]
    assert (ended.returncode, ended.stderr) == (0, "")
