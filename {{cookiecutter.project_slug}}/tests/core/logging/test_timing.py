"""How long a function took is logged, however it ends and whatever kind it is."""

import asyncio
import inspect
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import assert_type

import pytest

from app.core.logging import get_logger, log_execution_time

from ...conftest import Log


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a quarter of a second pass between any two looks at the clock."""
    ticks = itertools.count(step=0.25)
    monkeypatch.setattr("time.perf_counter", lambda: next(ticks))


@log_execution_time()
def add(a: int, b: int = 1) -> int:
    """Add."""
    return a + b


@log_execution_time("report.built", level="DEBUG")
async def build(secret: str) -> int:
    """Return a length, later."""
    await asyncio.sleep(0)
    return len(secret)


@log_execution_time()
def count(number: int) -> Iterator[int]:
    """Count."""
    yield from range(number)


@log_execution_time()
async def count_later(number: int) -> AsyncIterator[int]:
    """Count, later."""
    for value in range(number):
        yield value


def test_function(log: Log) -> None:
    """A call is one event of the function's module, with its time, and without its arguments."""
    assert add(41) == 42
    (line,) = log.events
    shown = {name: line[name] for name in ("level", "logger", "event", "function", "duration_ms", "status")}
    assert shown == {
        "level": "info",
        "logger": __name__,
        "event": "function.finished",
        "function": "add",
        "duration_ms": 250.0,
        "status": "success",
    }
    assert "41" not in log[0].replace(line["timestamp"], "")
    assert "slow" not in line


async def test_async_function(log: Log) -> None:
    """An async function is timed until it ends, under the name and at the level that were asked for."""
    wanted = log_execution_time("report.built", level="WARNING")(build.__wrapped__)  # type: ignore[attr-defined]
    assert await wanted("s3cr3t-value") == 12
    (line,) = log.events
    assert (line["event"], line["level"], line["duration_ms"]) == ("report.built", "warning", 250.0)
    assert "s3cr3t" not in log[0]


async def test_level_that_is_not_wanted(log: Log) -> None:
    """A level that the logger does not want leaves no line."""
    await build("")
    assert log == []


def test_generator(log: Log) -> None:
    """A generator is one event at its end, and none before."""
    values = count(2)
    assert next(values) == 0
    assert log == []
    assert list(values) == [1]
    assert [(line["function"], line["status"]) for line in log.events] == [("count", "success")]


async def test_async_generator(log: Log) -> None:
    """An asynchronous generator is one event at its end."""
    assert [value async for value in count_later(2)] == [0, 1]
    assert [(line["function"], line["status"]) for line in log.events] == [("count_later", "success")]


def test_generator_that_is_closed(log: Log) -> None:
    """A generator whose consumer stops early is no error."""
    values = count(2)
    next(values)
    values.close()  # type: ignore[attr-defined]
    assert [(line["status"], line["level"]) for line in log.events] == [("cancelled", "info")]


async def test_cancelled_task(log: Log) -> None:
    """A cancelled call is no error."""

    @log_execution_time()
    async def wait() -> None:
        await asyncio.Event().wait()

    task = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(line["status"], line["level"]) for line in log.events] == [("cancelled", "info")]


@pytest.mark.parametrize(("level", "shown"), [("debug", "warning"), ("critical", "critical")])
def test_failure(log: Log, level: str, shown: str) -> None:
    """A call that fails is a warning at least, says what failed, and leaves the exception to whoever handles it."""

    @log_execution_time(level=level)
    def fails() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        fails()
    (line,) = log.events
    assert (line["status"], line["error_type"], line["level"]) == ("error", "KeyError", shown)
    assert "exception" not in line


@pytest.mark.parametrize(("slow_seconds", "level"), [(0.25, "warning"), (0.26, "info")])
def test_slow_call(log: Log, slow_seconds: float, level: str) -> None:
    """A call that takes long is a warning, marked as slow."""
    log_execution_time(slow_seconds=slow_seconds)(str)()
    (line,) = log.events
    assert (line["level"], line.get("slow", False)) == (level, level == "warning")


def test_own_logger(log: Log) -> None:
    """The event may be another logger's, with what is bound to it."""
    log_execution_time(logger=get_logger("app.jobs").bind(job="nightly"))(str)()
    assert [(line["logger"], line["job"]) for line in log.events] == [("app.jobs", "nightly")]


class Orders:
    """Methods of all kinds."""

    @log_execution_time()
    def method(self) -> str:
        """Return a word."""
        return "method"

    @log_execution_time()
    @classmethod
    def inner_class_method(cls) -> str:
        """Return a word."""
        return cls.__name__

    @staticmethod
    @log_execution_time()
    def static_method() -> str:
        """Return a word."""
        return "static"


def test_methods(log: Log) -> None:
    """Methods are timed like functions, in either order of decorators."""
    words = [Orders().method(), Orders.inner_class_method(), Orders.static_method()]
    assert words == ["method", "Orders", "static"]
    assert [line["function"] for line in log.events] == [
        "Orders.method",
        "Orders.inner_class_method",
        "Orders.static_method",
    ]


def test_signature_stays() -> None:
    """Whoever looks at the function, a framework or a type checker, sees what was written."""
    # The checks of `inspect` below narrow what the type checker knows.
    assert_type(add(1), int)
    assert_type(count(1), Iterator[int])
    assert str(inspect.signature(add)) == "(a: int, b: int = 1) -> int"
    assert inspect.iscoroutinefunction(build)
    assert inspect.isgeneratorfunction(count)
    assert inspect.isasyncgenfunction(count_later)


def test_without_parentheses() -> None:
    """A decorator without parentheses is refused when it is written, not when it is called."""
    with pytest.raises(TypeError, match=r"write @log_execution_time\(\)"):
        log_execution_time(str)  # type: ignore[arg-type]


def test_unknown_level() -> None:
    """A level that there is not is refused with those that there are."""
    with pytest.raises(ValueError, match="received level 'loud'; allowed: debug, info, warning, error, critical"):
        log_execution_time(level="loud")
