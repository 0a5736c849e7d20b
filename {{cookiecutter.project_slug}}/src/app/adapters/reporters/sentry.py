"""Error reports to Sentry, or to whatever speaks its protocol (https://develop.sentry.dev/sdk/data-model/envelopes/).

The official SDK is used as a sender and as nothing else: a client of its own, without a single integration. So it hooks
into no logger and no framework, captures no local variables, headers or bodies, and what other code does with
`sentry_sdk` stays as it is. This module is loaded only when a DSN is set.
"""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from sentry_sdk import Client
from sentry_sdk.transport import HttpTransport
from sentry_sdk.worker import Worker

from ...core.errors import ExternalServiceError, Severity
from ...core.redaction import redact
from ...core.reporting import ErrorReport, is_own

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

SEND_SECONDS = 5
LEVELS = {
    Severity.LOW: "info",
    Severity.MEDIUM: "warning",
    Severity.HIGH: "error",
    Severity.CRITICAL: "fatal",
}
# What our redaction looks through; the rest is ids, times and what the SDK says of itself.
_CONTENT = ("message", "logentry", "transaction", "exception", "contexts", "extra", "tags", "user", "request")
# The SDK brings a handler of its own to standard error, which would bypass the log and its redaction.
logging.getLogger("sentry_sdk.errors").handlers.clear()


class NotDeliveredError(ExternalServiceError):
    """Sentry did not take a report."""


class _Inline(Worker):
    """Sends where it is called: the reporter has a thread already, and wants to know what became of the report."""

    is_alive = True

    def kill(self) -> None:
        """There is nothing to end."""

    def full(self) -> bool:
        """Return False: nothing waits."""
        return False

    def submit(self, callback: Callable[[], Any]) -> bool:
        """Run it."""
        callback()
        return True


class _Transport(HttpTransport):
    """The SDK's, one report at a time, and it tells what it could not deliver."""

    TIMEOUT = SEND_SECONDS
    lost: str | None = None

    def _create_worker(self, _options: dict[str, Any]) -> Worker:
        return _Inline()

    def _get_pool_options(self) -> dict[str, Any]:
        # Who reports tries again itself; the pool would log a warning for each of its three attempts.
        return {**super()._get_pool_options(), "retries": False}

    def on_dropped_event(self, reason: str) -> None:
        """Note why a report was lost."""
        self.lost = reason


class SentryReporter:
    """Sends events.

    Args:
        dsn: Where to.
        identity: Who is speaking: service, environment, version.

    """

    def __init__(self, dsn: str, *, identity: Mapping[str, str]) -> None:
        self._client = Client(
            dsn=dsn,
            release=f"{identity['service']}@{identity['version']}",
            environment=identity["environment"],
            transport=_Transport,
            before_send=_redacted,
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            include_source_context=False,
            auto_session_tracking=False,
            enable_backpressure_handling=False,
            send_client_reports=False,
            max_breadcrumbs=0,
            debug=False,
            spotlight=False,
        )
        self._service = identity["service"]

    def report(self, report: ErrorReport) -> None:
        """Send a report.

        Raises:
            NotDeliveredError: Sentry could not be reached, or refused it.

        """
        transport = cast("_Transport", self._client.transport)
        transport.lost = None
        sent = self._client.capture_event(self._event(report))
        if sent is None or transport.lost is not None:
            msg = f"Sentry did not take the report: {transport.lost or 'the SDK dropped it'}"
            raise NotDeliveredError(msg)

    def _event(self, report: ErrorReport) -> "Event":
        context = dict(report.context)
        event: dict[str, Any] = {
            "event_id": report.id,
            "timestamp": report.timestamp,
            "level": LEVELS[report.severity],
            "logger": "app.errors",
            "fingerprint": [report.fingerprint],
            "exception": {"values": _values(report.exception)[::-1]},
            "tags": _tags(report),
            "extra": {**report.extra, "suppressed": report.suppressed},
            "contexts": {"report": context, **_trace(context)},
        }
        if "operation" in context:
            event["transaction"] = context["operation"]
        if context.get("user_id") is not None:
            event["user"] = {"id": context["user_id"]}
        return cast("Event", event)

    def close(self) -> None:
        """Close the connection."""
        self._client.close(timeout=0)


def _tags(report: ErrorReport) -> dict[str, Any]:
    """Return what is searched for."""
    named = {name: report.context.get(name) for name in ("request_id", "trace_id", "entity")}
    named |= {"code": report.code, "fingerprint": report.fingerprint}
    return {name: str(value) for name, value in named.items() if value is not None}


def _trace(context: Mapping[str, Any]) -> dict[str, Any]:
    ids = {name: context[name] for name in ("trace_id", "span_id") if name in context}
    # Sentry wants both or none.
    return {"trace": ids} if len(ids) == 2 else {}


def _values(causes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return an error, its causes, and the members of groups among them, as one list that says what belongs to what."""
    found: list[dict[str, Any]] = []

    def add(chain: list[dict[str, Any]], parent: int | None) -> None:
        for cause in chain:
            place = {"exception_id": len(found), "is_exception_group": "exceptions" in cause}
            above = {} if parent is None else {"parent_id": parent}
            parent = len(found)
            found.append({**_exception(cause), "mechanism": {"type": "chained", "handled": True, **place, **above}})
            for members in cause.get("exceptions", ()):
                add(members, parent)

    add(causes, None)
    return found


def _exception(cause: Mapping[str, Any]) -> dict[str, Any]:
    """Return one exception as Sentry has it."""
    module, _, name = str(cause["type"]).rpartition(".")
    frames = [
        {
            "abs_path": frame["file"],
            "filename": frame["file"].rpartition("site-packages/")[2],
            "lineno": frame["line"],
            "function": frame["function"],
            "in_app": is_own(frame["file"]),
        }
        for frame in cause["frames"]
    ]
    shown: dict[str, Any] = {"type": name, "value": cause["message"]}
    if frames:
        shown["stacktrace"] = {"frames": frames}
    return {**shown, "module": module} if module else shown


def _redacted(event: "Event", _hint: "Hint") -> "Event":
    """Return an event as it may leave: whatever the SDK or its options added passes our redaction too."""
    fields = cast("dict[str, Any]", event)
    fields.update({name: redact(fields[name]) for name in _CONTENT if name in fields})
    return event
