"""Series are defined once, count exactly, stay bounded, and their decorators measure what runs."""

import asyncio
import math
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from itertools import count
from types import SimpleNamespace

import pytest

from app.core.metrics import (
    OTHER,
    OWN,
    Across,
    Counter,
    Family,
    Registry,
    Series,
    Source,
    counted,
    counter,
    gauge,
    histogram,
    in_progress,
    merge,
    on_scrape,
    summary,
    timed,
)
from app.core.metrics.builtin import RESERVED
from app.core.metrics.registry import OVERFLOWS

from ..conftest import Log


@pytest.fixture
def registry() -> Registry:
    """Return series of the test's own."""
    return Registry(limit=3)


def numbers(registry: Registry, name: str) -> dict[tuple[str, ...], list[float]]:
    """Return a series' numbers by the values of its labels."""
    return {values: cells for definition, values, cells in registry.samples() if definition.name == name}


def test_counter(registry: Registry) -> None:
    """A counter counts apart for each combination of label values, given in order or by name."""
    orders = registry.counter("orders_placed_total", "Orders.", ["channel", "country"])
    orders.labels("web", "NL").inc()
    orders.labels(country="NL", channel="web").inc(2)
    orders.labels("app", 7).inc(0.5)
    assert numbers(registry, "orders_placed") == {("web", "NL"): [3], ("app", "7"): [0.5]}
    assert orders.labels("web", "NL").value == 3


@pytest.mark.parametrize("amount", [-1, math.nan])
def test_counter_only_rises(registry: Registry, amount: float) -> None:
    """What would make a counter fall, or no number, is refused."""
    orders = registry.counter("orders_total", "Orders.")
    with pytest.raises(ValueError, match="a counter only rises"):
        orders.inc(amount)
    assert orders.value == 0


def test_counter_follows_a_total(registry: Registry) -> None:
    """A total that is counted elsewhere is taken over; when it begins again, the counter goes on."""
    dropped = registry.counter("dropped_total", "Dropped.")
    for total in (3, 5, 5, 2):
        dropped.follow(total)
    assert dropped.value == 7


def test_gauge(registry: Registry) -> None:
    """A gauge is set, rises and falls, also around a block that fails."""
    queue = registry.gauge("queue_length", "Waiting.")
    queue.set(5)
    queue.inc(2)
    queue.dec()
    with queue.track():
        assert queue.value == 7
    with pytest.raises(ConnectionResetError), queue.track():
        raise ConnectionResetError
    assert queue.value == 6
    queue.set_to_current_time()
    assert queue.value > 1.7e9


def test_histogram(registry: Registry) -> None:
    """A value counts in the smallest bucket that holds it, a bound in its own."""
    sizes = registry.histogram("size_bytes", "Sizes.", buckets=[1, 10, math.inf])
    for value in (0, 1, 1.5, 10, 11):
        sizes.observe(value)
    assert numbers(registry, "size_bytes") == {(): [2, 2, 1, 23.5]}
    assert (sizes.count, sizes.sum) == (5, 23.5)


def test_summary(registry: Registry) -> None:
    """A summary has the number of values and their sum."""
    sizes = registry.summary("size_bytes", "Sizes.")
    sizes.observe(3)
    sizes.observe(4)
    assert (sizes.count, sizes.sum) == (2, 7)


@pytest.mark.parametrize("kind", ["histogram", "summary"])
def test_nan_is_refused(registry: Registry, kind: str) -> None:
    """NaN would make the sum NaN for good."""
    series = getattr(registry, kind)("size_bytes", "Sizes.")
    with pytest.raises(ValueError, match="received NaN"):
        series.observe(math.nan)
    assert series.sum == 0


def test_time_of_a_block(registry: Registry) -> None:
    """A block's duration is taken in seconds, also when the block fails."""
    duration = registry.histogram("block_seconds", "Blocks.")
    with pytest.raises(KeyError), duration.time():
        raise KeyError
    assert duration.count == 1
    assert 0 < duration.sum < 1


@pytest.mark.parametrize("kind", ["counter", "gauge", "histogram", "summary"])
def test_labels_come_first(registry: Registry, kind: str) -> None:
    """A series with labels cannot count before it knows their values."""
    series = getattr(registry, kind)("a_series", "A.", ["color"])
    count = series.inc if kind in ("counter", "gauge") else lambda: series.observe(1)
    with pytest.raises(ValueError, match=r"a_series has the labels color: call \.labels\(color\) first"):
        count()


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), (("a",), {}), (("a", "b", "c"), {}), ((), {"x": 1}), (("a",), {"y": 1})]
)
def test_wrong_labels(registry: Registry, values: tuple[str, ...], named: dict[str, int]) -> None:
    """Other labels than those that were defined are refused, and the message names both."""
    series = registry.counter("a_total", "A.", ["x", "y"])
    with pytest.raises(ValueError, match=r"a: received the labels .*; allowed: x, y"):
        series.labels(*values, **named)


