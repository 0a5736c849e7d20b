"""No library writes past the redaction, however late it sets up its own logging."""

import io
import logging
import logging.config
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from app.adapters.logging import configure_logging
from app.adapters.logging.records import RecordHandler
from app.settings import Settings
from app.settings_groups import LogSettings

from ...conftest import Log

EMAIL = "@".join(["ada", "example.com"])


@pytest.fixture(autouse=True)
def _own_loggers(settings: Settings) -> Iterator[None]:
    """Leave the loggers as they were."""
    yield
    configure_logging(settings, sink=lambda _line: None)


class Kept(logging.Handler):
    """A handler that keeps records, as one does that sends them somewhere."""

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        self.records.append(record)


def late(handler: logging.Handler, *, propagate: bool = True) -> logging.Logger:
    """Return a logger to which a library has added its own handler just now."""
    logger = logging.getLogger("lib.late")
    logger.addHandler(handler)
    logger.propagate = propagate
    return logger


@pytest.mark.parametrize("propagate", [True, False])
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_late_handler_on_a_standard_stream(
    log: Log, capfd: pytest.CaptureFixture[str], name: str, propagate: bool
) -> None:
    """A late handler shows no second line, and a logger that does not propagate is in the log all the same."""
    late(logging.StreamHandler(getattr(sys, name)), propagate=propagate).warning("no account %s", EMAIL)
    assert [line["event"] for line in log.events] == ["no account [redacted]"]
    assert capfd.readouterr() == ("", "")


def test_late_handler_on_a_copy_of_a_standard_stream(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """A stream of its own on the same descriptor is a standard stream, too."""
    with open(1, "w", closefd=False) as stream:
        late(logging.StreamHandler(stream)).warning("no account %s", EMAIL)
    assert len(log) == 1
    assert capfd.readouterr() == ("", "")


def test_basic_config(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """A library that calls `basicConfig`, with `force` too, changes nothing."""
    logging.basicConfig()
    logging.basicConfig(force=True, level=logging.DEBUG)
    logging.getLogger("lib").warning("no account %s", EMAIL)
    logging.getLogger("lib").debug("not wanted")
    assert [line["event"] for line in log.events] == ["no account [redacted]"]
    assert capfd.readouterr() == ("", "")


def test_library_that_looks_for_handlers(settings: Settings) -> None:
    """A library that sets logging up only when nobody has finds that somebody has."""
    configure_logging(settings, sink=lambda _line: None)
    assert logging.getLogger("lib").hasHandlers()
    logging.basicConfig()
    assert [type(handler) for handler in logging.root.handlers] == [RecordHandler]


SERVERS: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"default": {"format": "%(levelname)s %(message)s"}},
    "handlers": {"default": {"class": "logging.StreamHandler", "formatter": "default", "stream": "ext://sys.stderr"}},
    "loggers": {"lib": {"handlers": ["default"], "level": "INFO", "propagate": False}},
    "root": {"handlers": ["default"], "level": "INFO"},
}


def test_dict_config(log: Log, capfd: pytest.CaptureFixture[str]) -> None:
    """A server that calls `dictConfig` changes nothing, for loggers below its own neither."""
    logging.config.dictConfig(SERVERS)
    for name in ("lib", "lib.child", "other"):
        logging.getLogger(name).info("no account %s", EMAIL)
    assert [line["event"] for line in log.events] == ["no account [redacted]"] * 3
    assert capfd.readouterr() == ("", "")


def test_handler_that_sends_records_elsewhere(log: Log) -> None:
    """A late handler of another kind gets a redacted copy: message, arguments, extra fields, exception and stack."""
    kept = Kept()
    logger = late(kept)
    with pytest.raises(ValueError, match="ada") as caught:
        int(EMAIL)
    extra = {"password": "x", "to": [EMAIL]}
    logger.error("no account %s", EMAIL, exc_info=caught.value, extra=extra, stack_info=True)
    (record,) = kept.records
    shown = logging.Formatter("%(name)s %(message)s").format(record)
    assert shown.startswith("lib.late no account [redacted]\nTraceback (most recent call last):\n")
    assert "ValueError: invalid literal for int() with base 10: '[redacted]'\nStack (most recent call last):" in shown
    assert (record.exc_info, record.args) == (None, None)
    assert vars(record)["password"] == "[redacted]"
    assert EMAIL not in shown + repr(vars(record))
    assert len(log) == 1


def test_record_itself_stays(log: Log) -> None:
    """The record that others may hold is not changed."""
    kept = Kept()
    record = logging.makeLogRecord({"name": "lib.late", "levelno": 40, "msg": "to %s", "args": (EMAIL,)})
    late(kept).handle(record)
    assert (record.msg, record.args) == ("to %s", (EMAIL,))
    assert kept.records[0] is not record


def test_level_of_a_late_handler(log: Log) -> None:
    """A late handler gets what its level lets through."""
    kept = Kept(logging.ERROR)
    logger = late(kept)
    logger.warning("w")
    logger.error("e")
    assert [record.getMessage() for record in kept.records] == ["e"]


def test_handler_of_a_parent(log: Log) -> None:
    """A late handler of a parent gets a child's records, unless the child does not propagate."""
    kept = Kept()
    late(kept)
    logging.getLogger("lib.late.child").error("first")
    logging.getLogger("lib.late.child").propagate = False
    logging.getLogger("lib.late.child").error("second")
    assert [record.getMessage() for record in kept.records] == ["first"]
    assert [line["event"] for line in log.events] == ["first", "second"]


def test_file_of_a_library(log: Log) -> None:
    """A stream that is no standard one is written, redacted."""
    stream = io.StringIO()
    late(logging.StreamHandler(stream)).error("to %s", EMAIL)
    assert stream.getvalue() == "to [redacted]\n"


def test_record_that_cannot_be_redacted(
    log: Log, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the redaction fails a late handler gets nothing, and whoever logs is not disturbed."""

    def fails(text: str) -> str:
        raise RuntimeError(text)

    kept = Kept()
    logger = late(kept)
    monkeypatch.setattr("app.core.logging.chain.redact_text", fails)
    logger.error("to %s", EMAIL)
    assert kept.records == []
    assert EMAIL not in capsys.readouterr().err


def test_tests_may_look_at_records(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """The `caplog` of pytest sees records, as any handler does that came late."""
    logging.getLogger("lib").warning("no account %s", EMAIL)
    assert caplog.messages == ["no account [redacted]"]


def test_what_others_lay_around_it_stays(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tracer that surrounds `callHandlers` is not cut off by the next configuration."""
    seen: list[str] = []
    before = logging.Logger.callHandlers

    def traced(logger: logging.Logger, record: logging.LogRecord) -> None:
        seen.append(record.name)
        before(logger, record)

    monkeypatch.setattr(logging.Logger, "callHandlers", traced)
    configure_logging(settings, sink=lambda _line: None)
    logging.getLogger("lib").warning("e")
    assert seen == ["lib"]


def test_levels_return_after_basic_config(settings: Settings) -> None:
    """The levels that loggers had return, also when a library has removed the handler that knows them."""
    logging.getLogger("lib").setLevel(logging.ERROR)
    configure_logging(
        settings.model_copy(update={"log": LogSettings(levels={"lib": "DEBUG"})}), sink=lambda _line: None
    )
    logging.basicConfig(force=True)
    configure_logging(settings, sink=lambda _line: None)
    assert logging.getLogger("lib").level == logging.ERROR
    logging.getLogger("lib").setLevel(logging.NOTSET)
