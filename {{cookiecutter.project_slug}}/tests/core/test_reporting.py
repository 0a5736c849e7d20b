"""What a report says, how many of them there are, and what code that may fail is wrapped in."""

import inspect
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from app.core.context import request_context
from app.core.errors import AppError, ConfigurationFaultError, ExternalServiceError, NotFoundError, Severity
from app.core.reporting import (
    ErrorContext,
    ReportCap,
    fingerprint_of,
    handle_exception,
    installed,
    is_expected,
    is_own,
    mark,
    report_error,
    report_id_of,
)
from app.core.reporting.report import MAX_CONTEXT, MAX_EXCEPTION, MAX_TEXT

from ..conftest import Log
from ..reports import a_report, caught, raised

SECRET = "-".join(["correct", "horse"])
ADDRESS = "@".join(["ada", "example.com"])


class Told:
    """A target that notes what it is told."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []
        self.contexts: list[ErrorContext] = []

    def report(self, error: BaseException, context: ErrorContext, *, in_log: bool = False) -> str | None:
        """Note it, once."""
        was_reported, report_id = report_id_of(error)
        if was_reported:
            return report_id
        mark(error, f"report-{len(self.errors)}")
        self.errors.append(error)
        self.contexts.append(context)
        return report_id_of(error)[1]


@pytest.fixture
def told() -> Iterator[Told]:
    """Return what everything is reported to."""
    target = Told()
    with installed(target):
        yield target


def fail(message: str = "broken") -> None:
    """Raise."""
    raise RuntimeError(message)


def fail_elsewhere() -> None:
    """Raise the same, from another place."""
    msg = "broken"
    raise RuntimeError(msg)


def test_fingerprint_is_of_the_place() -> None:
    """Two occurrences of one fault have one fingerprint whatever they say; another place or type has another."""
    one = fingerprint_of(caught(fail, "row 7"))
    assert fingerprint_of(caught(fail, "row 8")) == one
    assert fingerprint_of(caught(fail_elsewhere)) != one
    assert fingerprint_of(caught(inspect.signature, 7)) != one
    assert len(one) == 32


def test_fingerprint_without_own_frames() -> None:
    """What was raised in a library alone, or never raised, has a fingerprint too."""
    error = caught(int, "x")
    error.__traceback__ = None
    assert fingerprint_of(error, "import") == fingerprint_of(ValueError("y"), "import")
    assert fingerprint_of(error, "import") != fingerprint_of(error, "export")


def test_own_files() -> None:
    """Frames of the service count, those of libraries and the interpreter do not."""
    assert is_own(__file__)
    assert is_own(inspect.getfile(AppError))
    assert not is_own(inspect.getfile(threading))
    assert not is_own(inspect.getfile(pytest))
    assert not is_own("<frozen importlib._bootstrap>")


def test_cap() -> None:
    """Of one fault so many are admitted per window; how many were held back is told with the next."""
    cap = ReportCap(2, 60)
    assert [cap.admit("a", now) for now in (0, 1, 2, 3, 59)] == [0, 0, None, None, None]
    assert cap.admit("b", 3) == 0
    assert [cap.admit("a", now) for now in (60, 61, 62)] == [3, 0, None]
    assert (cap.take_untold(), cap.take_untold()) == (1, 0)


def test_cap_is_bounded() -> None:
    """It remembers a bounded number of faults: the one that was quiet for longest is forgotten."""
    cap = ReportCap(1, 60, max_fingerprints=2)
    for name in ("a", "b", "a", "c"):
        cap.admit(name, 0)
    assert [cap.admit(name, 0) for name in ("a", "c", "b")] == [None, None, 0]


def test_report_of_an_application_error() -> None:
    """A report has what the error knows of itself, details and causes included."""
    try:
        try:
            fail("refused")
        except RuntimeError as cause:
            msg = "no answer from the bank"
            raise ExternalServiceError(msg, details={"bank": "first"}) from cause
    except ExternalServiceError as error:
        report = a_report(error, operation="pay", entity="order 7", user_id="u1", amount=5)
    assert (report.error_type, report.code) == ("app.core.errors.ExternalServiceError", "EXTERNAL_SERVICE_ERROR")
    assert (report.severity, report.retryable, report.message) == (Severity.HIGH, True, "no answer from the bank")
    assert [cause["type"] for cause in report.exception] == ["app.core.errors.ExternalServiceError", "RuntimeError"]
    assert report.context == {"operation": "pay", "entity": "order 7", "user_id": "u1"}
    assert report.extra == {"details": {"bank": "first"}, "amount": 5}


def test_report_of_any_error() -> None:
    """An error that nobody foresaw is of high severity, unless the caller knows better."""
    assert (a_report().severity, a_report().code, a_report().retryable) == (Severity.HIGH, "INTERNAL_ERROR", False)
    assert a_report(severity=Severity.CRITICAL).severity is Severity.CRITICAL
    assert a_report(severity="critical").severity is Severity.CRITICAL
    assert a_report(code="DATABASE_ERROR").code == "DATABASE_ERROR"
    assert a_report(severity="dreadful").severity is Severity.HIGH


def test_open_context_is_in_the_report() -> None:
    """The ids of the request are in the report; what the caller says wins."""
    with request_context(request_id="r1", user_id="u1"):
        assert a_report(user_id="u2").context == {"request_id": "r1", "user_id": "u2"}


def test_report_holds_no_secret() -> None:
    """Message, causes, context, details and extra fields pass the redaction."""
    with request_context(request_id="r1", note=f"password={SECRET}"):
        error = raised(ConfigurationFaultError(f"password={SECRET}", details={"password": SECRET}))
        error.__cause__ = ValueError(f"mail of {ADDRESS}")
        members = ExceptionGroup("both", [ValueError(f"mail of {ADDRESS}")])
        error.__cause__.__cause__ = members
        report = a_report(error, entity=f"token={SECRET}", owner=ADDRESS, deep=[{"api_key": SECRET}])
    shown = str(report.document())
    assert SECRET not in shown
    assert ADDRESS not in shown
    assert shown.count("[redacted]") >= 7
    assert report.exception[2]["exceptions"][0][0]["message"] == "mail of [redacted]"


def test_size_is_bounded() -> None:
    """A report of a huge error stays small, and a secret that is cut off is not shown."""
    report = a_report(RuntimeError("x" * 1_000_000), text="y " * 1_000_000, many=["z" * 100] * 1000)
    assert len(report.message) == MAX_TEXT
    assert report.extra["omitted"].endswith(f"more than {MAX_CONTEXT}")
    group = ExceptionGroup("many", [ValueError("x" * 10_000) for _ in range(100)])
    assert len(str(a_report(group).document())) < MAX_EXCEPTION
    edge = "x" * (MAX_TEXT - 12) + f" password={SECRET}"
    assert "cor" not in a_report(RuntimeError(edge)).message


def test_errors_that_cannot_be_described() -> None:
    """An error whose text fails, and fields that fail, are reported as far as they go."""

    class BrokenError(Exception):
        def __str__(self) -> str:
            raise ValueError

    report = a_report(BrokenError(), thing=BrokenError())
    assert report.message == "<unprintable>"
    assert report.extra == {"thing": "[redacted]"}


def test_expected() -> None:
    """An answer that the caller asked for is no fault; all else is."""
    assert is_expected(NotFoundError())
    assert not is_expected(ExternalServiceError())
    assert not is_expected(ValueError())


def test_reported_once_per_request() -> None:
    """The mark of a report counts within a request: an object that is raised again in the next is reported again."""
    error = RuntimeError()
    with request_context(request_id="r1"):
        mark(error, "id")
        assert report_id_of(error) == (True, "id")
    with request_context(request_id="r2"):
        assert not report_id_of(error)[0]
    assert not report_id_of(RuntimeError())[0]


def test_mark_of_an_error_that_takes_none() -> None:
    """An error that refuses attributes is left as it is."""

    @dataclass(frozen=True)
    class FrozenError(Exception):
        number: int

    mark(FrozenError(1), "id")


def test_context_takes_fields() -> None:
    """Fields that the context has a place for go there, the rest is extra."""
    context = ErrorContext(operation="a", extra={"x": 1}).with_fields({"operation": "b", "y": 2})
    assert context == ErrorContext(operation="b", extra={"x": 1, "y": 2})
    assert context.with_fields({}) is context


def test_report_error(told: Told) -> None:
    """An error goes to the installed target with its context, once."""
    error = RuntimeError()
    assert report_error(error, ErrorContext(operation="pay"), amount=5) == "report-0"
    assert report_error(error) == "report-0"
    assert (told.errors, told.contexts) == ([error], [ErrorContext(operation="pay", extra={"amount": 5})])


def test_without_a_target(log: Log) -> None:
    """Before anything is installed a report is a line of the log, once, redacted."""
    error = raised(RuntimeError(f"password={SECRET}"))
    assert [report_error(error, operation="pay", amount=5) for _ in range(2)] == [None, None]
    (line,) = log.named("error.reported")
    assert (line["level"], line["operation"], line["amount"]) == ("error", "pay", 5)
    assert line["exception"][0]["message"] == "password=[redacted]"


def test_target_is_put_back(told: Told) -> None:
    """Within the block the inner target is told, and after it the outer one again."""
    inner = Told()
    with installed(inner):
        report_error(RuntimeError())
    report_error(RuntimeError())
    assert (len(inner.errors), len(told.errors)) == (1, 1)


def test_block_raises_again(told: Told) -> None:
    """What is raised in a block is reported and goes on."""
    with pytest.raises(RuntimeError), handle_exception(operation="import", file="a.csv"):
        fail()
    assert told.contexts == [ErrorContext(operation="import", extra={"file": "a.csv"})]


def test_block_ends(told: Told) -> None:
    """With a default the block ends."""
    with handle_exception(default=None):
        fail()
    assert len(told.errors) == 1


def test_block_raises_another(told: Told) -> None:
    """Another error takes the place of what was raised, which is its cause, and is not reported again."""
    with pytest.raises(ExternalServiceError) as mapped, handle_exception(raises=ExternalServiceError):
        fail()
    assert isinstance(mapped.value.__cause__, RuntimeError)
    assert report_error(mapped.value) == "report-0"
    made = handle_exception(raises=lambda error: ConfigurationFaultError(f"{error}!"))
    with pytest.raises(ConfigurationFaultError, match="broken!"), made:
        fail()
    assert len(told.errors) == 2


def test_only_the_kinds_that_are_named(told: Told) -> None:
    """Other exceptions pass, unreported; so do those that are no `Exception`."""
    with pytest.raises(RuntimeError), handle_exception(OSError, KeyError, default=None):
        fail()
    with pytest.raises(KeyboardInterrupt), handle_exception(default=None):
        raise KeyboardInterrupt
    assert told.errors == []


def test_expected_errors_pass(told: Told) -> None:
    """An expected error is no fault: it goes on as it is and unreported, unless it is named."""
    with pytest.raises(NotFoundError), handle_exception(default=None):
        raise NotFoundError
    with pytest.raises(NotFoundError), handle_exception(raises=ExternalServiceError):
        raise NotFoundError
    with handle_exception(NotFoundError, default=None):
        raise NotFoundError
    with pytest.raises(ExternalServiceError) as mapped, handle_exception(NotFoundError, raises=ExternalServiceError):
        raise NotFoundError
    assert told.errors == []
    assert report_error(mapped.value) == "report-0"


def test_two_outcomes() -> None:
    """A default and another error exclude each other."""
    with pytest.raises(TypeError, match=r"received default=1 and raises=.*give one of them"):
        handle_exception(default=1, raises=NotFoundError)


def test_function(told: Told) -> None:
    """A decorated function keeps its name, returns what it returns, or the default; the operation is its name."""

    @handle_exception(default=0)
    def half(number: int) -> int:
        """Halve."""
        return number // 2 if number else 1 // 0

    assert (half(4), half(0), half.__name__, half.__doc__) == (2, 0, "half", "Halve.")
    assert told.contexts[0].operation == f"{__name__}.{half.__qualname__}"


def test_function_that_raises_again(told: Told) -> None:
    """Without a default the error of a function is reported and raised again."""
    with pytest.raises(RuntimeError):
        handle_exception(operation="own name")(fail)()
    assert told.contexts[0].operation == "own name"


async def test_coroutine(told: Told) -> None:
    """A coroutine function stays one, and its errors are handled when it is awaited."""

    @handle_exception(default="none")
    async def load(broken: bool) -> str:
        if broken:
            fail()
        return "some"

    assert inspect.iscoroutinefunction(load)
    assert (await load(broken=False), await load(broken=True)) == ("some", "none")
    assert len(told.errors) == 1


def test_generator(told: Told) -> None:
    """A generator stays one; with a default it ends where it failed, and what is sent to it arrives."""

    @handle_exception(default="ended")
    def numbers() -> Iterator[Any]:
        received = yield 1
        yield received
        fail()

    assert inspect.isgeneratorfunction(numbers)
    running: Any = numbers()
    assert (next(running), running.send(2)) == (1, 2)
    with pytest.raises(StopIteration) as end:
        next(running)
    assert (end.value.value, len(told.errors)) == ("ended", 1)


async def test_asynchronous_generator(told: Told) -> None:
    """An asynchronous generator stays one; what is sent and thrown arrives, and closing it closes the inner one."""
    closed: list[str] = []

    @handle_exception(default=None)
    async def numbers() -> AsyncIterator[Any]:
        try:
            received = yield 1
            try:
                yield received
            except KeyError:
                yield "caught"
            fail()
        finally:
            closed.append("closed")

    assert inspect.isasyncgenfunction(numbers)
    running: Any = numbers()
    assert (await anext(running), await running.asend(2), await running.athrow(KeyError())) == (1, 2, "caught")
    assert [item async for item in running] == []
    assert (len(told.errors), closed) == (1, ["closed"])
    left: Any = numbers()
    await anext(left)
    await left.aclose()
    assert closed == ["closed", "closed"]


async def test_context_managers_stay_what_they_are(told: Told) -> None:
    """A decorated generator still makes a context manager, which hears of what was raised within."""
    heard: list[str] = []

    @contextmanager
    @handle_exception()
    def held() -> Iterator[None]:
        try:
            yield
        except RuntimeError:
            heard.append("sync")
            raise

    @asynccontextmanager
    @handle_exception()
    async def aheld() -> AsyncIterator[None]:
        try:
            yield
        except RuntimeError:
            heard.append("async")
            raise

    with pytest.raises(RuntimeError), held():
        fail()
    with pytest.raises(RuntimeError):
        async with aheld():
            fail()
    assert (heard, len(told.errors)) == (["sync", "async"], 2)
