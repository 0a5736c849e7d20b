"""Errors and reports for tests, and a reporter that keeps what it gets."""

import threading
from collections.abc import Callable
from typing import Any

from app.core.reporting import ErrorContext, ErrorReport, build_report, fingerprint_of

PATIENCE = 20.0


def raised(error: Exception) -> Exception:
    """Return an error as a caller catches it, with frames."""
    return caught(_raise, error)


def caught(function: Callable[..., Any], *arguments: Any) -> Exception:
    """Return what a function raises."""
    try:
        function(*arguments)
    except Exception as error:  # noqa: BLE001 -- whatever it is, it is what was asked for
        return error
    raise AssertionError


def _raise(error: Exception) -> None:
    raise error


def a_report(error: Exception | None = None, *, suppressed: int = 0, **fields: Any) -> ErrorReport:
    """Return a report.

    Args:
        error: What was raised.
        suppressed: How many were held back before.
        fields: The context.

    """
    error = error or raised(RuntimeError("broken"))
    context = ErrorContext().with_fields(fields)
    return build_report(error, context, fingerprint=fingerprint_of(error), suppressed=suppressed)


class Collected:
    """A reporter that keeps reports, and can be blocked or fail.

    Args:
        on_report: Called with each report before it is kept.

    """

    def __init__(self, on_report: Callable[[ErrorReport], None] | None = None) -> None:
        self.reports: list[ErrorReport] = []
        self.open = threading.Event()
        self.open.set()
        self.failures = 0
        self.closed = 0
        self.threads: set[str] = set()
        self._on_report = on_report

    def report(self, report: ErrorReport) -> None:
        """Keep a report, when it is open."""
        self.open.wait(PATIENCE)
        self.threads.add(threading.current_thread().name)
        if self._on_report is not None:
            self._on_report(report)
        if self.failures:
            self.failures -= 1
            msg = "the destination is away"
            raise OSError(msg)
        self.reports.append(report)

    def close(self) -> None:
        """Count it."""
        self.closed += 1
