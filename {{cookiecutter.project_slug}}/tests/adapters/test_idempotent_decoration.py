"""What `@idempotent` makes of a function when it decorates it, and what it refuses."""

import inspect
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.adapters.idempotent import idempotent
from app.adapters.unit_of_work import SyncUnitOfWork, UnitOfWork
from app.core.idempotency_errors import IdempotencyNotReplayableError

from ..conftest import Log
from ..idempotent_functions import MODES, Bench, open_bench


@pytest.fixture(params=MODES)
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    """Return the memory store, bound."""
    async with open_bench("memory", request.param, tmp_path) as opened:
        yield opened


class Till:
    """Counts money."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    @idempotent(key="bill")
    async def take(self, bill: str, amount: int = 1) -> int:
        """Take money."""
        self.calls.append(bill)
        return amount

    @idempotent(key="bill")
    def take_sync(self, bill: str, amount: int = 1) -> int:
        """Take money."""
        self.calls.append(bill)
        return amount

    @idempotent(key="bill")
    @classmethod
    def of_class(cls, bill: str) -> str:
        """Return who was called."""
        return f"{cls.__name__} {bill}"

    @staticmethod
    @idempotent(key="bill")
    def of_none(bill: str) -> str:
        """Return what was given."""
        return bill


async def test_methods(bench: Bench) -> None:
    """A method is idempotent over all objects; what the object holds is not compared."""
    first, second = Till(), Till()
    for till in (first, second):
        assert await till.take("b-1", amount=5) == 5
        assert await bench.call(till.take_sync, "b-1", amount=5) == 5
    assert (first.calls, second.calls) == (["b-1", "b-1"], [])


async def test_methods_of_classes(bench: Bench) -> None:
    """Methods of a class and of nothing work in both orders of the decorators."""
    for _ in range(2):
        assert await bench.call(Till.of_class, "b-1") == "Till b-1"
        assert await bench.call(Till().of_none, "b-1") == "b-1"


def test_visible_signature() -> None:
    """The unit of work is no parameter that anybody sees; all else of the function stays."""

    @idempotent(key="order_id")
    async def fulfil(work: UnitOfWork, order_id: str, *, note: str = "-") -> str:
        """Fulfil an order."""
        return order_id + note

    assert str(inspect.signature(fulfil)) == "(order_id: str, *, note: str = '-') -> str"
    assert list(fulfil.__annotations__) == ["order_id", "note", "return"]
    assert (fulfil.__doc__, fulfil.__name__) == ("Fulfil an order.", "fulfil")
    assert inspect.iscoroutinefunction(fulfil)


async def test_nobody_passes_the_unit_of_work(bench: Bench) -> None:
    """A caller cannot give a function its unit of work."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'work'"):
        await bench.call(bench.function(), "o-1", work=object())


async def test_unit_of_work_in_any_place(bench: Bench) -> None:
    """The unit of work may stand anywhere among the parameters, and be for names only."""

    @idempotent(key="order_id")
    def last(order_id: str, *notes: str, work: SyncUnitOfWork, **more: str) -> list[str]:
        return [order_id, *notes, type(work).__name__, *more]

    call: Any = last
    assert await bench.call(call, "o-1", "a", "b", c="d") == ["o-1", "a", "b", "SyncUnitOfWork", "c"]


def generator() -> Iterator[int]:
    """Yield."""
    yield 1


async def async_generator() -> AsyncIterator[int]:
    """Yield."""
    yield 1


@pytest.mark.parametrize("function", [generator, async_generator, Till, len, "text"])
def test_refused_kinds(function: Any) -> None:
    """What is no plain function is refused when it is decorated."""
    with pytest.raises(TypeError, match=r"allowed: def and async def$"):
        idempotent(key="bill")(function)


def plain(bill: str, amount: int = 1) -> int:
    """Return an amount."""
    return amount


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "bil"}, r"plain: received key of \['bil'\]; allowed: bill, amount"),
        ({"key": ("bill", "x")}, r"received key of \['x'\]; allowed: bill, amount"),
        ({"key": ()}, r"received key=\(\); allowed: one or more of bill, amount"),
        ({"key": lambda order: order}, r"received key of \['order'\]; allowed: bill, amount"),
        ({"key": "bill", "caller": "user"}, r"received caller of \['user'\]; allowed: bill, amount"),
        ({"key": "bill", "fingerprint": "x"}, r"received fingerprint of \['x'\]; allowed: bill, amount"),
        ({"key": "bill", "ttl": 0}, r"received ttl=0; allowed: seconds above zero"),
        ({"key": "bill", "lease": -1}, r"received lease=-1; allowed: seconds above zero"),
        ({"key": "bill", "wait": -1}, r"received wait=-1; allowed: seconds from zero on"),
    ],
)
def test_refused_options(options: Any, message: str) -> None:
    """A wrong option is an error when decorating, which names what is allowed."""
    with pytest.raises(ValueError, match=message):
        idempotent(**options)(plain)


def test_unit_of_work_by_position_only() -> None:
    """The unit of work must be one that can be given by name."""

    def fulfil(work: SyncUnitOfWork, /, bill: str) -> None: ...

    with pytest.raises(ValueError, match=r"allowed: a parameter that can be given by name"):
        idempotent(key="bill")(fulfil)


async def test_key_made_of_arguments(bench: Bench) -> None:
    """A key may be a function of some arguments; two keys are one only when all of their parts are."""
    called: list[tuple[str, str]] = []

    @idempotent(key=lambda tenant, bill: (tenant, bill))
    def take(tenant: str, bill: str) -> None:
        called.append((tenant, bill))

    pairs = [("a:b", "c"), ("a", "b:c"), ("a", "bc"), ("ab", "c")]
    for pair in [*pairs, *pairs]:
        await bench.call(take, *pair)
    assert called == pairs


async def test_changed_annotation(bench: Bench, log: Log) -> None:
    """A result that the function's annotation no longer fits is not given, and the function does not run again."""
    ran: list[int] = []

    def before(bill: str) -> str:
        return bill

    def after(bill: str) -> int:
        ran.append(1)
        return 1

    await bench.call(idempotent(key="bill", name="take")(before), "b-1")
    for _ in range(2):
        with pytest.raises(IdempotencyNotReplayableError):
            await bench.call(idempotent(key="bill", name="take")(after), "b-1")
    assert (ran, len(log.named("idempotency.record_damaged"))) == ([], 1)
