"""A database that is a file is brought up to date when a process starts."""

from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest

from app.migrations import migrate_embedded
from app.settings import ConfigurationError, Settings


def test_a_file_is_brought_up_to_date(settings: Settings, tmp_path: Path) -> None:
    """It is made where there is none."""
    migrate_embedded(settings)
    with closing(connect(tmp_path / "test.db")) as database:
        assert database.execute("SELECT count(*) FROM orders").fetchone() == (0,)


def test_a_server_is_left_alone(settings: Settings) -> None:
    """There it is a step of the deployment: nobody listens here, and nobody is asked."""
    migrate_embedded(settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"}))


def test_a_file_that_cannot_be_written_is_a_wrong_setting(settings: Settings) -> None:
    """The message says which one, and what is allowed."""
    wrong = settings.model_copy(update={"database_url": "sqlite:////proc/nowhere.db"})
    with pytest.raises(ConfigurationError, match=r"DATABASE_URL: received 'sqlite:////proc/nowhere.db' .*; allowed: a"):
        migrate_embedded(wrong)
