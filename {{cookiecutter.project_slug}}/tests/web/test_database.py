"""Django's `DATABASES` say what the service's settings say."""

from pathlib import Path
from typing import Any

import pytest

from app.settings_groups import DatabaseSettings
from app.web.configuration import DjangoSettings, WebSettings
from app.web.database import databases

POSTGRESQL = "postgresql://ada:s%40fe@db.example:5433/shop"


def default(url: str, server: Any = "gthread", **limits: Any) -> dict[str, Any]:
    """Return the settings of the default database."""
    settings = DjangoSettings(database_url=url, database=DatabaseSettings(**limits), web=WebSettings(server=server))
    return databases(settings)["default"]


def test_address() -> None:
    """The parts of the address are where Django looks for them, as plain text."""
    found = default(POSTGRESQL)
    names = ("NAME", "USER", "PASSWORD", "HOST", "PORT")
    assert [found[name] for name in names] == ["shop", "ada", "s@fe", "db.example", "5433"]


def test_limits() -> None:
    """PostgreSQL is told how long what may take, and the pool how many and how long."""
    found = default(
        POSTGRESQL, pool_size=2, pool_overflow=3, pool_timeout=4, connect_timeout=5, statement_timeout=6,
        lock_timeout=7, idle_transaction_timeout=0, tcp_timeout=9,
    )["OPTIONS"]  # fmt: skip
    assert found["pool"] == {"min_size": 2, "max_size": 5, "timeout": 4, "check_timeout": 5}
    assert found["options"] == "-c statement_timeout=6000 -c lock_timeout=7000"
    assert (found["connect_timeout"], found["tcp_user_timeout"], found["keepalives_idle"]) == (5, 9000, 9)


def test_what_the_address_says_itself() -> None:
    """What the address says of the driver and of the server wins."""
    found = default(f"{POSTGRESQL}?sslmode=require&connect_timeout=9&options=-c%20statement_timeout%3D1")["OPTIONS"]
    assert (found["sslmode"], found["connect_timeout"]) == ("require", "9")
    assert found["options"].endswith("-c statement_timeout=1")


def test_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is known by its absolute path, and waits for other writers as long as the settings say."""
    monkeypatch.chdir(tmp_path)
    found = default("sqlite:///var/app.db", lock_timeout=3)
    assert found["NAME"] == f"{tmp_path}/var/app.db"
    assert found["OPTIONS"] == {"timeout": 3, "transaction_mode": "IMMEDIATE"}
    assert default("sqlite:///var/app.db", lock_timeout=0)["OPTIONS"]["timeout"] == 5
    assert found["TEST"]["NAME"] != ":memory:"


@pytest.mark.parametrize(("server", "age"), [("gthread", None), ("asgi", 0), ("uvicorn", 0)])
def test_connections_end_with_their_thread(server: str, age: int | None) -> None:
    """A file stays open where threads serve many requests, not where each has one of its own."""
    assert default("sqlite:///var/app.db", server)["CONN_MAX_AGE"] == age
    assert "CONN_MAX_AGE" not in default(POSTGRESQL, server)
