"""What a message says of its sender is read as strictly as a request's headers, and always gives ids."""

import math
from typing import Any

import pytest

from app.core.task_headers import read_task_headers, task_headers, waited
from app.core.tracing import Trace

TRACE = Trace("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", 3, "foo@=1")
TASK_ID = "7f8b5a4e-3c1d-4d53-9a52-0a8d6a1b2c3d"
IDS = {"request_id": "r-1", "correlation_id": "c-1", "user_id": "u|7"}


def test_there_and_back() -> None:
    """What is sent is what arrives: the same trace one step further, and the same ids."""
    found = read_task_headers(task_headers(IDS, TRACE), TASK_ID)
    assert found.parent == TRACE
    assert found.trace == Trace(TRACE.trace_id, found.trace.span_id, TRACE.flags, TRACE.state)
    assert found.trace.span_id != TRACE.span_id
    assert (found.request_id, found.correlation_id, found.user_id) == ("r-1", "c-1", "u|7")


def test_sender_without_anything() -> None:
    """Outside of any work nothing is sent."""
    assert task_headers({}, None) == {}


@pytest.mark.parametrize("value", ["", "a b", "x" * 129, "a\nb", "é"])
def test_what_would_not_be_accepted_is_not_sent(value: str) -> None:
    """An id that the worker would refuse is left out."""
    assert task_headers(dict.fromkeys(IDS, value), None) == {}


@pytest.mark.parametrize("value", [None, 7, True, [], {"a": 1}, b"x", "", "a b", "x" * 129, "a\nb", "é", "00-0-0-0"])
def test_hostile_headers(value: Any) -> None:
    """What is malformed counts as not said; the task has ids all the same."""
    names = ("traceparent", "tracestate", "x-request-id", "x-correlation-id", "x-user-id", "x-sent-at")
    headers = dict.fromkeys(names, value)
    found = read_task_headers(headers, TASK_ID)
    assert found.parent is None
    assert found.request_id in (TASK_ID, "00-0-0-0")
    assert found.user_id in (None, "00-0-0-0")
    assert waited(headers, 10.0) is None


def test_each_delivery_has_the_same_ids() -> None:
    """A message without ids has those that its own id gives, so that two processes tell of it alike."""
    first, second = (read_task_headers({}, TASK_ID) for _ in range(2))
    assert first.request_id == second.request_id == TASK_ID
    assert first.trace.trace_id == second.trace.trace_id == TASK_ID.replace("-", "")
    assert first.trace.span_id != second.trace.span_id


@pytest.mark.parametrize("task_id", ["", "my task", "0" * 32, "é" * 32])
def test_id_of_another_shape(task_id: str) -> None:
    """A task's id that is no UUID gives a new trace."""
    found = read_task_headers({}, task_id)
    assert len(found.trace.trace_id) == 32
    assert found.trace.trace_id != "0" * 32
    assert found.request_id


@pytest.mark.parametrize(("sent", "seconds"), [(7.5, 2.5), (11.0, 0.0), (-1.0, None), (math.nan, None)])
def test_waited(sent: float, seconds: float | None) -> None:
    """How long a message was on its way is never negative, and unknown when it cannot be true."""
    assert waited({"x-sent-at": sent}, 10.0) == seconds
