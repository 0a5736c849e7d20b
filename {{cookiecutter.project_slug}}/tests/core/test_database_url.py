"""The parts of a database's address."""

import pytest

from app.core.database_url import ALLOWED, DatabaseUrl, read_database_url


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("sqlite:///var/app.db", DatabaseUrl("sqlite", "var/app.db")),
        ("sqlite:////srv/app.db", DatabaseUrl("sqlite", "/srv/app.db")),
        ("sqlite+aiosqlite:///C:\\app.db", DatabaseUrl("sqlite", "C:\\app.db")),
        ("postgresql://db/app", DatabaseUrl("postgresql", "app", host="db")),
        ("postgresql+psycopg://me@db:5433/app", DatabaseUrl("postgresql", "app", "me", host="db", port=5433)),
        ("postgresql://me:p%40%3A@[::1]:5432/app", DatabaseUrl("postgresql", "app", "me", "p@:", "::1", 5432)),
        (
            "postgresql:///app?host=/run/pg&sslmode=require",
            DatabaseUrl("postgresql", "app", options=(("host", "/run/pg"), ("sslmode", "require"))),
        ),
    ],
)
def test_parts(text: str, parts: DatabaseUrl) -> None:
    """Each part is where it belongs, without its percent signs."""
    assert read_database_url(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "mysql://db/app",
        "postgresql://db:port/app",
        "postgresql+asyncpg://db/app",
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite://app.db",
        "postgresql:db",
    ],
)
def test_refused(text: str) -> None:
    """What is no address of a database that can be used is refused with what is allowed."""
    with pytest.raises(ValueError, match=r"^allowed: sqlite:///<path> or postgresql://") as refused:
        read_database_url(text)
    assert str(refused.value) == ALLOWED
