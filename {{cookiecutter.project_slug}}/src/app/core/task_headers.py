"""What a task's message says of its sender: the position in its trace and the ids of its work, as headers.

They are read as strictly as those of a request. Whatever a message carries, and when it carries nothing, its task has
ids: those that its id gives, so that everything that is said of one message, in whichever process, says the same.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .tracing import RANDOM_FLAG, Trace, accept_correlation_id, new_span_id, new_trace_id, read_trace

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"
REQUEST_ID = "x-request-id"
CORRELATION_ID = "x-correlation-id"
USER_ID = "x-user-id"
# When the message was sent, in seconds since 1970.
SENT_AT = "x-sent-at"
_NAMES = {"request_id": REQUEST_ID, "correlation_id": CORRELATION_ID, "user_id": USER_ID}
_USER_ID = re.compile(r"[\x21-\x7e]{1,128}")
_HEX = re.compile(r"(?!0{32})[0-9a-f]{32}")


class Sender(NamedTuple):
    """What a message says of its sender.

    Attributes:
        parent: Its position in its trace; None when the task begins one.
        trace: The task's own position, which is not marked as recorded or not yet.
        request_id: The request that the task is a part of.
        correlation_id: The work that the request is a part of.
        user_id: On whose behalf the sender worked.

    """

    parent: Trace | None
    trace: Trace
    request_id: str
    correlation_id: str | None
    user_id: str | None


def task_headers(context: Mapping[str, object], trace: Trace | None) -> dict[str, str]:
    """Return the headers of a message.

    Args:
        context: The fields of the sender's context; what would not be accepted is left out.
        trace: The sender's position, if it has one.

    """
    headers = trace.headers() if trace is not None else {}
    for field, name in _NAMES.items():
        value = context.get(field)
        if value is not None and (accepted := _accepted(name, str(value))) is not None:
            headers[name] = accepted
    return headers


def read_task_headers(headers: Mapping[str, Any], task_id: str) -> Sender:
    """Return what a message says of its sender; what is malformed counts as not said.

    Args:
        headers: The message's headers, whatever they hold.
        task_id: The task's id, which gives it ids of its own when the message has none.

    """
    traceparent, tracestate = headers.get(TRACEPARENT), headers.get(TRACESTATE)
    parent = None
    if isinstance(traceparent, str):
        parent = read_trace((traceparent,), (tracestate,) if isinstance(tracestate, str) else ())
    if parent is None:
        trace = Trace(_trace_id_of(task_id), new_span_id(), RANDOM_FLAG)
    else:
        trace = Trace(parent.trace_id, new_span_id(), parent.flags, parent.state)
    request_id = _accepted(REQUEST_ID, headers.get(REQUEST_ID)) or _accepted(REQUEST_ID, task_id) or trace.trace_id
    correlation_id = _accepted(CORRELATION_ID, headers.get(CORRELATION_ID)) if CORRELATION_ID in headers else None
    user_id = _accepted(USER_ID, headers.get(USER_ID)) if USER_ID in headers else None
    return Sender(parent, trace, request_id, correlation_id, user_id)


def waited(headers: Mapping[str, Any], now: float) -> float | None:
    """Return for how many seconds a message was on its way; None when it does not say when it was sent.

    Args:
        headers: The message's headers.
        now: The time, in seconds since 1970.

    """
    sent = headers.get(SENT_AT)
    # Neither text nor NaN; a clock that is behind the sender's makes no time negative.
    if sent.__class__ is not float or not 0 < sent < float("inf"):
        return None
    return float(max(0.0, now - sent))


def _accepted(name: str, value: object) -> str | None:
    if not isinstance(value, str):
        return None
    if name == USER_ID:
        return value if _USER_ID.fullmatch(value) else None
    return accept_correlation_id((value,))


def _trace_id_of(task_id: object) -> str:
    """Return the trace of a task whose sender has none: the same one at each delivery, where its id is a UUID."""
    digits = task_id.replace("-", "") if isinstance(task_id, str) else ""
    return digits if _HEX.fullmatch(digits) else new_trace_id()