@pytest.mark.parametrize(
    "name", ["", "1st_total", "orders-placed", "orders placed", "job:orders", "größe", "a_sum", "a_bucket", "a_created"]
)
def test_bad_names(registry: Registry, name: str) -> None:
    """A name that Prometheus does not take, or takes for something else, is refused with what is allowed."""
    with pytest.raises(ValueError, match=r"as the name of a series; allowed: letters, digits and underscores"):
        registry.counter(name, "Orders.")


def test_total_is_a_counters_ending(registry: Registry) -> None:
    """Only a counter may be called a total."""
    with pytest.raises(ValueError, match="received 'orders_total' as the name"):
        registry.gauge("orders_total", "Orders.")


@pytest.mark.parametrize("labels", ["color", ["1st"], ["a-b"], ["__name"], ["a", "a"], ["le"]])
def test_bad_labels(registry: Registry, labels: list[str]) -> None:
    """Label names that Prometheus does not take, a repeated one, or a text instead of a list, are refused."""
    with pytest.raises(ValueError, match="size_bytes: received the labels"):
        registry.histogram("size_bytes", "Sizes.", labels)


@pytest.mark.parametrize("buckets", [[], [math.inf], [2, 1], [1, 1], [1, math.nan], [-math.inf, 1]])
def test_bad_buckets(registry: Registry, buckets: list[float]) -> None:
    """Buckets that do not rise, or none, are refused."""
    with pytest.raises(ValueError, match="allowed: rising numbers, at least one"):
        registry.histogram("size_bytes", "Sizes.", buckets=buckets)


def test_help_is_needed(registry: Registry) -> None:
    """A series without a help is refused."""
    with pytest.raises(ValueError, match="orders: received an empty help"):
        registry.counter("orders_total", " ")


def test_defined_twice(registry: Registry) -> None:
    """The same definition gives the same series, as when a module is loaded again."""
    orders = registry.counter("orders_total", "Orders.", ["channel"])
    assert registry.counter("orders", "Said better.", ["channel"]) is orders


def test_defined_differently(registry: Registry) -> None:
    """Another definition under a name that is taken is refused, and so is one whose samples would be another's."""
    registry.counter("orders_total", "Orders.")
    registry.histogram("size_bytes", "Sizes.")
    with pytest.raises(ValueError, match="orders is defined already"):
        registry.counter("orders_total", "Orders.", ["channel"])
    with pytest.raises(ValueError, match="orders is defined already"):
        registry.gauge("orders", "Orders.")
    with pytest.raises(ValueError, match="size_bytes is defined already"):
        registry.histogram("size_bytes", "Sizes.", buckets=[1])


@pytest.mark.parametrize("name", ["app_info", "http_server_request_duration_seconds", "process_x", "python_x"])
def test_names_of_the_service(name: str) -> None:
    """The service's own names cannot be taken by the functions that callers use."""
    with pytest.raises(ValueError, match=f"received '{name}'; the service itself has a series of this name"):
        gauge(name, "Mine.")
    assert name not in {definition.name for definition, _, _ in OWN.samples()}


def test_no_more_combinations_than_allowed(registry: Registry, log: Log) -> None:
    """Combinations beyond the limit count as one, which is counted and logged once; those before it go on."""
    visits = registry.counter("visits_total", "Visits.", ["user", "page"])
    for user in range(10):
        visits.labels(user, "home").inc()
    visits.labels(0, "home").inc()
    found = numbers(registry, "visits")
    assert found == {("0", "home"): [2], ("1", "home"): [1], ("2", "home"): [1], (OTHER, OTHER): [7]}
    assert numbers(registry, OVERFLOWS.name) == {("visits",): [7]}
    assert [(line["metric"], line["limit"]) for line in log.named("metrics.too_many_labels")] == [("visits", 3)]


def test_too_many_series_overflow(registry: Registry) -> None:
    """The count of overflows is bounded as all others are."""
    for number in range(6):
        series = registry.counter(f"series_{number}_total", "A.", ["x"])
        for value in range(5):
            series.labels(value).inc()
    assert sum(cells[0] for cells in numbers(registry, OVERFLOWS.name).values()) == 12
    assert (OTHER,) in numbers(registry, OVERFLOWS.name)


