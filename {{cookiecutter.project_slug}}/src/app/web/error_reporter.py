"""Error reports as rows of the table `error_reports`: one per fault, with how often and when it came.

A row per occurrence would grow without end; single occurrences are in the log. Each report is one statement on a
connection of its own, never inside the transaction that failed.
"""

from contextlib import closing
from datetime import datetime
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..core.logging import to_json
from ..core.reporting import ErrorReport as Report

# What the newest occurrence says; the fingerprint and the first time stay.
_NEWEST = ("error_type", "code", "severity", "message", "last_seen", "version", "last_report")


class OrmReporter:
    """Writes to the service's own database.

    Args:
        version: The service's version, to see in which one a fault came last.
        using: The database's name in Django's settings.

    """

    def __init__(self, *, version: str, using: str = "default") -> None:
        self._version = version
        self._using = using

    def report(self, report: Report) -> None:
        """Count an occurrence, and those that the cap held back, in one statement.

        Raises:
            django.db.Error: The database failed.

        """
        # Faults are rare: no connection waits for the next one.
        with closing(connections[self._using].copy()) as connection, connection.cursor() as cursor:
            values = self._values(report, connection)
            cursor.execute(_upsert(list(values)), list(values.values()))

    def _values(self, report: Report, connection: BaseDatabaseWrapper) -> dict[str, Any]:
        def moment(value: datetime) -> Any:
            return connection.ops.adapt_datetimefield_value(value)

        return {
            "fingerprint": report.fingerprint,
            "error_type": _text(report.error_type)[:255],
            "code": _text(report.code)[:64],
            "severity": report.severity.value,
            "message": _text(report.message),
            "occurrences": 1 + report.suppressed,
            "first_seen": moment(report.timestamp),
            "last_seen": moment(report.timestamp),
            "version": self._version,
            "last_report": _text(to_json(report.document())),
        }

    def close(self) -> None:
        """Nothing stays connected between two reports."""


def _upsert(names: list[str]) -> str:
    changes = ", ".join(f"{name} = excluded.{name}" for name in _NEWEST)
    return (
        f'INSERT INTO "error_reports" ({", ".join(names)}) VALUES ({", ".join(["%s"] * len(names))}) '  # noqa: S608 -- names of columns
        f"ON CONFLICT (fingerprint) DO UPDATE SET {changes}, "
        'occurrences = "error_reports".occurrences + excluded.occurrences'
    )


def _text(value: str) -> str:
    """Return a text as every database takes it: without NUL and lone surrogates."""
    return value.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
