"""`@traced`: every kind of function is in a span of its own while it runs, and nowhere else."""

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator

import pytest
from opentelemetry.trace import SpanKind

from app.core.context import current_context
from app.core.spans import RecordedSpan, attached, recorded_span
from app.core.traced import traced
from app.core.tracing import PositionSpan, Trace, current_trace

POSITION = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 1)
EMAIL = "@".join(["ada", "example.com"])


@pytest.fixture
def finished() -> list[RecordedSpan]:
    """Return the spans that have ended."""
    return []


@pytest.fixture
def above(finished: list[RecordedSpan]) -> Iterator[RecordedSpan]:
    """Return the current span."""
    with attached(RecordedSpan(POSITION, "request", SpanKind.SERVER, None, {}, finished.append)) as span:
        yield span


def here() -> str:
    """Return the id of the current span."""
    trace = current_trace()
    return trace.span_id if trace else ""


@traced()
def function() -> str:
    """Return where it runs."""
    return here()


@traced()
async def coroutine() -> str:
    """Return where it runs, before and after others had their turn."""
    before = here()
    await asyncio.sleep(0)
    return here() if here() == before else ""


@traced()
def generator() -> Generator[str, str, str]:
    """Yield where it runs, and what is sent."""
    got = yield here()
    yield got
    return here()


@traced()
async def async_generator() -> AsyncGenerator[str, str]:
    """Yield where it runs, and what is sent."""
    got = yield here()
    await asyncio.sleep(0)
    yield got
    yield here()


