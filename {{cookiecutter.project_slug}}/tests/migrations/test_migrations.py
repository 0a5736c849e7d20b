"""The migrations make the schema that the code expects, from any state and by any number of starters."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from app.migrations import BRANCHES, alembic_config, migrate

from ..databases import ENGINES, own_database
from ..processes import run_python, variables

TABLES = {"alembic_version", "error_reports", "idempotency_records", "orders", "outbox"}
if find_spec("app.orders.fulfilment"):
    TABLES.add("fulfilments")


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[URL]:
    """Return an empty database of each kind."""
    with own_database(request.param, tmp_path) as own:
        yield own


def tables(url: URL) -> set[str]:
    """Return the names of the tables in a database."""
    engine = create_engine(url.set(drivername=url.drivername.replace("+aiosqlite", "")))
    try:
        return set(inspect(engine).get_table_names())
    finally:
        engine.dispose()


def test_from_empty_to_the_newest(url: URL) -> None:
    """An empty database gets all tables, and a second run changes nothing."""
    migrate(url)
    assert tables(url) == TABLES
    migrate(url)
    assert tables(url) == TABLES


def test_models_equal_migrations(url: URL) -> None:
    """The tables that the code describes are those that the migrations make, indexes and types included."""
    migrate(url)
    command.check(alembic_config(url))


def test_down_and_up_again(url: URL) -> None:
    """Every migration can be undone, and done again."""
    migrate(url)
    command.downgrade(alembic_config(url), "base")
    assert tables(url) == {"alembic_version"}
    migrate(url)
    assert tables(url) == TABLES


@pytest.mark.parametrize("obstacle", ["idempotency_records", "error_reports", "outbox", "orders"])
def test_failed_migration_leaves_nothing(url: URL, obstacle: str) -> None:
    """A migration that fails half-way is undone as a whole."""
    engine = create_engine(url.set(drivername=url.drivername.replace("+aiosqlite", "")))
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {obstacle} (id INTEGER)"))
    engine.dispose()
    with pytest.raises(DBAPIError, match="already exists"):
        migrate(url)
    assert tables(url) == {obstacle}


def test_branches_are_independent(url: URL) -> None:
    """Each branch can be migrated without the other."""
    for branch, table in zip(BRANCHES, ("idempotency_records", "orders"), strict=True):
        command.upgrade(alembic_config(url), f"{branch}@head")
        assert table in tables(url)
        command.downgrade(alembic_config(url), f"{branch}@base")
        assert table not in tables(url)


RECORD = text(
    "INSERT INTO idempotency_records (key, fingerprint, owner, lease_until, expires_at)"
    " VALUES (:key, 'f', 'o', 1.5, 2.5)"
)


def test_records_of_the_release_before(url: URL) -> None:
    """Idempotency records outlive the migration, and processes of the release before can go on writing them."""
    command.upgrade(alembic_config(url), "core_0002")
    engine = create_engine(url.set(drivername=url.drivername.replace("+aiosqlite", "")))
    with engine.begin() as connection:
        connection.execute(RECORD, {"key": "before"})
    migrate(url)
    with engine.begin() as connection:
        connection.execute(RECORD, {"key": "after"})
        kept = connection.execute(text("SELECT key, lease_until, caller FROM idempotency_records ORDER BY key DESC"))
        assert kept.all() == [("before", 1.5, ""), ("after", 1.5, "")]
    engine.dispose()
    command.downgrade(alembic_config(url), "core@core_0002")
    migrate(url)


def test_one_head_per_branch(tmp_path: Path) -> None:
    """No branch has two newest revisions, which nobody could upgrade to."""
    with own_database("sqlite", tmp_path) as url:
        scripts = ScriptDirectory.from_config(alembic_config(url))
    heads = [scripts.get_revision(head) for head in scripts.get_heads()]
    assert sorted(label for head in heads for label in head.branch_labels) == sorted(BRANCHES)


REPLICA = """
import sys
from sqlalchemy.engine import make_url
from app.migrations import migrate
for line in sys.stdin:
    migrate(make_url(line.strip()))
    print("done", flush=True)
"""


@pytest.fixture(scope="module")
def replicas() -> Iterator[list[subprocess.Popen[str]]]:
    """Return processes that each migrate the databases whose addresses they read."""
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        started = [
            subprocess.Popen([sys.executable, "-c", REPLICA], env=variables(), stdin=pipe, stdout=pipe, text=True)
            for _ in range(2)
        ]
        for replica in started:
            stack.enter_context(replica)
            stack.callback(replica.kill)
        yield started


@pytest.mark.parametrize("engine", ENGINES)
def test_starting_together(replicas: list[subprocess.Popen[str]], engine: str, tmp_path: Path) -> None:
    """Replicas that start at the same moment on one empty database all succeed, and the work is done once."""
    for attempt in range(10):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        with own_database(engine, folder) as url:
            for replica in replicas:
                print(url.render_as_string(hide_password=False), file=replica.stdin, flush=True)
            assert [replica.stdout.readline() for replica in replicas if replica.stdout] == ["done\n"] * 2
            assert tables(url) == TABLES


def test_command(tmp_path: Path) -> None:
    """The command says what it did, and with a wrong setting why it did nothing."""
    ended = run_python("-m", "app.migrations", DATABASE_URL=f"sqlite:///{tmp_path}/x.db", LOG__FORMAT="json")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert '"event":"database.migrated"' in ended.stdout
    wrong = run_python("-m", "app.migrations", DATABASE_URL="nonsense")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("The settings are wrong, nothing was started.\n  DATABASE_URL: received 'nonsense';")


def test_percent_sign_in_the_address(tmp_path: Path) -> None:
    """A folder whose name has a percent sign, which configuration files treat as their own, is no obstacle."""
    folder = tmp_path / "100%"
    folder.mkdir()
    with own_database("sqlite", folder) as url:
        migrate(url)
    assert (folder / "own.db").exists()


def test_next_revision(tmp_path: Path) -> None:
    """The documented command writes the next revision of the owner's branch from a change to the tables."""
    project = Path(__file__).parents[2]
    shutil.copytree(project / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(project / "pyproject.toml", tmp_path)
    tables = tmp_path / "src/app/orders/tables.py"
    tables.write_text(
        tables.read_text().replace('    Column("sku"', '    Column("note", String(9)),\n    Column("sku"')
    )
    place = ["--head", "orders@head", "--version-path", "src/app/migrations/orders"]
    revise = ["revision", "--autogenerate", *place, "-m", "note"]
    own = {"PYTHONPATH": str(tmp_path / "src"), "DATABASE_URL": f"sqlite:///{tmp_path}/x.db"}
    for command_line in (["app.migrations"], ["alembic", *revise]):
        ended = subprocess.run(
            [sys.executable, "-m", *command_line], cwd=tmp_path, env=variables(**own), capture_output=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
    (revision,) = (tmp_path / "src/app/migrations/orders").glob("*_note.py")
    assert "add_column(sa.Column('note'" in revision.read_text()
