"""A call's key, and what of its arguments is compared."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from pydantic import BaseModel, RootModel, SecretStr

from app.core.idempotency_call import CallReader, canonical, pauses
from app.core.idempotency_errors import IdempotencyUsageError


class Colour(StrEnum):
    """A colour."""

    RED = "red"


class Size(Enum):
    """A size."""

    SMALL = 1


@dataclass
class Point:
    """A place."""

    x: int
    y: int


class Item(BaseModel):
    """A thing."""

    name: str
    secret: SecretStr = SecretStr("-")


class Pair(NamedTuple):
    """Two things."""

    a: int
    b: int


class Names(RootModel[list[str]]):
    """Names."""


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1}),
        ({1, 2, 3}, {3, 2, 1}),
        (frozenset("abc"), frozenset("cba")),
        ((1, 2), [1, 2]),
        (Pair(1, 2), (1, 2)),
        (b"ab", bytearray(b"ab")),
        (b"ab", memoryview(b"ab")),
        (NOON, NOON.astimezone(timezone(timedelta(hours=5)))),
        (Decimal("1.0"), Decimal("1.00")),
        (Colour.RED, "red"),
        (Size.SMALL, 1),
        (Item(name="a"), Item(name="a")),
        (Point(1, 2), Point(1, 2)),
        (UUID(int=1), UUID("00000000-0000-0000-0000-000000000001")),
    ],
)
def test_same(one: object, other: object) -> None:
    """Values that mean the same are the same, however they are written."""
    assert canonical(one) == canonical(other)


DIFFERENT: list[Any] = [
    None, True, False, 0, 1, -1, 1.0, 1.5, float("inf"), "", "1", "true", b"1", [], [[]], [1, [2]], [[1], 2], [1, 2],
    ["12"], ["1", "2"], {}, {"a": 1}, {"a": "1"}, {"a": None}, {1: "a"}, set(), {1}, Decimal(1), Decimal("NaN"),
    UUID(int=1), NOON, NOON.replace(tzinfo=None), NOON.date(), NOON.time(), date(2026, 1, 2), time(12, 1),
    timedelta(1), timedelta(2), Path("a"), "a", Point(1, 2), Point(2, 1), Item(name="a"), Item(name="b"),
    Item(name="a", secret=SecretStr("x")), Names(["a"]), "\ud800", 10**400,
]  # fmt: skip


def test_different() -> None:
    """Values that mean different things are different, also when their texts or nested parts would join to the same."""
    assert len({canonical(value) for value in DIFFERENT}) == len(DIFFERENT)


def order(order_id: str, items: Any = (), note: str = "-") -> None:
    """Do nothing with an order."""


def reader(function: Any = order, **options: Any) -> CallReader:
    """Return what reads the calls of a function."""
    return CallReader(function, **{"key": "order_id", "caller": None, "fingerprint": ..., **options})


def fingerprint(of: CallReader, *args: Any, **kwargs: Any) -> str:
    """Return what is compared of a call."""
    return of.fingerprint(of.bind(args, kwargs))


def test_ways_to_call() -> None:
    """Position, name, order of names and defaults make no difference."""
    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        (("o-1", (), "-"), {}),
        ((), {"note": "-", "order_id": "o-1"}),
        (("o-1",), {"items": []}),
    ]
    assert len({fingerprint(reader(), *args, **kwargs) for args, kwargs in calls}) == 1
    assert fingerprint(reader(), "o-1", note="x") != fingerprint(reader(), "o-1")


def test_parameters_that_take_any_number() -> None:
    """What is taken by `*` and `**` is compared too."""

    def fulfil(order_id: str, *notes: str, **more: str) -> None: ...

    of = reader(fulfil)
    prints = [
        fingerprint(of, "o-1"),
        fingerprint(of, "o-1", "a"),
        fingerprint(of, "o-1", a="a"),
        fingerprint(of, "o-1", b="a"),
    ]
    assert len(set(prints)) == 4
    assert fingerprint(of, "o-1", a="1", b="2") == fingerprint(of, "o-1", b="2", a="1")


def test_chosen_arguments() -> None:
    """Only the arguments that are named are compared, or none."""
    assert fingerprint(reader(fingerprint="note"), "o-1", [1]) == fingerprint(reader(fingerprint="note"), "o-1", [2])
    assert fingerprint(reader(fingerprint="note"), "o-1") != fingerprint(reader(fingerprint="note"), "o-1", note="x")
    assert fingerprint(reader(fingerprint=None), "o-1", object()) == fingerprint(reader(fingerprint=None), "o-1")


@pytest.mark.parametrize("value", [object(), [object()], {"a": [Point(1, object())]}, lambda: None])  # type: ignore[arg-type]
def test_argument_that_cannot_be_compared(value: object) -> None:
    """The error names the function, the argument and the remedy."""
    with pytest.raises(
        IdempotencyUsageError, match=r"order: the argument 'items' .*received a \w+; .*fingerprint=None"
    ):
        fingerprint(reader(), "o-1", value)


def test_argument_that_holds_itself() -> None:
    """A structure without an end is an error like any other."""
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(IdempotencyUsageError, match="a structure that holds itself"):
        fingerprint(reader(), "o-1", cycle)


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("a", "a"),
        (7, "7"),
        (UUID(int=1), str(UUID(int=1))),
        (Colour.RED, "red"),
        (b"\xff", "ff"),
        (Decimal("1.5"), "1.5"),
    ],
)
def test_key(value: Any, key: str) -> None:
    """A key is the text of its argument."""
    assert reader().key({"order_id": value}) == key


@pytest.mark.parametrize("value", [None, "", b"", 1.5, [1], object()])
def test_value_that_is_no_key(value: Any) -> None:
    """What is empty or has no certain text is refused, and not shown."""
    with pytest.raises(IdempotencyUsageError, match=r"order: received .* for key; allowed: str, int"):
        reader().key({"order_id": value})


def test_several_parts() -> None:
    """Parts that join to the same text are different keys."""
    of = reader(key=("order_id", "note"))
    keys = {
        of.key({"order_id": one, "note": two}) for one, two in (("a:b", "c"), ("a", "b:c"), ("ab", "c"), ("a", "bc"))
    }
    assert len(keys) == 4


def test_pauses() -> None:
    """Pauses grow, vary, stay below a second and take as long as was asked for."""
    first, second = list(pauses(10)), list(pauses(10))
    assert sum(first) == pytest.approx(10)
    assert max(first) <= 1
    assert first[0] <= 0.05
    assert first != second
    assert list(pauses(0)) == []
