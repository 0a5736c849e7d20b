"""What code that may fail is wrapped in, and what reports by hand.

What becomes of a report is the installed target's concern; before one is installed, as in a script, it is a log line.
Reporting never raises and never waits.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from types import TracebackType
from typing import Any, ParamSpec, Protocol, TypeVar

from ..errors import AppError
from ..functions import surround
from ..logging import get_logger, is_reported, mark_reported
from .report import ErrorContext, is_expected, mark, report_id_of

P = ParamSpec("P")
R = TypeVar("R")
log = get_logger(__name__)


class Target(Protocol):
    """What takes errors."""

    def report(self, error: BaseException, context: ErrorContext, *, in_log: bool = False) -> str | None:
        """Report an error once; returns the report's id, or None when the cap held it back; never raises."""


class _LogLine:
    """Before anything is installed an error is a line of the log, and nothing holds it back."""

    def report(self, error: BaseException, context: ErrorContext, *, in_log: bool = False) -> str | None:
        if not in_log and not report_id_of(error)[0]:
            mark(error, None)
            fields = {"operation": context.operation, "entity": context.entity, "user_id": context.user_id}
            shown = {name: value for name, value in {**context.extra, **fields}.items() if value is not None}
            log.error("error.reported", **shown, exc_info=None if is_reported(error) else error)
            mark_reported(error)
        return None


class _Installed:
    target: Target = _LogLine()


def install(target: Target) -> Target:
    """Send all reports of this process to a target, and return the one before.

    Args:
        target: What takes them from now on.

    """
    before, _Installed.target = _Installed.target, target
    return before


@contextmanager
def installed(target: Target) -> Iterator[None]:
    """Send reports to a target within the block.

    Args:
        target: What takes them.

    """
    before = install(target)
    try:
        yield
    finally:
        install(before)


def report_error(error: BaseException, context: ErrorContext | None = None, /, **fields: Any) -> str | None:
    """Report an error, once however often it is reported on its way up; what happens to it then is the caller's choice.

    Args:
        error: What was raised.
        context: What the process was doing.
        fields: More of it: `operation`, `entity`, `user_id`, `severity`, `code`, and whatever else helps.

    Returns:
        The report's id, or None when there is none: too many of the same fault, or nothing but the log to report to.

    """
    return _Installed.target.report(error, (context or ErrorContext()).with_fields(fields))


class _Reraise:
    """Stands for: what was raised goes on."""


class handle_exception(AbstractContextManager[None]):  # noqa: N801 -- it is used as a decorator and in `with`
    """Report what is raised within a function or a block, then raise it again, return a default, or raise another.

    As a decorator it knows functions, coroutine functions, generators and asynchronous generators; the operation is
    then the function's name unless the context says otherwise. In `with` it does not await, so it serves both kinds of
    code. Expected errors, those below status 500, are not reported, and go on as they are unless they are named.

    Args:
        kinds: Which exceptions; all of `Exception` when left out.
        default: What a decorated function returns instead of raising; a block, and a generator, ends.
        raises: The error that is raised instead: its class, or a function of what was raised.
        context: What the process was doing.
        fields: More of it, as for `report_error`.

    Raises:
        TypeError: Both `default` and `raises` are given.

    """

    def __init__(
        self,
        *kinds: type[Exception],
        default: Any = _Reraise,
        raises: type[AppError] | Callable[[Exception], AppError] | None = None,
        context: ErrorContext | None = None,
        **fields: Any,
    ) -> None:
        if default is not _Reraise and raises is not None:
            msg = f"handle_exception: received default={default!r} and raises={raises!r}; give one of them"
            raise TypeError(msg)
        self._kinds = kinds
        self._default = default
        self._raises = raises
        self._context = (context or ErrorContext()).with_fields(fields)

    def __enter__(self) -> None:
        """Nothing is needed before: an error has it all."""

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> bool:
        """Handle what ended the block; returns whether it ends there."""
        return isinstance(error, self._kinds or Exception) and self._handle(error, self._context)

    def _handle(self, error: Exception, context: ErrorContext) -> bool:
        if is_expected(error):
            # A "not found" is an answer: it is replaced only by who asks for it.
            if not self._kinds:
                return False
        else:
            _Installed.target.report(error, context)
        if self._raises is not None:
            self._raise_another(error, self._raises)
        return self._default is not _Reraise

    def _raise_another(self, error: Exception, raises: type[AppError] | Callable[[Exception], AppError]) -> None:
        another = raises() if isinstance(raises, type) else raises(error)
        was_reported, report_id = report_id_of(error)
        if was_reported:
            mark(another, report_id)
        raise another from error

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function with its errors handled."""
        operation = self._context.operation or f"{function.__module__}.{function.__qualname__}"
        context = replace(self._context, operation=operation)
        handler = handle_exception(*self._kinds, default=self._default, raises=self._raises, context=context)
        otherwise = None if self._default is _Reraise else self._default
        return surround(function, lambda *_, **__: handler, otherwise=otherwise)
