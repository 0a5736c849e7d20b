"""What is said of a statement is one of few words, whatever it says."""

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, delete, insert, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.sql import ClauseElement

from app.core.statements import statement_kind, statement_table

ORDERS = Table("orders", MetaData(), Column("id", Integer), Column("from", Integer))
ODD = Table("Odd name", MetaData(), Column("id", Integer))


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT 1", "SELECT"),
        ("\n  update t set a = 1", "UPDATE"),
        ("WITH x AS (SELECT 1) SELECT * FROM x", "WITH"),
        ("BEGIN IMMEDIATE", "BEGIN"),
        ("VACUUM", "OTHER"),
        ("SELECTED secret", "OTHER"),
        ("-- why\nSELECT 1", "OTHER"),
        ("", "OTHER"),
        ("  ", "OTHER"),
    ],
)
def test_kind_of_a_statement(statement: str, kind: str) -> None:
    """A statement's kind is one of a few words, whatever it says."""
    assert statement_kind(statement) == kind


@pytest.mark.parametrize("driver", ["sqlite://", "postgresql+psycopg://"])
def test_table_of_a_statement(driver: str) -> None:
    """The first table of a statement that SQLAlchemy writes is found, quoted or not."""
    dialect = make_url(driver).get_dialect()()

    def table(statement: ClauseElement) -> str:
        return statement_table(str(statement.compile(dialect=dialect)))

    written = [select(ORDERS), insert(ORDERS), update(ORDERS).values(id=1), delete(ORDERS), select(ORDERS.c["from"])]
    assert [table(statement) for statement in written] == ["orders"] * 5
    assert table(select(ODD)) == "Odd name"
    assert table(select(1)) == ""


def test_very_long_statement() -> None:
    """Only the beginning of a statement is looked at."""
    assert statement_table("SELECT " + "a, " * 10_000 + " FROM orders") == ""
