"""Surround a function with a context manager, whatever kind of function it is.

A decorator that only calls the function is wrong for three kinds of four: calling an `async def`, a generator or an
asynchronous generator runs none of its body. Which kind it is, is decided once, when the function is decorated.
"""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")

Around = Callable[..., AbstractContextManager[Any]]


def surround(function: Callable[P, R], around: Around, *, otherwise: Any = None) -> Callable[P, R]:
    """Return the function so that its body runs within a context manager; its signature stays.

    A generator is within it from the first value that is asked for until it ends, is closed or fails, so the time that
    its consumer takes counts too.

    Args:
        function: A function, method, `async def`, generator or asynchronous generator.
        around: Called with each call's arguments; returns what the body runs within.
        otherwise: What is returned when the context manager suppresses an exception.

    """
    if isinstance(function, staticmethod | classmethod):
        return cast("Callable[P, R]", type(function)(surround(function.__func__, around, otherwise=otherwise)))
    if _is(inspect.iscoroutinefunction, function):
        return cast("Callable[P, R]", _coroutine(function, around, otherwise))
    if _is(inspect.isasyncgenfunction, function):
        return cast("Callable[P, R]", _async_generator(function, around))
    if _is(inspect.isgeneratorfunction, function):
        return cast("Callable[P, R]", _generator(function, around, otherwise))

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        result: R = otherwise
        with around(*args, **kwargs):
            result = function(*args, **kwargs)
        return result  # noqa: RET504 -- it is there when an exception was suppressed, too

    return call


def _is(kind: Callable[[Any], bool], function: Any) -> bool:
    """Return whether a function, or an object that is called like one, is of a kind."""
    return kind(function) or kind(type(function).__call__)


def _coroutine(function: Any, around: Around, otherwise: Any) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        result = otherwise
        with around(*args, **kwargs):
            result = await function(*args, **kwargs)
        return result  # noqa: RET504 -- as above

    return call


def _generator(function: Any, around: Around, otherwise: Any) -> Callable[..., Generator[Any, Any, Any]]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        result = otherwise
        with around(*args, **kwargs):
            result = yield from function(*args, **kwargs)
        return result

    return call


def _async_generator(function: Any, around: Around) -> Callable[..., AsyncGenerator[Any, Any]]:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with around(*args, **kwargs):
            inner = function(*args, **kwargs)
            step = inner.__anext__()
            # What `yield from` does, which asynchronous generators lack: values, errors and closing go both ways.
            while True:
                try:
                    value = await step
                except StopAsyncIteration:
                    return
                try:
                    sent = yield value
                except GeneratorExit:
                    await inner.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 -- whatever was thrown in is the generator's to handle
                    step = inner.athrow(error)
                else:
                    step = inner.asend(sent)

    return call
