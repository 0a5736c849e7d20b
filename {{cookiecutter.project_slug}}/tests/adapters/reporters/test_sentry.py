"""Reports as events that a server of Sentry's protocol receives."""

import gzip
import json
import logging
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import sentry_sdk

from app.adapters.reporters.log import LogReporter
from app.adapters.reporters.sentry import NotDeliveredError, SentryReporter, _redacted
from app.adapters.reporting import error_reporting
from app.core.context import request_context
from app.core.errors import ExternalServiceError
from app.core.reporting import ErrorContext
from app.settings import Settings

from ...conftest import Log
from ...reports import PATIENCE, a_report, raised

IDENTITY = {"service": "orders", "environment": "test", "version": "1.2.3"}
KEY = "public" * 5
SECRET = "-".join(["correct", "horse"])
TRACE = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}


class Sentry(ThreadingHTTPServer):
    """A server that keeps the events that it receives."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.status = 200

    @property
    def dsn(self) -> str:
        """Where events are sent to."""
        return "http://" + "@".join([KEY, f"127.0.0.1:{self.server_port}/7"])


class _Handler(BaseHTTPRequestHandler):
    server: Sentry

    def do_POST(self) -> None:
        """Take an envelope: its header, then for each item a header and a payload, one per line."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Encoding"] == "gzip":
            body = gzip.decompress(body)
        _, *items = body.splitlines()
        self.server.paths.append(self.path)
        if self.server.status < 300:
            self.server.events += [json.loads(payload) for payload in items[1::2]]
        self.send_response(self.server.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def sentry() -> Iterator[Sentry]:
    """Return a running server."""
    with Sentry() as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def reporter(sentry: Sentry) -> Iterator[SentryReporter]:
    """Return a reporter to the server."""
    opened = SentryReporter(sentry.dsn, identity=IDENTITY)
    yield opened
    opened.close()


def test_event(sentry: Sentry, reporter: SentryReporter) -> None:
    """An event says what the report says, in Sentry's words, and is grouped by our fingerprint."""
    with request_context(request_id="r1", **TRACE):
        error = raised(ExternalServiceError("no answer"))
        error.__cause__ = raised(ValueError("refused"))
        report = a_report(error, operation="POST /pay", entity="order 7", user_id="u1", amount=5)
    reporter.report(report)
    (event,) = sentry.events
    assert sentry.paths == ["/api/7/envelope/"]
    assert (event["event_id"], event["fingerprint"]) == (report.id, [report.fingerprint])
    assert (event["level"], event["transaction"], event["user"]) == ("error", "POST /pay", {"id": "u1"})
    assert (event["release"], event["environment"]) == ("orders@1.2.3", "test")
    assert [one["type"] for one in event["exception"]["values"]] == ["ValueError", "ExternalServiceError"]
    assert [one["value"] for one in event["exception"]["values"]] == ["refused", "no answer"]
    assert event["tags"].items() >= {"code": "EXTERNAL_SERVICE_ERROR", "request_id": "r1", "entity": "order 7"}.items()
    assert (event["extra"], event["contexts"]["trace"]) == ({"amount": 5, "suppressed": 0}, TRACE)
    frames = event["exception"]["values"][1]["stacktrace"]["frames"]
    assert [(frame["function"], frame["in_app"]) for frame in frames] == [("caught", True), ("_raise", True)]
    assert "vars" not in frames[0]


def test_group(sentry: Sentry, reporter: SentryReporter) -> None:
    """The members of a group are in the event, each below the group."""
    group = ExceptionGroup("both", [ValueError("one"), ExceptionGroup("inner", [KeyError("two")])])
    reporter.report(a_report(raised(group)))
    values = sentry.events[0]["exception"]["values"]
    places = {one["value"]: one["mechanism"] for one in values}
    assert [one["type"] for one in values] == ["KeyError", "ExceptionGroup", "ValueError", "ExceptionGroup"]
    outer, inner = places["both (2 sub-exceptions)"], places["inner (1 sub-exception)"]
    assert (outer["is_exception_group"], "parent_id" in outer) == (True, False)
    assert (places["one"]["parent_id"], inner["parent_id"]) == (outer["exception_id"], outer["exception_id"])
    assert places["'two'"]["parent_id"] == inner["exception_id"]


def test_nothing_else_is_sent(sentry: Sentry, reporter: SentryReporter) -> None:
    """The SDK adds no breadcrumbs, modules or request, and watches no logger, no hook and no other code's use of it."""
    logging.getLogger("other").error("not an event")
    sentry_sdk.capture_message("not ours")
    reporter.report(a_report())
    (event,) = sentry.events
    assert not {"breadcrumbs", "modules", "request", "threads"} & set(event)
    assert event["sdk"]["integrations"] == []
    assert logging.getLogger("sentry_sdk.errors").handlers == []
    options = reporter._client.options
    assert not any(options[name] for name in ("include_local_variables", "include_source_context", "attach_stacktrace"))


def test_redaction(sentry: Sentry, reporter: SentryReporter) -> None:
    """No secret leaves in an event, nor one that the SDK would add."""
    reporter.report(a_report(RuntimeError(f"password={SECRET}"), note=f"token={SECRET}", password=SECRET))
    assert SECRET not in json.dumps(sentry.events)
    reporter._client.capture_event({"message": f"password={SECRET}"})
    assert sentry.events[-1]["message"] == "password=[redacted]"
    added: Any = {"event_id": "4" * 32, "extra": {"password": SECRET}, "message": f"password={SECRET}"}
    shown = {"event_id": "4" * 32, "extra": {"password": "[redacted]"}, "message": "password=[redacted]"}
    assert _redacted(added, {}) == shown


@pytest.mark.parametrize("status", [400, 413, 429, 500, 503])
def test_refused(sentry: Sentry, reporter: SentryReporter, status: int) -> None:
    """A report that the server refuses is no success."""
    sentry.status = status
    with pytest.raises(NotDeliveredError, match=f"status_{status}"):
        reporter.report(a_report())


def test_recovers(sentry: Sentry, reporter: SentryReporter) -> None:
    """After a failure the next report arrives."""
    sentry.status = 500
    with pytest.raises(NotDeliveredError):
        reporter.report(a_report())
    sentry.status = 200
    reporter.report(a_report())
    assert len(sentry.events) == 1


def test_asked_to_wait(sentry: Sentry, reporter: SentryReporter) -> None:
    """Asked to send less, it sends nothing more for that time, and says so."""
    sentry.status = 429
    for reason in ("status_429", "self_rate_limits"):
        with pytest.raises(NotDeliveredError, match=reason):
            reporter.report(a_report())
    assert len(sentry.paths) == 1


def test_unreachable(settings: Settings, log: Log) -> None:
    """A server that refuses connections costs one warning, however many reports are lost, and tells no DSN."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dsn = "http://" + "@".join([KEY, f"127.0.0.1:{probe.getsockname()[1]}/7"])
    outcomes: list[tuple[str, str]] = []
    own = settings.model_validate({**settings.model_dump(), "sentry_dsn": dsn, "errors": {"reporters": ()}})
    reporting = error_reporting(own, database=LogReporter, on_outcome=lambda *outcome: outcomes.append(outcome))
    for number in range(3):
        reporting.report(raised(RuntimeError(str(number))), ErrorContext())
    reporting.close(PATIENCE)
    assert outcomes == [("sentry", "failed")] * 3
    assert [line["event"] for line in log.events if line["level"] != "info"] == ["error.reporter_failed"]
    assert KEY not in str(log)


def test_settings(sentry: Sentry, settings: Settings) -> None:
    """A DSN in the settings is all it takes."""
    own = settings.model_validate({**settings.model_dump(), "sentry_dsn": sentry.dsn})
    reporting = error_reporting(own, database=LogReporter, on_outcome=lambda *_: None)
    report_id = reporting.report(raised(RuntimeError("x")), ErrorContext())
    reporting.close(PATIENCE)
    assert [event["event_id"] for event in sentry.events] == [report_id]
