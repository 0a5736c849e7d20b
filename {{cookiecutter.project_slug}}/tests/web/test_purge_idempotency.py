"""`purge_idempotency` does at once what is due."""

import json
import time
from pathlib import Path
from typing import Any

from app.core.idempotency import new_claim
from app.web.idempotency_store import OrmIdempotencyStore

from ..processes import run_python
from .databases import create_tables, named

PURGE = ("-m", "app.web.manage", "purge_idempotency")


def test_command(tmp_path: Path, django_db_blocker: Any) -> None:
    """It deletes what is over and says how much that was; a second time there is nothing to do."""
    url = f"sqlite:///{tmp_path}/own.db"
    with named(url, django_db_blocker) as name:
        create_tables(name, "service.IdempotencyRecord")
        for key, seconds in (("1", 0.01), ("2", 0.01), ("3", 60.0)):
            claim = new_claim(caller="ada", operation=(), key=key, fingerprint="f")
            OrmIdempotencyStore(name).begin(claim, lease=seconds, ttl=seconds)
    time.sleep(0.05)
    found: list[Any] = []
    for _ in range(2):
        ended = run_python(*PURGE, DATABASE_URL=url, LOG__FORMAT="json")
        assert (ended.returncode, ended.stderr) == (0, "")
        found += [json.loads(line) for line in ended.stdout.splitlines()]
    assert [(line["event"], line["records"]) for line in found] == [
        ("idempotency.purged", 2),
        ("idempotency.purged", 0),
    ]


def test_failure(tmp_path: Path) -> None:
    """A database without its tables, and a wrong setting, are told, and the command fails."""
    ended = run_python(*PURGE, DATABASE_URL=f"sqlite:///{tmp_path}/empty.db", LOG__FORMAT="json")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert '"event":"maintenance.failed"' in ended.stdout
    wrong = run_python(*PURGE, DATABASE_URL="nonsense")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("The settings are wrong, nothing was started.\n  DATABASE_URL: received 'nonsense';")
