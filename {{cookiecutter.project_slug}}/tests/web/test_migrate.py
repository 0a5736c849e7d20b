"""`migrate` has no time limit, and several at once do it once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from ..processes import run_python
from .databases import named, own_url, query

MIGRATE = ("-m", "app.web.manage", "migrate")


def test_at_once(tmp_path: Path) -> None:
    """Replicas that start together all find the current schema."""
    with own_url("postgresql", tmp_path) as url, ThreadPoolExecutor(3) as pool:
        ended = list(pool.map(lambda _: run_python(*MIGRATE, DATABASE_URL=url), range(3)))
    assert [one.returncode for one in ended] == [0, 0, 0], [one.stderr for one in ended]


def test_without_limits(tmp_path: Path, django_db_blocker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs nothing is limited; the connection goes to nobody afterwards."""
    seen: list[str] = []
    migrate = MigrationExecutor.migrate

    def watched(self: MigrationExecutor, *arguments: Any, **options: Any) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute("SHOW statement_timeout")
            seen.append(cursor.fetchone()[0])
        return migrate(self, *arguments, **options)

    monkeypatch.setattr(MigrationExecutor, "migrate", watched)
    with own_url("postgresql", tmp_path) as url, named(url, django_db_blocker) as name:
        call_command("migrate", database=name, verbosity=0, interactive=False)
        assert seen == ["0"]
        assert query(name, "SHOW statement_timeout") == [("30s",)]
        connections[name].close()
