"""A function is surrounded while its body runs, whatever kind it is."""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import ParamSpec, TypeVar

import pytest

from app.core.functions import surround

P = ParamSpec("P")
R = TypeVar("R")
Seen = list[object]


class Noting:
    """A decorator that notes when a body begins and how it ends.

    Args:
        seen: Where it is noted.

    """

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Surround the function."""
        return surround(function, self.around)

    @contextmanager
    def around(self, *args: object, **kwargs: object) -> Iterator[None]:
        """Note a call."""
        self._seen.append((args, kwargs))
        try:
            yield
        except BaseException as error:
            self._seen.append(type(error))
            raise
        self._seen.append("end")


@pytest.fixture
def seen() -> Seen:
    """Return what was noted."""
    return []


def test_function(seen: Seen) -> None:
    """A plain function runs within, gets its arguments and gives its result."""

    @Noting(seen)
    def add(a: int, *, b: int) -> int:
        seen.append("body")
        return a + b

    assert add(1, b=2) == 3
    assert seen == [((1,), {"b": 2}), "body", "end"]


async def test_coroutine_function(seen: Seen) -> None:
    """An `async def` is within while it is awaited, not while its coroutine is made."""

    @Noting(seen)
    async def add(a: int) -> int:
        seen.append("body")
        return a

    pending = add(1)
    assert seen == []
    assert await pending == 1
    assert seen == [((1,), {}), "body", "end"]


def test_generator(seen: Seen) -> None:
    """A generator is within from its first value to its end; what is sent reaches it, its result leaves it."""

    @Noting(seen)
    def echo() -> Generator[str, str, str]:
        got = yield "first"
        yield got
        return "result"

    generator = echo()
    assert seen == []
    assert next(generator) == "first"
    assert generator.send("sent") == "sent"
    assert seen == [((), {})]
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "result"
    assert seen == [((), {}), "end"]


async def test_asynchronous_generator(seen: Seen) -> None:
    """An asynchronous generator is within from its first value to its end; what is sent and thrown reaches it."""

    @Noting(seen)
    async def echo() -> AsyncGenerator[str, str]:
        got = yield "first"
        try:
            yield got
        except KeyError:
            yield "handled"

    generator = echo()
    assert seen == []
    assert await anext(generator) == "first"
    assert await generator.asend("sent") == "sent"
    assert await generator.athrow(KeyError("x")) == "handled"
    assert [value async for value in generator] == []
    assert seen == [((), {}), "end"]


async def test_generators_that_are_closed(seen: Seen) -> None:
    """Whoever stops reading ends it: the body's own clean-up runs, and what surrounds it hears of it."""

    @Noting(seen)
    def numbers() -> Generator[int, None, None]:
        try:
            yield 1
        finally:
            seen.append("cleaned")

    @Noting(seen)
    async def async_numbers() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            seen.append("cleaned")

    generator = numbers()
    next(generator)
    generator.close()
    async_generator = async_numbers()
    await anext(async_generator)
    await async_generator.aclose()
    assert seen == [((), {}), "cleaned", GeneratorExit] * 2


async def test_errors_leave_all_kinds(seen: Seen) -> None:
    """An exception passes through what surrounds the body, and on to the caller."""

    @Noting(seen)
    def function() -> None:
        raise KeyError

    @Noting(seen)
    async def coroutine_function() -> None:
        raise KeyError

    @Noting(seen)
    def generator() -> Iterator[int]:
        yield 1
        raise KeyError

    @Noting(seen)
    async def async_generator() -> AsyncGenerator[int, None]:
        yield 1
        raise KeyError

    with pytest.raises(KeyError):
        function()
    with pytest.raises(KeyError):
        await coroutine_function()
    with pytest.raises(KeyError):
        list(generator())
    with pytest.raises(KeyError):
        [value async for value in async_generator()]
    assert seen == [((), {}), KeyError] * 4


def test_kind_and_signature_stay() -> None:
    """Frameworks look at a function's kind, name and signature: all stay as they were."""

    async def original(order_id: int, *, dry: bool = False) -> str:
        """Do it."""
        return ""

    wrapped = Noting([])(original)
    assert inspect.iscoroutinefunction(wrapped)
    assert inspect.signature(wrapped) == inspect.signature(original)
    assert (wrapped.__name__, wrapped.__doc__) == ("original", "Do it.")


async def test_methods(seen: Seen) -> None:
    """Methods of all sorts can be surrounded, on either side of `staticmethod` and `classmethod`."""

    class Shop:
        @Noting(seen)
        async def method(self) -> str:
            return "method"

        @Noting(seen)
        @staticmethod
        async def static() -> str:
            return "static"

        @Noting(seen)
        @classmethod
        def of_class(cls) -> str:
            return cls.__name__

    assert (await Shop().method(), await Shop.static(), Shop.of_class()) == ("method", "static", "Shop")
    assert seen.count("end") == 3


async def test_what_is_called_like_a_function(seen: Seen) -> None:
    """Partial functions and objects with an asynchronous `__call__` are surrounded while they are awaited."""

    class Handler:
        async def __call__(self) -> str:
            seen.append("body")
            return "called"

    async def add(a: int, b: int) -> int:
        seen.append("body")
        return a + b

    assert await Noting(seen)(functools.partial(add, 1))(2) == 3
    assert await Noting(seen)(Handler())() == "called"
    assert seen == [((2,), {}), "body", "end", ((), {}), "body", "end"]


async def test_what_is_suppressed_has_a_result() -> None:
    """When the context manager suppresses an exception, every kind of function returns what was given for that case."""

    def fails() -> int:
        return 1 // 0

    async def fails_later() -> int:
        return 1 // 0

    def fails_on_the_way() -> Generator[int, None, int]:
        yield 1
        return 1 // 0

    async def fails_on_both() -> AsyncGenerator[int]:
        yield 1
        yield 1 // 0

    def quiet(function: Callable[P, R]) -> Callable[P, R]:
        return surround(function, lambda *_, **__: suppress(ZeroDivisionError), otherwise=7)

    assert (quiet(fails)(), await quiet(fails_later)()) == (7, 7)
    running = quiet(fails_on_the_way)()
    assert next(running) == 1
    with pytest.raises(StopIteration) as end:
        next(running)
    assert end.value.value == 7
    assert [value async for value in quiet(fails_on_both)()] == [1]
