"""Own events and the standard library's records come out as the same lines, whatever is passed."""

import io
import json
import logging
import math
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry import trace

from app.adapters.logging import configure_logging
from app.adapters.tracing import Tracing, attached
from app.core.context import request_context
from app.core.logging import get_logger, mark_reported
from app.settings import Settings
from app.settings_groups import LogSettings

from ..conftest import Log
from ..processes import run_python

EMAIL = "@".join(["ada", "example.com"])


@pytest.fixture(autouse=True)
def _own_loggers(settings: Settings) -> Iterator[None]:
    """Leave the loggers as they were."""
    yield
    configure_logging(settings, sink=lambda _line: None)
    for name in ("lib", "lib.sub"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def configured(settings: Settings, **changes: Any) -> Log:
    """Return the log of a process with other log settings."""
    lines = Log()
    log_settings = LogSettings(**{"format": "json", **changes})
    configure_logging(settings.model_copy(update={"log": log_settings}), sink=lines.append)
    return lines


def test_line(log: Log, settings: Settings) -> None:
    """A line has the contract's fields in order, then the context, then the event's own."""
    span = Tracing(settings).start("work")
    with request_context(request_id="r1", user_id="ada"), attached(span):
        get_logger("app.orders").info("order.placed", order_id="o1")
    (line,) = log.events
    assert list(line) == [
        "timestamp", "level", "logger", "event", "service", "environment", "version",
        "request_id", "user_id", "trace_id", "span_id", "order_id",
    ]  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    assert line == {
        "level": "info",
        "logger": "app.orders",
        "event": "order.placed",
        "service": "orders",
        "environment": "test",
        "version": "1.2.3",
        "request_id": "r1",
        "user_id": "ada",
        "trace_id": f"{span.get_span_context().trace_id:032x}",
        "span_id": f"{span.get_span_context().span_id:016x}",
        "order_id": "o1",
    }
    assert not trace.get_current_span().get_span_context().is_valid


def test_record_has_the_same_line(log: Log) -> None:
    """A record of the standard library has the fields of an own event."""
    with request_context(request_id="r1"):
        get_logger("lib").warning("took 5 ms", order_id="o1")
        logging.getLogger("lib").warning("took %d ms", 5, extra={"order_id": "o1"})
    own, record = log.events
    assert list(own) == list(record)
    assert {**own, "timestamp": ""} == {**record, "timestamp": ""}


@pytest.mark.parametrize("name", ["service", "environment", "version", "level", "timestamp"])
def test_fields_that_nobody_overrides(log: Log, name: str) -> None:
    """Who speaks, when and how loudly is not the caller's to say."""
    get_logger("app").info("e", **{name: "forged"})
    logging.getLogger("lib").warning("e", extra={name: "forged"})
    assert [line[name] for line in log.events if line[name] == "forged"] == []


def test_own_fields_win_over_the_context(log: Log) -> None:
    """A field of the event replaces the context's of the same name."""
    with request_context(request_id="r1", user_id="ada"):
        get_logger("app").info("e", user_id="bob")
    assert (log.events[0]["request_id"], log.events[0]["user_id"]) == ("r1", "bob")


class Unprintable:
    """An object whose text cannot be had."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError

    __repr__ = __str__


CYCLE: dict[str, object] = {"a": 1}
CYCLE["self"] = CYCLE
VALUES = {
    "nan": math.nan,
    "infinity": -math.inf,
    "set": {1},
    "bytes": b"\xff\x00",
    "huge": 10**400,
    "surrogate": "\ud800",
    "nul": "\x00",
    "unprintable": Unprintable(),
    "cycle": CYCLE,
    "keys": {(1, 2): 3, None: 4, "\ud800": 5},
    "class": Unprintable,
    "generator": (x for x in "ab"),
    "deep": json.loads("[" * 900 + "]" * 900),
    "complex": 1j,
}


@pytest.mark.parametrize("log_format", ["json", "logfmt", "console"])
@pytest.mark.parametrize("name", VALUES)
def test_values_that_are_no_json(settings: Settings, name: str, log_format: str) -> None:
    """Any value is logged as something, as one line, and never breaks the caller."""
    log = configured(settings, format=log_format)
    get_logger("app").info("e", value=VALUES[name])
    logging.getLogger("lib").warning("%s", "e", extra={"value": VALUES[name]})
    logging.getLogger("lib").warning("value: %s", VALUES[name])
    assert [len(line.split("\n")) for line in log] == [1, 1, 1]
    if log_format == "json":
        assert [json.loads(line, parse_constant=pytest.fail)["logger"] for line in log] == ["app", "lib", "lib"]


def test_newlines(log: Log) -> None:
    """A line break in a value does not make a second line that somebody could forge."""
    get_logger("app").info('a\n{"level": "info"}', field="b\r\nc")
    assert len(log) == 1
    assert "\n" not in log[0]
    assert (log.events[0]["event"], log.events[0]["field"]) == ('a\n{"level": "info"}', "b\r\nc")


@pytest.mark.parametrize("name", ["self", "event", "logger", "method", "_record", "a b", ""])
def test_odd_field_names(log: Log, name: str) -> None:
    """What a library calls its fields breaks nothing."""
    logging.getLogger("lib").warning("e", extra={name: 1})
    assert (log.events[0]["event"], log.events[0]["logger"]) == ("e", "lib")


def test_secrets_in_records(log: Log) -> None:
    """Arguments, extra fields, exceptions and warnings of libraries pass the redaction."""
    error = ValueError(f"no account {EMAIL}")
    logging.getLogger("lib").error("failed for %s", EMAIL, extra={"password": "x", "to": [EMAIL]}, exc_info=error)
    (line,) = log.events
    assert line["event"] == "failed for [redacted]"
    assert (line["password"], line["to"]) == ("[redacted]", ["[redacted]"])
    assert line["exception"][0]["message"] == "no account [redacted]"
    assert EMAIL not in log[0]


def test_warnings_are_logged(settings: Settings) -> None:
    """A warning of the interpreter is a line like any other."""
    logging.captureWarnings(capture=False)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        log = configured(settings)
        warnings.warn(f"old way of {EMAIL}", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    (line,) = log.events
    assert (line["logger"], line["level"]) == ("py.warnings", "warning")
    assert "DeprecationWarning: old way of [redacted]" in line["event"]


def test_handlers_of_libraries_are_replaced(settings: Settings) -> None:
    """A library's own handler does not write past the redaction, nor does a logger that does not propagate."""
    stream = io.StringIO()
    library = logging.getLogger("lib.sub")
    library.addHandler(logging.StreamHandler(stream))
    library.propagate = False
    library.disabled = True
    log = configured(settings)
    library.warning("hello")
    assert [line["event"] for line in log.events] == ["hello"]
    assert stream.getvalue() == ""


def test_configuring_again_replaces(settings: Settings) -> None:
    """A second configuration replaces the first: one line per event, in the new place."""
    first, second = configured(settings), configured(settings)
    get_logger("app").info("e")
    logging.getLogger("lib").warning("e")
    assert (len(first), len(second)) == (0, 2)


@pytest.mark.parametrize("log_name", ["lib", "lib.sub", "lib.sub.deep"])
def test_levels_per_module(settings: Settings, log_name: str) -> None:
    """A module's level counts for those below it, own events and records alike."""
    log = configured(settings, level="WARNING", levels={"lib": "DEBUG"})
    for name in (log_name, "other"):
        get_logger(name).debug("own")
        logging.getLogger(name).debug("record")
    assert [(line["logger"], line["event"]) for line in log.events] == [(log_name, "own"), (log_name, "record")]


def test_level_that_a_library_sets_itself(settings: Settings) -> None:
    """What the settings ask for wins over a library's own level, which returns with the next configuration."""
    logging.getLogger("lib").setLevel(logging.ERROR)
    log = configured(settings, levels={"lib": "DEBUG"})
    logging.getLogger("lib.sub").debug("asked for")
    assert [line["event"] for line in log.events] == ["asked for"]
    configured(settings)
    assert logging.getLogger("lib").level == logging.ERROR


@pytest.mark.parametrize(("number", "level"), [(25, "info"), (35, "warning"), (60, "critical")])
def test_level_of_a_librarys_own(log: Log, number: int, level: str) -> None:
    """A level that only a library knows counts as the standard one below it."""
    logging.getLogger("lib").log(number, "e")
    assert [line["level"] for line in log.events] == [level]


def test_renamed_level(log: Log) -> None:
    """A library that gives a level another name does not change ours."""
    logging.addLevelName(logging.WARNING, "\x1b[33mWarn\x1b[0m")
    try:
        logging.getLogger("lib").warning("e")
    finally:
        logging.addLevelName(logging.WARNING, "WARNING")
    assert [line["level"] for line in log.events] == ["warning"]


def test_trace_level_is_dropped(settings: Settings) -> None:
    """What is finer than DEBUG is not logged."""
    log = configured(settings, level="DEBUG")
    logging.getLogger("lib").setLevel(1)
    logging.getLogger("lib").log(5, "e")
    assert log == []


def test_quiet_libraries(settings: Settings) -> None:
    """Libraries that are chatty at INFO are asked for less, unless the settings ask for more."""
    log = configured(settings)
    logging.getLogger("httpx2").info("request")
    louder = configured(settings, levels={"httpx2": "INFO"})
    logging.getLogger("httpx2").info("request")
    assert (len(log), len(louder)) == (0, 1)


@pytest.mark.parametrize("method", ["exception", "error"])
def test_exception(log: Log, method: str) -> None:
    """An exception is listed with its causes, innermost last, at level error."""
    error = RuntimeError("outer")
    error.__cause__ = KeyError("inner")
    getattr(get_logger("app"), method)("failed", exc_info=error)
    (line,) = log.events
    assert line["level"] == "error"
    assert [cause["type"] for cause in line["exception"]] == ["RuntimeError", "KeyError"]


@pytest.mark.parametrize("log_format", ["json", "logfmt", "console"])
def test_local_variables_are_not_logged(settings: Settings, log_format: str) -> None:
    """What variables held when an exception was raised is in no line, whoever logs it and in whatever format."""
    log = configured(settings, format=log_format)

    def fails(argument: str) -> None:
        variable = argument * 2
        raise RuntimeError(variable[:0])

    try:
        fails("hidden" + "-value")
    except RuntimeError as error:
        get_logger("app").exception("failed")
        get_logger("app").error("failed", exc_info=error)
        logging.getLogger("lib").exception("failed")
        structlog.get_logger("lib").exception("failed")
    assert len(log) == 4
    assert all("RuntimeError" in line for line in log)
    assert "hidden-value" not in "".join(log)


def test_stack(log: Log) -> None:
    """A stack that was asked for is in the line, of own events and records."""
    get_logger("app").info("e", stack_info=True)
    logging.getLogger("lib").warning("e", stack_info=True)
    assert ["in test_stack" in line["stack"] for line in log.events] == [True, True]


def test_reported_exception_is_not_logged_again(log: Log) -> None:
    """What a server logs of an exception that is in the log already is left out."""
    error, other = ValueError("reported"), ValueError("new")
    mark_reported(error)
    logging.getLogger("lib").error("unhandled", exc_info=error)
    logging.getLogger("lib").error("unhandled", exc_info=other)
    assert [line["exception"][0]["message"] for line in log.events] == ["new"]


def test_events_are_counted(settings: Settings) -> None:
    """Each line that is written is counted by its level, dropped ones are not."""
    levels: list[str] = []
    configure_logging(settings, sink=lambda _line: None, on_event=levels.append)
    get_logger("app").debug("dropped")
    get_logger("app").info("e")
    logging.getLogger("lib").error("e")
    assert levels == ["info", "error"]


def test_broken_sink(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """A sink that fails never breaks the caller; that a line was lost is said, without what it said."""

    def fails(line: str) -> None:
        raise RuntimeError(line)

    configure_logging(settings, sink=fails)
    get_logger("app").info("hidden")
    logging.getLogger("lib").warning("hidden")
    assert capsys.readouterr().err == "a log line of 'app' was lost\na log line of 'lib' was lost\n"


def test_failing_step(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """A record that cannot be logged never breaks the library, and is not shown past the redaction."""

    def fails(level: str) -> None:
        raise RuntimeError(level)

    configure_logging(settings, sink=lambda _line: None, on_event=fails)
    logging.getLogger("lib").warning("hidden %s", EMAIL)
    assert capsys.readouterr().err == "a log line of 'lib' was lost\n"


def test_console_by_default(settings: Settings) -> None:
    """Outside production a line is made for reading."""
    lines = Log()
    configure_logging(settings, sink=lines.append)
    get_logger("app").info("order.placed", order_id="o1")
    assert re.search(r"info +\] order\.placed .*order_id=o1", lines[0])


SERVICE = """
import logging, os, sys
from app.adapters.logging import configure_logging, flush_logging
from app.core.logging import get_logger
from app.settings import load_settings
configure_logging(load_settings())
logging.getLogger("lib").warning("first")
get_logger("app").info("second")
flush_logging()
os.close(1)
get_logger("app").info("third")
os._exit(7)
"""


def test_standard_output(tmp_path: Path) -> None:
    """A process writes its lines to standard output and nothing to standard error, even when the output is closed."""
    ended = run_python("-c", SERVICE, LOG__FORMAT="json")
    assert [json.loads(line)["event"] for line in ended.stdout.splitlines()] == ["first", "second"]
    assert (ended.returncode, ended.stderr) == (7, "")


CRASHING = """
import threading
from app.adapters.logging import configure_logging
from app.settings import load_settings
configure_logging(load_settings())
def fails():
    raise RuntimeError("in a thread")
thread = threading.Thread(target=fails)
thread.start()
thread.join()
raise RuntimeError("in the process")
"""


def test_crashes_are_lines(tmp_path: Path) -> None:
    """What ends a thread or the process is a line of the log, not a traceback beside it."""
    ended = run_python("-c", CRASHING, LOG__FORMAT="json")
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [(line["event"], line["exception"][0]["message"]) for line in lines] == [
        ("thread.crashed", "in a thread"),
        ("process.crashed", "in the process"),
    ]
    assert (ended.returncode, ended.stderr) == (1, "")


def test_logger_before_configuration(settings: Settings) -> None:
    """A logger that was made when its module was imported follows the configuration that comes later."""
    early = get_logger("app.early")
    log = configured(settings)
    early.info("e")
    assert [line["logger"] for line in log.events] == ["app.early"]


def test_characters_that_end_a_line(log: Log) -> None:
    """What other readers take for a line break or a control is escaped, and is itself again when it is read as JSON."""
    text = "a\x7fb\x85c\u2028d\u2029e"
    get_logger("app").info(text, field=text)
    assert not set("\x7f\x85\u2028\u2029") & set(log[0])
    assert (log.events[0]["event"], log.events[0]["field"]) == (text, text)
