"""Who handles which messages, and what a handler may be."""

from typing import Any

import pytest
from pydantic import BaseModel

from app.core.errors import ValidationError
from app.core.messages import new_message
from app.daemon.handlers import Handlers, read_data


async def plain(message: Any) -> None:
    """Take a message."""


async def with_work(work: Any, message: Any, extra: int = 1) -> None:
    """Take a unit of work, too."""


def test_registered() -> None:
    """A handler is found by its type, with what was said of it, and stays the function that it was."""
    handlers = Handlers()
    assert handlers.handles("a.b", max_attempts=2, time_limit=3.0)(plain) is plain
    handlers.handles("c")(with_work)
    assert list(handlers) == ["a.b", "c"]
    first = handlers["a.b"]
    assert (first.function, first.takes_work, first.max_attempts, first.time_limit) == (plain, False, 2, 3.0)
    assert handlers["c"].takes_work
    assert "d" not in handlers


def test_twice() -> None:
    """A type has one handler."""
    handlers = Handlers()
    handlers.handles("a")(plain)
    with pytest.raises(ValueError, match=r"'a' is handled by .*plain already; allowed: one handler per type"):
        handlers.handles("a")


def _def(message: Any) -> None: ...
async def _nothing() -> None: ...
async def _two(message: Any, other: Any) -> None: ...
async def _by_name(message: Any, *, other: Any) -> None: ...
async def _generator(message: Any) -> Any:
    yield message


@pytest.mark.parametrize("function", [_def, _generator, len, 7])
def test_no_coroutine_function(function: Any) -> None:
    """What is no `async def` is refused when it is registered."""
    with pytest.raises(TypeError, match="no coroutine function; allowed: async def"):
        Handlers().handles("a")(function)


@pytest.mark.parametrize("function", [_nothing, _two, _by_name])
def test_parameters(function: Any) -> None:
    """A handler takes a message, or a unit of work and a message."""
    with pytest.raises(TypeError, match=r"allowed: \(message\) or \(work, message\)"):
        Handlers().handles("a")(function)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("", {}, "received type: ''"),
        ("a b", {}, "letters, digits"),
        ("a", {"max_attempts": 0}, "received max_attempts=0; allowed: 1 and above"),
        ("a", {"time_limit": 0}, "received time_limit=0; allowed: seconds above zero"),
        ("a", {"time_limit": float("nan")}, "allowed: seconds above zero"),
    ],
)
def test_values(kind: str, options: dict[str, Any], words: str) -> None:
    """A type that no message can have, and numbers that make no sense, are refused."""
    with pytest.raises(ValueError, match=words):
        Handlers().handles(kind, **options)


class Login(BaseModel):
    """What a test's message tells."""

    name: str
    password: int


def test_data() -> None:
    """Data is checked; the error names each field and no value."""
    assert read_data(Login, new_message("a", {"name": "x", "password": 1})) == Login(name="x", password=1)
    with pytest.raises(ValidationError) as failed:
        read_data(Login, new_message("a", {"password": "hunter2"}))
    assert str(failed.value).startswith("a: data.name: Field required; data.password: Input should be")
    assert [error["loc"] for error in failed.value.errors] == [["data", "name"], ["data", "password"]]
    assert "hunter2" not in f"{failed.value} {failed.value.errors}"
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__
