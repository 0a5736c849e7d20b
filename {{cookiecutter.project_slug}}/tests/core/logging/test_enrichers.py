"""What enrichers give, whatever their functions do."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.core.context import request_context
from app.core.logging import Bound, logger
from app.core.logging import enrichers as subject
from app.core.logging.enrichers import SLOW_CALLS, Enricher, Enrichers, Enrichment, register_enricher, remove_enricher
from app.core.logging.logger import install

EMAIL = "@".join(["ada", "example.com"])


class Told:
    """An engine, and a watcher, that keep what they are told."""

    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []
        self.changes: list[Enrichment] = []
        self.known: list[Enricher] = []
        self.added = self.known.append
        self.removed = self.known.remove
        self.changed = self.changes.append

    def log(
        self, name: str, level: str, event: Any, args: tuple[Any, ...], fields: dict[str, Any], bound: Bound
    ) -> None:
        """Take an event."""
        self.events.append((level, event, fields.get("enricher")))

    def is_enabled(self, name: str, number: int) -> bool:
        """Want everything."""
        return True


@pytest.fixture
def told() -> Iterator[Told]:
    """Return what is told to whoever listens."""
    before, told = logger._Installed.engine, Told()
    install(told)
    yield told
    install(before)


@pytest.fixture
def enrichers() -> Enrichers:
    """Return enrichers of the test's own."""
    return Enrichers()


def fails() -> None:
    """Fail."""
    msg = "no value"
    raise RuntimeError(msg)


def test_value_of_an_event(enrichers: Enrichers) -> None:
    """An enricher without a refresh is called for each event, once."""
    enrichers.add(Enricher("sequence", itertools.count().__next__))
    assert [enrichers.add_to({"a": 1}) for _ in range(2)] == [{"sequence": 0, "a": 1}, {"sequence": 1, "a": 1}]


def test_own_fields_win(enrichers: Enrichers) -> None:
    """A field of the event or of its context is not asked for."""
    enrichers.add(Enricher("region", fails))
    with request_context(region="eu"):
        assert enrichers.add_to({}) == {}
    assert enrichers.add_to({"region": "us"}) == {"region": "us"}
    assert enrichers.failures == {"region": 0}


def test_failing_enricher(enrichers: Enrichers, told: Told) -> None:
    """A function that raises leaves its field out; each failure is counted, the first one is told."""
    enrichers.add(Enricher("region", fails))
    enrichers.add(Enricher("zone", lambda: "a"))
    assert [enrichers.add_to({}) for _ in range(3)] == [{"zone": "a"}] * 3
    assert enrichers.failures == {"region": 3, "zone": 0}
    assert told.events == [("warning", "enricher.failed", "region")]


