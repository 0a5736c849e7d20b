"""Who handles which messages.

    @handles("invoice.sent", max_attempts=10)
    async def note_invoice(work: UnitOfWork, message: Message) -> None: ...

A handler with a first parameter `work` is given a transaction that commits when it returns; with the SQL store the
record of the message commits in the same one, so the effect happens exactly once. A handler without it is called at
most once per lease (`once.py`). What it raises decides whether the message is tried again (`core/retry.py`).
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic import ValidationError as Invalid

from ..core.errors import ValidationError
from ..core.messages import TYPE_LENGTH, Message, MessageUnreadableError, new_message

WORK = "work"
F = TypeVar("F", bound=Callable[..., Awaitable[None]])
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Handler:
    """What handles the messages of one type.

    Attributes:
        type: Which ones.
        function: What is called.
        takes_work: Whether it is given a unit of work, before the message.
        max_attempts: How often a message is tried, instead of DAEMON__MAX_ATTEMPTS.
        time_limit: Seconds after which it is cancelled, instead of DAEMON__TIME_LIMIT.

    """

    type: str
    function: Callable[..., Awaitable[None]]
    takes_work: bool
    max_attempts: int | None = None
    time_limit: float | None = None


class Handlers(Mapping[str, Handler]):
    """The handlers by the types that they handle."""

    def __init__(self) -> None:
        self._by_type: dict[str, Handler] = {}

    def handles(
        self, kind: str, *, max_attempts: int | None = None, time_limit: float | None = None
    ) -> Callable[[F], F]:
        """Make a function the handler of a type of messages; it stays the function that it is.

        Args:
            kind: The type, such as `order.placed`.
            max_attempts: How often a message is tried, instead of DAEMON__MAX_ATTEMPTS.
            time_limit: Seconds after which it is cancelled, instead of DAEMON__TIME_LIMIT.

        Raises:
            TypeError: What is decorated is no `async def` of (message) or (work, message).
            ValueError: The type is none or has a handler already, or a number is not allowed.

        """
        self._check(kind, max_attempts, time_limit)

        def register(function: F) -> F:
            self._by_type[kind] = Handler(kind, function, _takes_work(kind, function), max_attempts, time_limit)
            return function

        return register

    def _check(self, kind: str, max_attempts: int | None, time_limit: float | None) -> None:
        taken = self._by_type.get(kind)
        if taken is not None:
            msg = f"@handles: {kind!r} is handled by {_name(taken.function)} already; allowed: one handler per type"
            raise ValueError(msg)
        try:
            new_message(kind, {})
        except MessageUnreadableError as error:
            msg = f"@handles: {error}; at most {TYPE_LENGTH} characters"
            raise ValueError(msg) from error
        if max_attempts is not None and max_attempts < 1:
            msg = f"@handles({kind!r}): received max_attempts={max_attempts!r}; allowed: 1 and above"
            raise ValueError(msg)
        if time_limit is not None and not time_limit > 0:
            msg = f"@handles({kind!r}): received time_limit={time_limit!r}; allowed: seconds above zero"
            raise ValueError(msg)

    def __getitem__(self, kind: str, /) -> Handler:
        """Return the handler of a type."""
        return self._by_type[kind]

    def __iter__(self) -> Iterator[str]:
        """Return the types."""
        return iter(self._by_type)

    def __len__(self) -> int:
        """Return how many types there are."""
        return len(self._by_type)


def _takes_work(kind: str, function: Any) -> bool:
    if not inspect.iscoroutinefunction(function):
        msg = f"@handles({kind!r}): received {_name(function)}, which is no coroutine function; allowed: async def"
        raise TypeError(msg)
    parameters = inspect.signature(function).parameters.values()
    names = [one.name for one in parameters if one.default is one.empty]
    by_name = [one.name for one in parameters if one.kind is one.KEYWORD_ONLY and one.default is one.empty]
    takes_work = names[:1] == [WORK]
    if len(names) != 1 + takes_work or by_name:
        msg = (
            f"@handles({kind!r}): received {_name(function)}{inspect.signature(function)}; "
            f"allowed: (message) or (work, message)"
        )
        raise TypeError(msg)
    return takes_work


def _name(function: object) -> str:
    return f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', repr(function))}"


def read_data(model: type[M], message: Message) -> M:
    """Return what a message tells, checked.

    Args:
        model: What it must be.
        message: The message.

    Raises:
        ValidationError: It is something else; each field that is wrong is named, and no value is.

    """
    try:
        return model.model_validate(message.data)
    except Invalid as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        errors = [{**one, "loc": ["data", *one["loc"]]} for one in found]
        text = "; ".join(f"{'.'.join(['data', *map(str, one['loc'])])}: {one['msg']}" for one in found)
        msg = f"{message.type}: {text}"
        # Not from the other one, whose text holds the values.
        raise ValidationError(msg, errors=errors) from None


handlers = Handlers()
handles = handlers.handles
