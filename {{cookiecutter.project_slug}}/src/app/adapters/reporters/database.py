"""Error reports as rows of the table `error_reports`: one per fault, with how often and when it came.

A row per occurrence would grow without end; single occurrences are in the log. Each report is one short transaction on
a connection of its own, never inside the one that failed.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, String, Table, Text, create_engine
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Engine
from sqlalchemy.pool import NullPool

from ...core.database_limits import BUSY_SECONDS, SHORTEST_CONNECT_SECONDS
from ...core.logging import to_json
from ...core.reporting import ErrorReport
from ..database import new_metadata

metadata = new_metadata()
error_reports = Table(
    "error_reports",
    metadata,
    Column("fingerprint", String(32), primary_key=True),
    Column("error_type", String(255), nullable=False),
    Column("code", String(64), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("occurrences", BigInteger, nullable=False),
    Column("first_seen", DateTime(timezone=True), nullable=False),
    Column("last_seen", DateTime(timezone=True), nullable=False, index=True),
    Column("version", String(64), nullable=False),
    Column("last_report", Text, nullable=False),
)
# What the newest occurrence says; the fingerprint and the first time stay.
_NEWEST = ("error_type", "code", "severity", "message", "last_seen", "version", "last_report")


class DatabaseReporter:
    """Writes to the service's own database.

    Args:
        url: Where it is, with whichever driver.
        version: The service's version, to see in which one a fault came last.

    """

    def __init__(self, url: URL, *, version: str) -> None:
        self._engine = _engine(url)
        self._version = version
        self._insert = postgresql.insert if url.get_backend_name() == "postgresql" else sqlite.insert

    def report(self, report: ErrorReport) -> None:
        """Count an occurrence, and those that the cap held back, in one statement.

        Raises:
            SQLAlchemyError: The database failed.

        """
        with self._engine.begin() as connection:
            connection.execute(self._upsert(report))

    def _upsert(self, report: ErrorReport) -> Any:
        insert = self._insert(error_reports).values(
            fingerprint=report.fingerprint,
            error_type=_text(report.error_type)[:255],
            code=_text(report.code)[:64],
            severity=report.severity.value,
            message=_text(report.message),
            occurrences=1 + report.suppressed,
            first_seen=report.timestamp,
            last_seen=report.timestamp,
            version=self._version,
            last_report=_text(to_json(report.document())),
        )
        new = insert.excluded
        changes = {name: new[name] for name in _NEWEST}
        return insert.on_conflict_do_update(
            index_elements=[error_reports.c.fingerprint],
            set_={**changes, "occurrences": error_reports.c.occurrences + new.occurrences},
        )

    def close(self) -> None:
        """Nothing stays connected between two reports."""
        self._engine.dispose()


def _engine(url: URL) -> Engine:
    # A fault is rare and the thread its own: no connection waits for the next one, or is shared over a fork.
    options: dict[str, Any] = {"hide_parameters": True, "poolclass": NullPool}
    if url.get_backend_name() == "postgresql":
        return create_engine(url, connect_args={"connect_timeout": SHORTEST_CONNECT_SECONDS}, **options)
    return create_engine(url.set(drivername="sqlite"), connect_args={"timeout": BUSY_SECONDS}, **options)


def _text(value: str) -> str:
    """Return a text as every database takes it: without NUL and lone surrogates."""
    return value.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