def test_slow_enricher(enrichers: Enrichers, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that holds events up is called a few times, and then no more."""
    clock = itertools.count(step=1.0)
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    enrichers.add(Enricher("region", lambda: "eu"))
    fields = [enrichers.add_to({}) for _ in range(SLOW_CALLS + 3)]
    assert fields == [{"region": "eu"}] * SLOW_CALLS + [{}] * 3
    assert told.events == [("warning", "enricher.suspended", "region")]


def test_enricher_that_logs(enrichers: Enrichers) -> None:
    """An enricher that logs does not enrich its own event, which would never end."""
    seen: list[dict[str, Any]] = []

    def logs() -> str:
        seen.append(enrichers.add_to({"event": "inner"}))
        return "eu"

    enrichers.add(Enricher("region", logs))
    assert enrichers.add_to({"event": "outer"}) == {"region": "eu", "event": "outer"}
    assert seen == [{"event": "inner"}]


def test_awaitable_for_an_event(enrichers: Enrichers, told: Told) -> None:
    """No event waits for an awaitable: it counts as a failure."""

    async def region() -> str:
        return "eu"

    enrichers.add(Enricher("region", lambda: region()))  # noqa: PLW0108 -- it must not look like an async function
    assert enrichers.add_to({}) == {}
    assert enrichers.failures == {"region": 1}


def test_refreshed_value(enrichers: Enrichers) -> None:
    """A value that is refreshed is kept redacted and rendered, and events ask nobody for it."""
    told = Told()
    enrichers.watch(told)
    owner = Enricher("owner", fails, 60)
    secret = Enricher("api_key", fails, 60)
    enrichers.add(owner)
    enrichers.add(secret)
    enrichers.store(owner, {"name": "orders", "mail": EMAIL})
    enrichers.store(secret, "x")
    values = {"owner": {"name": "orders", "mail": "[redacted]"}, "api_key": "[redacted]"}
    assert enrichers.current.values == values
    assert enrichers.current.rendered == b',"owner":{"name":"orders","mail":"[redacted]"},"api_key":"[redacted]"'
    assert enrichers.add_to({}) == {}
    assert told.changes[-1] == enrichers.current


def test_refresh_that_fails(enrichers: Enrichers, told: Told) -> None:
    """After a failure the field is left out until there is a value again."""
    owner = Enricher("owner", fails, 60)
    enrichers.add(owner)
    enrichers.store(owner, "orders")
    enrichers.fail(owner, RuntimeError())
    assert enrichers.current.values == {}
    enrichers.store(owner, "orders")
    assert enrichers.current.values == {"owner": "orders"}
    assert enrichers.failures == {"owner": 1}


def test_value_that_stays(enrichers: Enrichers) -> None:
    """A refresh that brings what is known already changes nothing."""
    told = Told()
    owner = Enricher("owner", fails, 60)
    enrichers.add(owner)
    enrichers.store(owner, "orders")
    enrichers.watch(told)
    enrichers.store(owner, "orders")
    assert len(told.changes) == 1


@pytest.mark.parametrize("value", [{1}, b"\xff", math.nan, 10**400, object, "\ud800"])
def test_values_that_are_no_json(enrichers: Enrichers, value: object) -> None:
    """Any value is shown as something."""
    enricher = Enricher("odd", fails, 60)
    enrichers.add(enricher)
    enrichers.store(enricher, value)
    assert enrichers.current.rendered.startswith(b',"odd":')


def test_watcher(enrichers: Enrichers) -> None:
    """A watcher hears of all enrichers, and of none when it has stopped."""
    told = Told()
    first, second, third = Enricher("a", fails), Enricher("b", fails, 60), Enricher("a", fails, 60)
    enrichers.add(first)
    enrichers.watch(told)
    enrichers.add(second)
    enrichers.add(third)
    assert told.known == [second, third]
    enrichers.remove("b")
    enrichers.remove("unknown")
    assert told.known == [third]
    enrichers.unwatch(told)
    enrichers.add(first)
    assert told.known == []


def test_register_and_remove() -> None:
    """What is registered is known until it is removed."""
    register_enricher("region", lambda: "eu")
    try:
        assert subject.enrichers.add_to({}) == {"region": "eu"}
    finally:
        remove_enricher("region")
    assert subject.enrichers.add_to({}) == {}


async def asynchronous() -> str:
    """Return a value, later."""
    return "eu"


@pytest.mark.parametrize(
    ("name", "function", "refresh_seconds", "message"),
    [
        ("event", str, None, "an enricher's field 'event': allowed is an identifier other than"),
        ("user_id", str, None, "an enricher's field 'user_id'"),
        ("a b", str, None, "an enricher's field 'a b'"),
        ("region", asynchronous, None, "'region' is an async function, which no event waits for; give refresh_seconds"),
        ("region", str, 0, "received 0; allowed: at least 0.1, or None"),
        ("region", str, math.nan, "received nan; allowed: at least 0.1, or None"),
    ],
)
def test_wrong_enricher(name: str, function: Callable[[], Any], refresh_seconds: float | None, message: str) -> None:
    """A wrong enricher is refused with what is allowed."""
    with pytest.raises(ValueError, match=message):
        register_enricher(name, function, refresh_seconds=refresh_seconds)
    assert name not in subject.enrichers.failures
