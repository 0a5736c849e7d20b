"""Statements that SQLAlchemy wrote once and that are sent as text.

What it does around each execution of a statement that it knows costs several times what the statement costs; for one
that every message or request brings it is done once.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.engine.interfaces import ExecutionContext
from sqlalchemy.sql import ClauseElement

_COMPOSED = {"app_composed": True}


class StatementText:
    """A statement that returns no rows, as one database understands it.

    Args:
        statement: The statement; each of its parameters has a name, and needs no conversion.
        dialect: What writes it.

    """

    __slots__ = ("_order", "text")

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self.text: str = compiled.string
        self._order: list[str] | None = compiled.positiontup

    def arguments(self, given: Mapping[str, Any]) -> Any:
        """Return parameters as the driver wants them.

        Args:
            given: The parameters by their names.

        """
        return dict(given) if self._order is None else tuple([given[name] for name in self._order])


def run_text(connection: Connection, statement: StatementText, given: Mapping[str, Any]) -> int:
    """Run a statement, and return how many rows it changed.

    Args:
        connection: Where.
        statement: What.
        given: Its parameters.

    """
    arguments = statement.arguments(given)
    return connection.exec_driver_sql(statement.text, arguments, execution_options=_COMPOSED).rowcount


def is_composed(context: ExecutionContext) -> bool:
    """Return whether a statement that is sent as text was written by SQLAlchemy.

    Args:
        context: Its execution.

    """
    return bool(context.execution_options.get("app_composed"))
