"""Error reports as lines of the log: as loud as the error is severe."""

from ...core.errors import Severity
from ...core.logging import Logger, get_logger
from ...core.reporting import ErrorReport

log = get_logger("app.errors")
LEVELS = {
    Severity.LOW: Logger.info,
    Severity.MEDIUM: Logger.warning,
    Severity.HIGH: Logger.error,
    Severity.CRITICAL: Logger.critical,
}


class LogReporter:
    """Writes a line `error.reported`; logging has a queue of its own, so it never waits."""

    def report(self, report: ErrorReport) -> None:
        """Write the line."""
        fields = report.document()
        # The report's own fields win: one of the caller's that is called `message` must not hide the message.
        shown = {**fields.pop("extra"), **fields.pop("context"), **fields}
        LEVELS[report.severity](log, "error.reported", **shown)

    def close(self) -> None:
        """Nothing is open."""