def test_function(above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """A function runs in a span below the current one, named after it."""
    seen = function()
    (span,) = finished
    assert (span.name, span.parent, span.kind) == ("function", above.trace, SpanKind.INTERNAL)
    assert (seen, here()) == (span.trace.span_id, above.trace.span_id)


async def test_coroutine(above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """An `async def` runs in a span while it is awaited, beside others too."""
    pending = coroutine()
    assert finished == []
    seen = await asyncio.gather(pending, coroutine())
    assert set(seen) == {span.trace.span_id for span in finished}
    assert [span.parent for span in finished] == [above.trace] * 2


def test_generator(above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """A generator is in its span while it runs, its consumer is not; values, and the result, go through."""
    running = generator()
    first = next(running)
    assert here() == above.trace.span_id
    assert (running.send("sent"), finished) == ("sent", [])
    with pytest.raises(StopIteration) as stop:
        next(running)
    (span,) = finished
    assert first == stop.value.value == span.trace.span_id


async def test_async_generator(above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """An asynchronous generator is in its span while it runs, its consumer is not."""
    running = async_generator()
    first = await anext(running)
    assert here() == above.trace.span_id
    assert await running.asend("sent") == "sent"
    (last,) = [value async for value in running]
    (span,) = finished
    assert first == last == span.trace.span_id


async def test_ids_are_in_the_log(above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """What is logged within has the span's ids."""

    @traced()
    async def logging() -> object:
        return current_context()["span_id"]

    seen = await logging()
    assert seen == finished[0].trace.span_id
    assert current_context()["span_id"] == above.trace.span_id


def test_name_and_attributes(above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """A span has the name and the attributes that were given, of its own in each call."""

    @traced("price an order", shop_kind="web", **{"shop.max_items": 3})
    def price() -> None:
        span = recorded_span()
        assert span is not None
        span.set_attribute("first", not finished)

    price()
    price()
    known = {"shop.kind": "web", "shop.max_items": 3}
    assert [(span.name, span.attributes) for span in finished] == [
        ("price an order", {**known, "first": True}),
        ("price an order", {**known, "first": False}),
    ]


@traced()
def failing() -> None:
    """Fail."""
    raise ValueError("no account " + EMAIL)


@traced()
async def failing_coroutine() -> None:
    """Fail."""
    raise ValueError("no account " + EMAIL)


@traced()
def failing_generator() -> Iterator[int]:
    """Yield once and fail."""
    yield 1
    raise ValueError("no account " + EMAIL)


@traced()
async def failing_async_generator() -> AsyncIterator[int]:
    """Yield once and fail."""
    yield 1
    raise ValueError("no account " + EMAIL)


async def consume(kind: Callable[[], object]) -> None:
    """Run a function of any kind to its end."""
    result = kind()
    if inspect.isawaitable(result):
        await result
    elif isinstance(result, AsyncGenerator):
        async for _ in result:
            pass
    elif isinstance(result, Generator):
        list(result)


@pytest.mark.parametrize("kind", [failing, failing_coroutine, failing_generator, failing_async_generator])
async def test_error(above: RecordedSpan, finished: list[RecordedSpan], kind: Callable[[], object]) -> None:
    """An error is recorded on the span, without secrets, and raised again."""
    with pytest.raises(ValueError, match=EMAIL):
        await consume(kind)
    (span,) = finished
    assert span.status.name == "ERROR"
    assert [event.attributes["exception.message"] for event in span.events] == ["no account [redacted]"]


def test_error_through_several(above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """An error that leaves several functions is described once, on the innermost."""

    @traced()
    def outer() -> None:
        failing()

    with pytest.raises(ValueError, match="account"):
        outer()
    assert [(span.name.split(".")[-1], span.status.name, len(span.events)) for span in finished] == [
        ("failing", "ERROR", 1),
        ("outer", "ERROR", 0),
    ]


async def test_cancelled(above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """What is cancelled ends its span, and has not failed."""

    @traced()
    async def waiting() -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [span.status.name for span in finished] == ["UNSET"]


async def test_generators_that_are_closed(above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """Whoever stops reading ends the span; the generator cleans up in it."""
    cleaned: list[str] = []

    @traced()
    def numbers() -> Generator[int, None, None]:
        try:
            yield 1
        finally:
            cleaned.append(here())

    @traced()
    async def async_numbers() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            cleaned.append(here())

    running = numbers()
    next(running)
    running.close()
    async_running = async_numbers()
    await anext(async_running)
    await async_running.aclose()
    assert cleaned == [span.trace.span_id for span in finished]
    assert [span.status.name for span in finished] == ["UNSET"] * 2


async def test_errors_are_thrown_in(above: RecordedSpan) -> None:
    """What a consumer throws into a generator reaches it."""

    @traced()
    def numbers() -> Generator[str, None, None]:
        try:
            yield "first"
        except KeyError:
            yield "handled"

    @traced()
    async def async_numbers() -> AsyncGenerator[str, None]:
        try:
            yield "first"
        except KeyError:
            yield "handled"

    running, async_running = numbers(), async_numbers()
    assert (next(running), await anext(async_running)) == ("first", "first")
    assert (running.throw(KeyError()), await async_running.athrow(KeyError())) == ("handled", "handled")


async def test_every_kind_where_nothing_is_recorded() -> None:
    """Outside of a recorded span each kind runs as if it were not decorated."""
    position = POSITION._replace(flags=0)
    with attached(PositionSpan(position)):
        running, async_running = generator(), async_generator()
        seen = [function(), await coroutine(), next(running), await anext(async_running)]
        assert (running.send("sent"), await async_running.asend("sent")) == ("sent", "sent")
        assert ([*running], [value async for value in async_running]) == ([], [position.span_id])
    assert set(seen) == {position.span_id}


def test_kind_and_signature_stay() -> None:
    """Frameworks look at a function's kind and signature: both stay."""
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(async_generator)
    assert function.__name__ == "function"
    assert inspect.signature(function) == inspect.Signature(return_annotation=str)


async def test_methods(above: RecordedSpan, finished: list[RecordedSpan]) -> None:
    """Methods of all sorts, partial functions and objects that are called are traced."""

    class Shop:
        @traced()
        async def method(self) -> str:
            return "method"

        @traced()
        @staticmethod
        def static() -> str:
            return "static"

        @traced()
        @classmethod
        def of_class(cls) -> str:
            return cls.__name__

        async def __call__(self) -> str:
            return here()

    assert (await Shop().method(), Shop.static(), Shop.of_class()) == ("method", "static", "Shop")
    assert traced("partial")(functools.partial(int, "7"))() == 7
    assert await traced("called")(Shop())() == finished[-1].trace.span_id
    names = [span.name.rpartition(".")[2] for span in finished]
    assert names == ["method", "static", "of_class", "partial", "called"]
