"""Where error reports go: the log, a file of JSON lines, a database table, Sentry."""

from typing import Protocol

from ...core.reporting import ErrorReport


class Reporter(Protocol):
    """A destination."""

    def report(self, report: ErrorReport) -> None:
        """Deliver a report; may block, and raises whatever went wrong."""

    def close(self) -> None:
        """Release what was opened."""
