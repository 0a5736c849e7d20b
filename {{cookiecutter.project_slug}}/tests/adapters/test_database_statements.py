"""What SQLAlchemy writes is understood."""

import pytest
from sqlalchemy import Column, Integer, MetaData, Table, delete, extract, insert, select, update
from sqlalchemy.engine import make_url
from sqlalchemy.sql import ClauseElement

from app.core.statements import statement_table

ORDERS = Table("orders", MetaData(), Column("id", Integer), Column("from", Integer))
DIALECT = make_url("postgresql+psycopg://").get_dialect()()
ODD = Table("Odd name", MetaData(), Column("id", Integer))


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


def test_table_behind_a_function() -> None:
    """A FROM within a function is no table's."""
    year = extract("year", ORDERS.c.id)
    assert statement_table(str(select(year).select_from(ORDERS).compile(dialect=DIALECT))) == "orders"