def test_values_that_cannot_be_shown(registry: Registry) -> None:
    """A value that is no valid text is made one, and one that is far too long is cut."""
    series = registry.counter("a_total", "A.", ["x"])
    series.labels("\ud800").inc()
    series.labels("\ud800").inc()
    series.labels("x" * 1000).inc()
    assert numbers(registry, "a") == {("?",): [2], ("x" * 256,): [1]}


def test_threads(registry: Registry) -> None:
    """Any number of threads count exactly."""
    count = registry.counter("a_total", "A.", ["x"])
    size = registry.histogram("b_seconds", "B.")
    level = registry.gauge("c", "C.")

    def work() -> None:
        for _ in range(5000):
            count.labels("y").inc()
            size.observe(1)
            with level.track():
                pass

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert (count.labels("y").value, size.count, size.sum, level.value) == (20000, 20000, 20000, 0)


def test_refresh_before_a_scrape(registry: Registry, log: Log) -> None:
    """What stands elsewhere is read before a scrape; what fails is logged once and does not hide the rest."""
    length = registry.gauge("length", "Length.")
    broken = registry.gauge("broken", "Broken.")

    @registry.on_scrape
    def fail() -> None:
        broken.set(1)
        raise ConnectionResetError

    @registry.on_scrape
    def read() -> None:
        length.inc()

    registry.refresh()
    registry.refresh()
    assert (broken.value, length.value) == (1, 2)
    assert [line["function"].rpartition(".")[2] for line in log.named("metrics.refresh_failed")] == ["fail"]


def test_series_of_the_process() -> None:
    """The functions that callers use define series that every application of the process shows."""

    @on_scrape
    def nothing() -> None:
        """Read nothing."""

    made: list[Series] = [
        counter("test_own_total", "A."),
        gauge("test_own_size", "A.", across="max"),
        histogram("test_own_seconds", "A.", buckets=[1]),
        summary("test_own_bytes", "A."),
    ]
    names = {series.definition.name for series in made}
    assert names <= {definition.name for definition, _, _ in OWN.samples()}
    assert not names & RESERVED


def source(series: Series, *, is_alive: bool = True) -> Source:
    """Return the numbers of a series as those of a process of its own."""
    return Source([(s.definition, s.values or (), list(s.cells)) for s in series.combinations()], is_alive=is_alive)


def test_counts_of_processes_add_up() -> None:
    """Counters and histograms of all processes are summed, those of dead ones too."""
    sources = [source(Registry().counter("orders", "Orders.", ["channel"]))]
    for is_alive in (True, False):
        registry = Registry()
        orders = registry.counter("orders_total", "Orders.", ["channel"])
        orders.labels("web").inc(2)
        orders.labels("app" if is_alive else "shop").inc()
        sizes = registry.histogram("size_bytes", "Sizes.", buckets=[1])
        sizes.observe(0.5)
        sources += [source(orders, is_alive=is_alive), source(sizes, is_alive=is_alive)]
    assert {family.definition.name: family.rows for family in merge(sources)} == {
        "orders": {("web",): [4], ("app",): [1], ("shop",): [1]},
        "size_bytes": {(): [2, 0, 1]},
    }


@pytest.mark.parametrize(("across", "joined"), [("sum", 9), ("max", 6), ("min", 1), ("latest", 2)])
def test_gauges_of_processes(monkeypatch: pytest.MonkeyPatch, across: Across, joined: int) -> None:
    """A gauge says how the values of living processes become one; a dead one's, or one not set yet, do not count."""
    # A machine's clock may stand still between two calls, or be set back.
    monkeypatch.setattr("app.core.metrics.series.time", SimpleNamespace(time=count().__next__))
    gauges = [Registry().gauge("a", "A.", across=across) for _ in range(5)]
    for series, value in zip(gauges, (1, 6, 2, 100, math.nan), strict=True):
        series.set(value)
    sources = [source(series, is_alive=index != 3) for index, series in enumerate(gauges)]
    (family,) = merge(sources)
    assert family.rows[()][0] == joined


@pytest.mark.parametrize("across", ["max", "min", "latest"])
def test_gauge_that_one_process_sets(across: Across) -> None:
    """A process that has the gauge but has not set it says nothing about it."""
    unset, gauge = (Registry().gauge("a", "A.", across=across) for _ in range(2))
    assert merge([source(unset)]) == []
    gauge.inc(-3)
    (family,) = merge([source(unset), source(gauge)])
    assert family.rows[()][0] == -3


