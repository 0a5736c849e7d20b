"""No way into the log leads past the redaction, in any format, through the thread that delivers or not."""

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import structlog
from pydantic import BaseModel

from app.adapters.logging import configure_logging
from app.core.context import bind_context, request_context
from app.core.logging import get_logger
from app.core.redaction import REDACTED
from app.settings import Settings
from app.settings_groups import LogSettings

from ..conftest import Log
from ..fakes import CARD, EMAIL, PASSWORD
from ..processes import SOURCE, run_python

log = get_logger("app.orders")
lib = logging.getLogger("lib.sub")
# What no pattern knows: only the name beside it tells that it is secret.
OPAQUE = "blue-elephant"


@dataclass
class Account:
    """A plain object with something to hide."""

    user: str
    password: str


class Login(NamedTuple):
    """A tuple whose members have names."""

    user: str
    password: str


class Customer(BaseModel):
    """A model with something to hide."""

    user: str
    secret_key: str


class Told:
    """An object that tells too much of itself."""

    def __repr__(self) -> str:
        """Return what it should not."""
        return f"Told(password='{OPAQUE}', mail='{EMAIL}')"


def cycle() -> dict[str, Any]:
    """Return a value that holds itself, and a secret."""
    value: dict[str, Any] = {"user": "ada", "to": [EMAIL], "password": OPAQUE}
    value["self"] = [value]
    return value


def chained() -> Exception:
    """Return an exception with a cause, a context, notes and members that all tell too much."""
    member = ValueError(f"no account for {EMAIL}")
    member.add_note(f"password={OPAQUE}")
    cause = ExceptionGroup(f"for {EMAIL}", [member, ExceptionGroup("inner", [KeyError(EMAIL)])])
    cause.__context__ = LookupError(f"card {CARD} declined")
    outer = RuntimeError(f"Authorization: Bearer {PASSWORD}")
    outer.__cause__ = cause
    outer.add_note(f"asked by {EMAIL}")
    return outer


def raised() -> None:
    """Log an exception while it is handled."""
    try:
        raise chained()
    except RuntimeError:
        log.exception("failed")
        lib.exception("failed")


def warn() -> None:
    """Warn as a library does; pytest has taken warnings over, so that they have to be taken back."""
    logging.captureWarnings(capture=False)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn(f"old address {EMAIL}", DeprecationWarning, stacklevel=1)
        logging.captureWarnings(capture=False)


def in_context() -> None:
    """Log within a context that holds personal data."""
    with request_context(request_id="r1", user_email=EMAIL):
        bind_context(api_key=OPAQUE)
        log.info("inside")
        lib.warning("inside")


WAYS: dict[str, Callable[[], object]] = {
    "message": lambda: log.info(" ".join(["mail to", EMAIL, "bounced"])),
    "positional argument": lambda: log.info("mail to %s bounced", EMAIL),
    "arguments by name": lambda: log.info("login %(user)s", {"user": EMAIL}),
    "field": lambda: log.info("e", to=EMAIL, password=OPAQUE),
    "field's name": lambda: log.info("e", **{EMAIL: 1}),
    "nested value": lambda: log.info("e", a=[{"b": ({"password": OPAQUE}, EMAIL)}]),
    "cyclic value": lambda: log.info("e", a=cycle()),
    "bytes": lambda: log.info("e", body=json.dumps({"password": OPAQUE, "to": EMAIL}).encode()),
    "text of JSON": lambda: log.info("e", body=json.dumps({"raw": json.dumps({"password": OPAQUE})})),
    "dataclass": lambda: log.info("e", account=Account(EMAIL, OPAQUE)),
    "model": lambda: log.info("e", customers=[Customer(user=EMAIL, secret_key=OPAQUE)]),
    "named tuple": lambda: log.info("e", login=Login(EMAIL, OPAQUE)),
    "object": lambda: log.info("e", told=Told(), also=[Told()]),
    "headers": lambda: log.info("e", headers=[(b"authorization", OPAQUE.encode()), (b"from", EMAIL.encode())]),
    "number": lambda: log.info("e", number=int(CARD), a=[int(CARD)]),
    "exception": raised,
    "exception given": lambda: log.error("failed", exc_info=chained()),
    "bound logger": lambda: log.bind(to=EMAIL, password=OPAQUE).info("e"),
    "context": in_context,
    "structlog": lambda: structlog.get_logger("x").info(
        f"mail to {EMAIL}", password=OPAQUE, account=Account("a", OPAQUE)
    ),
    "record": lambda: lib.warning(f"mail to {EMAIL} bounced"),
    "record's arguments": lambda: lib.warning("mail to %s bounced, %r", EMAIL, Told()),
    "record's extra fields": lambda: lib.warning("e", extra={"password": OPAQUE, "account": Account(EMAIL, OPAQUE)}),
    "record of a child": lambda: lib.getChild("deep").getChild("er").error(f"mail to {EMAIL}", extra={"token": OPAQUE}),
    "record with a wrong format": lambda: lib.warning("mail %d", EMAIL, OPAQUE + EMAIL),
    "record's exception": lambda: lib.error("failed", exc_info=chained()),
    "warning": warn,
}
SECRETS = (EMAIL, CARD, PASSWORD, OPAQUE)


@pytest.fixture(autouse=True)
def _own_log(settings: Settings) -> Iterator[None]:
    """Leave the log as it was."""
    yield
    logging.captureWarnings(capture=False)
    configure_logging(settings, sink=lambda _line: None)


@pytest.mark.parametrize("log_format", ["json", "logfmt", "console"])
@pytest.mark.parametrize("way", WAYS)
def test_ways_into_the_log(settings: Settings, way: str, log_format: str) -> None:
    """Whatever is logged, and by whom, its secrets are hidden, and the line is there."""
    lines = Log()
    log_settings = LogSettings.model_validate({"format": log_format})
    configure_logging(settings.model_copy(update={"log": log_settings}), sink=lines.append)
    WAYS[way]()
    text = "\n".join(lines)
    assert REDACTED in text
    assert [secret for secret in SECRETS if secret in text] == []


DELIVERED = """
from tests.adapters.test_redaction import WAYS
from app.adapters.logging import configure_logging
from app.settings import load_settings
configure_logging(load_settings())
for way in WAYS.values():
    way()
"""


def test_ways_through_the_delivery() -> None:
    """The thread that writes to standard output hides the same, and no way loses a line."""
    ended = run_python(
        "-c", DELIVERED, LOG__FORMAT="json", PYTHONPATH=os.pathsep.join([str(SOURCE), str(SOURCE.parent)])
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(ended.stdout.splitlines()) == len(WAYS) + 2
    assert [secret for secret in SECRETS if secret in ended.stdout] == []


def test_broken_rule_drops_the_value(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the redaction of a value fails, the line is there, without the value."""

    def fails(*_: object) -> Any:
        raise RuntimeError

    monkeypatch.setattr("app.core.redaction.spans_of", fails)
    lines = Log()
    configure_logging(settings.model_copy(update={"log": LogSettings(format="json")}), sink=lines.append)
    log.info("order.placed", to=EMAIL, sku="A-1")
    lib.warning("order %s for %s", "o1", EMAIL, extra={"sku": "A-1"})
    own, record = lines.events
    assert (own["event"], own["to"], own["sku"]) == ("order.placed", REDACTED, "A-1")
    assert (record["event"], record["sku"]) == (REDACTED, "A-1")
