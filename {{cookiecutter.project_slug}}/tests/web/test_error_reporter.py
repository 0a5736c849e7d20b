"""Reports as rows, one per fault, on each kind of database, whatever became of the transaction that failed."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, connections, transaction

from app.core.errors import DatabaseError as OurDatabaseError
from app.settings import Settings
from app.settings_groups import ErrorSettings
from app.web.bootstrap import bootstrap
from app.web.configuration import DjangoSettings
from app.web.error_reporter import OrmReporter
from app.web.models import ErrorReport

from ..reports import a_report, raised
from .databases import ENGINES, create_tables, named, own_url, query


@pytest.fixture(params=ENGINES)
def name(request: pytest.FixtureRequest, tmp_path: Path, django_db_blocker: Any) -> Iterator[str]:
    """Return the name of a database of each kind, with the table of reports."""
    with own_url(request.param, tmp_path) as url, named(url, django_db_blocker) as found:
        create_tables(found, "service.ErrorReport")
        yield found


@pytest.fixture
def reporter(name: str) -> OrmReporter:
    """Return a reporter to the database."""
    return OrmReporter(version="1.2.3", using=name)


def rows(name: str) -> list[ErrorReport]:
    """Return what the table holds, the first fault first."""
    return list(ErrorReport.objects.using(name).order_by("first_seen"))


def test_one_row_per_fault(name: str, reporter: OrmReporter) -> None:
    """A fault is one row: how often, first and last time, and what the last occurrence said."""
    faults = [raised(OurDatabaseError("first")), raised(OurDatabaseError("second"))]
    reports = [a_report(faults[0]), a_report(faults[1], suppressed=7), a_report(raised(KeyError("x")))]
    for report in reports:
        reporter.report(report)
    one, other = rows(name)
    assert (one.error_type, one.message, one.occurrences) == ("app.core.errors.DatabaseError", "second", 9)
    assert (one.code, one.severity, one.version) == ("DATABASE_ERROR", reports[0].severity.value, "1.2.3")
    assert (one.first_seen, one.last_seen) == (reports[0].timestamp, reports[1].timestamp)
    assert json.loads(one.last_report)["report_id"] == reports[1].id
    assert (other.error_type, other.occurrences) == ("KeyError", 1)
    assert datetime.now(UTC) - one.last_seen < timedelta(minutes=1)


def test_text_that_no_database_takes(name: str, reporter: OrmReporter) -> None:
    """NUL and lone surrogates are written as what they are."""
    reporter.report(a_report(raised(ValueError("a\x00b\ud800"))))
    assert rows(name)[0].message == "a\\x00b\\ud800"


@pytest.mark.parametrize("name", ["postgresql"], indirect=True)
def test_transaction_that_is_undone(name: str, reporter: OrmReporter) -> None:
    """A report lasts although the transaction around it is undone."""
    with transaction.atomic(using=name):
        reporter.report(a_report(raised(KeyError("x"))))
        connections[name].set_rollback(True)
    assert len(rows(name)) == 1


def test_database_that_fails(name: str, reporter: OrmReporter) -> None:
    """A database without the table is an error of the reporter, which others count."""
    query(name, "DROP TABLE error_reports")
    with pytest.raises(DatabaseError):
        reporter.report(a_report())


@pytest.mark.django_db(transaction=True)
def test_settings_choose(settings: Settings) -> None:
    """The settings choose the table, and reports arrive there."""
    chosen = settings.model_copy(update={"errors": ErrorSettings(reporters=("database",))})
    built = bootstrap(DjangoSettings(**chosen.model_dump()))
    report = a_report(raised(KeyError("x")))
    for worker in built.reporting._workers:
        worker.put(report)
    built.close()
    assert ErrorReport.objects.get().error_type == "KeyError"