def test_definitions_that_differ_between_processes() -> None:
    """Numbers that cannot be added, as in the middle of a roll-out, are those of the first process."""
    sources = [source(Registry().histogram("a", "A.", buckets=buckets)) for buckets in ([1], [1, 2])]
    assert [len(family.rows[()]) for family in merge(sources)] == [3]


def rows(series: Series) -> dict[tuple[str, ...], float]:
    """Return how often each outcome was counted."""
    (family,) = merge([source(series)]) or [Family(series.definition)]
    return {values: sum(cells[:-1]) or cells[0] for values, cells in family.rows.items()}


async def test_decorators_of_all_kinds() -> None:
    """Functions, `async def`, generators and asynchronous generators are measured while they run."""
    registry = Registry()
    duration = registry.histogram("work_seconds", "Work.", ["kind"], buckets=[0.01])
    busy = registry.gauge("work_in_progress", "Work.")
    seen: list[float] = []

    @timed(duration.labels("function"))
    @in_progress(busy)
    def function() -> str:
        seen.append(busy.value)
        return "function"

    @timed(duration.labels("coroutine"))
    @in_progress(busy)
    async def coroutine() -> str:
        await asyncio.sleep(0.02)
        seen.append(busy.value)
        return "coroutine"

    @timed(duration.labels("generator"))
    @in_progress(busy)
    def generator() -> Iterator[str]:
        seen.append(busy.value)
        yield "generator"

    @timed(duration.labels("async"))
    @in_progress(busy)
    async def async_generator() -> AsyncIterator[str]:
        await asyncio.sleep(0.02)
        seen.append(busy.value)
        yield "async"

    results = [function(), await coroutine(), *generator(), *[value async for value in async_generator()]]
    assert results == ["function", "coroutine", "generator", "async"]
    assert (seen, busy.value) == ([1, 1, 1, 1], 0)
    slow = {values[0]: cells[1] for values, cells in numbers(registry, "work_seconds").items()}
    assert (slow["coroutine"], slow["async"]) == (1, 1)


async def test_outcomes(registry: Registry) -> None:
    """Calls that fail, are cancelled or are closed early are told apart, and each is counted once."""
    calls = registry.counter("calls_total", "Calls.", ["outcome"])
    duration = registry.histogram("call_seconds", "Calls.", ["outcome"])

    @counted(calls)
    @timed(duration)
    def divide(by: int) -> float:
        return 1 / by

    @counted(calls)
    @timed(duration)
    async def wait() -> None:
        await asyncio.sleep(60)

    @counted(calls)
    @timed(duration)
    def numbers_without_end() -> Iterator[int]:
        while True:
            yield 1

    divide(1)
    with pytest.raises(ZeroDivisionError):
        divide(0)
    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    for _ in numbers_without_end():
        break
    assert rows(calls) == {("success",): 1, ("error",): 1, ("cancelled",): 2}
    assert rows(duration) == rows(calls)


def test_labels_of_a_call(registry: Registry) -> None:
    """Label values come from the call's arguments, as they were when it began."""
    calls = registry.counter("calls_total", "Calls.", ["channel", "outcome"])

    @counted(calls, labels=lambda order: {"channel": order["channel"]})
    def place(order: dict[str, str]) -> None:
        order.clear()

    place({"channel": "web"})
    assert rows(calls) == {("web", "success"): 1}


def test_labels_that_fail(registry: Registry, log: Log) -> None:
    """When the labels cannot be told the call goes on, counts as other, and the log says so once."""
    calls = registry.counter("calls_total", "Calls.", ["channel"])

    @counted(calls, labels=lambda order: {"channel": order["channel"]})
    def place(order: dict[str, str]) -> str:
        return "placed"

    assert [place({}), place({})] == ["placed", "placed"]
    assert rows(calls) == {(OTHER,): 2}
    assert len(log.named("metrics.labels_failed")) == 1


@pytest.mark.parametrize(("decorator", "kind"), [(timed, "summary"), (counted, "counter"), (in_progress, "gauge")])
def test_labels_that_nothing_gives(registry: Registry, decorator: object, kind: str) -> None:
    """A decorator refuses a series whose labels nobody tells it, when it decorates and not in the middle of a call."""
    series = getattr(registry, kind)("a_series", "A.", ["channel"])
    with pytest.raises(ValueError, match="a_series has the labels channel: pass labels="):
        decorator(series)  # type: ignore[operator]


def test_types_stay() -> None:
    """A decorated function keeps its types: this module would not pass the type check otherwise."""
    calls = Registry().counter("calls_total", "Calls.")

    @counted(calls)
    def double(number: int) -> int:
        return number * 2

    result: int = double(2)
    assert (result, calls.value) == (4, 1)
    assert isinstance(calls, Counter)
