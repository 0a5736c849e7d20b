"""`@traced`: a span around a function of one's own, of whatever kind it is.

A span stands below the current one and only where that one is recorded; elsewhere the function pays for one look at a
context variable. Which kind of function it is, is decided once, when it is decorated.
"""

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import nullcontext
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar, cast

from opentelemetry.trace import SpanKind

from .spans import Attributes, RecordedSpan, attached, dotted, ending, recorded_span, running

P = ParamSpec("P")
R = TypeVar("R")
Begin = Callable[[RecordedSpan], RecordedSpan]


def traced(name: str | None = None, **attributes: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that runs a function in a span; an error is recorded on it, redacted, and raised again.

    It takes functions, methods, `async def`, generators and asynchronous generators. A generator's span lasts from its
    first value to its end, and is the current one only while the generator itself runs, not its consumer.

    Args:
        name: A name of low cardinality; the function's qualified name when left out.
        attributes: What is known of every call; `_` in a name becomes `.`, unless the name has a `.` already.

    """
    known = dotted(attributes)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if isinstance(function, staticmethod | classmethod):
            return cast("Callable[P, R]", type(function)(decorate(function.__func__)))
        label = name or str(getattr(function, "__qualname__", type(function).__qualname__))
        return cast("Callable[P, R]", _wrapper(function)(function, _begin(label, known)))

    return decorate


def _begin(name: str, attributes: Attributes) -> Begin:
    return lambda above: above.child(name, SpanKind.INTERNAL, attributes.copy())


def _wrapper(function: Any) -> Callable[[Any, Begin], Any]:
    call = type(function).__call__
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):
        return _coroutine
    if inspect.isasyncgenfunction(function) or inspect.isasyncgenfunction(call):
        return _async_generator
    if inspect.isgeneratorfunction(function) or inspect.isgeneratorfunction(call):
        return _generator
    return _function


def _function(function: Callable[..., Any], begin: Begin) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        above = recorded_span()
        if above is None:
            return function(*args, **kwargs)
        with running(begin(above)):
            return function(*args, **kwargs)

    return call


def _coroutine(function: Callable[..., Awaitable[Any]], begin: Begin) -> Callable[..., Awaitable[Any]]:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> Any:
        above = recorded_span()
        if above is None:
            return await function(*args, **kwargs)
        with running(begin(above)):
            return await function(*args, **kwargs)

    return call


def _generator(function: Callable[..., Generator[Any, Any, Any]], begin: Begin) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        above = recorded_span()
        if above is None:
            return (yield from function(*args, **kwargs))
        with ending(begin(above)) as span:
            return (yield from _steps(function(*args, **kwargs), span))

    return call


def _steps(inner: Generator[Any, Any, Any], span: RecordedSpan) -> Generator[Any, Any, Any]:
    """Do what `yield from` does, with the span attached while the inner generator runs."""
    step = partial(next, inner)
    while True:
        with attached(span):
            try:
                value = step()
            except StopIteration as stop:
                return stop.value
        try:
            sent = yield value
        except GeneratorExit:
            with attached(span):
                inner.close()
            raise
        except BaseException as error:  # noqa: BLE001 -- whatever was thrown in is the generator's to handle
            step = partial(inner.throw, error)
        else:
            step = partial(inner.send, sent)


def _async_generator(function: Callable[..., AsyncGenerator[Any, Any]], begin: Begin) -> Callable[..., Any]:
    @wraps(function)
    async def call(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        above = recorded_span()
        span = begin(above) if above else None
        within = partial(attached, span) if span else nullcontext
        inner = function(*args, **kwargs)
        with ending(span) if span else nullcontext():
            step: Callable[[], Awaitable[Any]] = inner.__anext__
            while True:
                with within():
                    try:
                        value = await step()
                    except StopAsyncIteration:
                        return
                try:
                    sent = yield value
                except GeneratorExit:
                    with within():
                        await inner.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 -- whatever was thrown in is the generator's to handle
                    step = partial(inner.athrow, error)
                else:
                    step = partial(inner.asend, sent)

    return call
