"""The result of an idempotent function comes back equal and of the same type."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import UUID

import pytest
from pydantic import BaseModel

from app.core.idempotency_errors import IdempotencyUsageError
from app.core.idempotency_result import ResultCodec

if TYPE_CHECKING:
    from collections import OrderedDict


class Receipt(BaseModel):
    """A model."""

    id: UUID
    paid: Decimal


@dataclass
class Point:
    """A dataclass."""

    x: int
    when: datetime


def codec(annotation: Any) -> ResultCodec:
    """Return what keeps the results of a function with an annotation."""

    def function() -> None: ...

    function.__annotations__["return"] = annotation
    return ResultCodec(function, "app.take")


@pytest.mark.parametrize(
    ("annotation", "result"),
    [
        (None, None),
        (int, 7),
        (float, float("inf")),
        (str, "caf\xe9"),
        (bytes, b"\xff\x00"),
        (UUID, UUID(int=7)),
        (Decimal, Decimal("1.10")),
        (datetime, datetime(2026, 1, 1, tzinfo=UTC)),
        (Receipt, Receipt(id=UUID(int=7), paid=Decimal("1.10"))),
        (list[Receipt], [Receipt(id=UUID(int=7), paid=Decimal(1))]),
        (Point, Point(1, datetime(2026, 1, 1, tzinfo=UTC))),
        (tuple[int, str], (1, "a")),
        (set[int], {1, 2}),
        (dict[int, str], {1: "a"}),
        (Receipt | None, None),
        ("Receipt", Receipt(id=UUID(int=7), paid=Decimal(1))),
    ],
)
def test_comes_back(annotation: Any, result: Any) -> None:
    """What is read is what was written, by the annotation; the first call gets that too."""
    text, first = codec(annotation).encode(result)
    again = codec(annotation).decode(text)
    assert (first, again) == (result, result)
    assert (type(first), type(again)) == (type(result), type(result))


def test_without_annotation() -> None:
    """Without an annotation the first call gets what JSON makes of a result, as a repetition will."""

    def function():  # type: ignore[no-untyped-def]
        """Do nothing."""

    own = ResultCodec(function, "app.take")
    text, first = own.encode({"id": UUID(int=7), "both": (1, 2)})
    assert first == own.decode(text) == {"id": str(UUID(int=7)), "both": [1, 2]}


def test_parameters_need_no_annotation_that_exists() -> None:
    """Only the annotation of the result is looked at: those of parameters may exist for type checkers alone."""

    def function(_given: "OrderedDict[str, int]") -> int:
        return 1

    assert ResultCodec(function, "app.take").encode(1) == (b"1", 1)


@pytest.mark.parametrize(
    ("annotation", "result"),
    [(int, "7a"), (Receipt, object()), (NoReturn, 1), (float | None, object()), (Any, object()), ("Unknown", 1)],
)
def test_cannot_be_kept(annotation: Any, result: Any) -> None:
    """A result that no repetition could get is an error that names the function and the type."""
    with pytest.raises(IdempotencyUsageError, match=r"^app\.take: .*nothing was done: received a \w+; allowed"):
        codec(annotation).encode(result)


def test_circle() -> None:
    """A result that holds itself cannot be kept."""
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(IdempotencyUsageError):
        codec(Any).encode(circle)


def test_other_annotation() -> None:
    """What was kept under another annotation is an error, not another value."""
    with pytest.raises(ValueError, match="Receipt"):
        codec(Receipt).decode(b'"text"')
