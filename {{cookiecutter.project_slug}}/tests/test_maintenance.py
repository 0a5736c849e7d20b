"""`python -m app.maintenance` does at once what is due."""

import asyncio
import json
from pathlib import Path

from sqlalchemy.engine import make_url

from app.adapters.database import Database
from app.adapters.idempotency import SqlIdempotencyStore
from app.core.idempotency import new_claim
from app.migrations import migrate

from .processes import run_python


async def leave_records(url: str) -> None:
    """Leave two records that are over and one that is not."""
    database = Database(make_url(url))
    store = SqlIdempotencyStore(database)
    for key, seconds in (("1", 0.01), ("2", 0.01), ("3", 60.0)):
        claim = new_claim(caller="ada", operation=(), key=key, fingerprint="f")
        await store.begin(claim, lease=seconds, ttl=seconds)
    await asyncio.sleep(0.05)
    await database.aclose()


def test_command(tmp_path: Path) -> None:
    """It deletes what is over and says how much that was; a second time there is nothing to do."""
    path = f"{tmp_path}/own.db"
    migrate(make_url(f"sqlite+aiosqlite:///{path}"))
    asyncio.run(leave_records(f"sqlite+aiosqlite:///{path}"))
    found = []
    for _ in range(2):
        ended = run_python("-m", "app.maintenance", DATABASE_URL=f"sqlite:///{path}", LOG__FORMAT="json")
        assert (ended.returncode, ended.stderr) == (0, "")
        found += [json.loads(line) for line in ended.stdout.splitlines()]
    assert [(line["event"], line["records"]) for line in found] == [
        ("idempotency.purged", 2),
        ("idempotency.purged", 0),
    ]


def test_failure(tmp_path: Path) -> None:
    """A database without its tables, and a wrong setting, are told, and the command fails."""
    ended = run_python("-m", "app.maintenance", DATABASE_URL=f"sqlite:///{tmp_path}/empty.db", LOG__FORMAT="json")
    assert (ended.returncode, ended.stderr) == (1, "")
    assert '"event":"maintenance.failed"' in ended.stdout
    wrong = run_python("-m", "app.maintenance", DATABASE_URL="nonsense")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("The settings are wrong, nothing was started.\n  DATABASE_URL: received 'nonsense';")
