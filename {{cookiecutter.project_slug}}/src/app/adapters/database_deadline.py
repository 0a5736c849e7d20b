"""Has SQLAlchemy's connections to PostgreSQL heed `statements_within` (`statement_deadline`)."""

import math
from collections.abc import Callable, Generator
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from ..core.database_limits import SHORTEST_CONNECT_SECONDS
from .statement_deadline import bounded, seconds_left


def bound_statements(engine: Engine) -> None:
    """Have an engine heed `statements_within`; other statements on it are as before.

    Args:
        engine: One for PostgreSQL that has no connection yet; of an asynchronous one its `sync_engine`.

    """
    event.listen(engine, "do_connect", _connecting)
    event.listen(engine, "connect", _connected)


def _connecting(_dialect: Any, _record: Any, _arguments: Any, options: dict[str, Any]) -> None:
    left = seconds_left()
    if left is None:
        return
    if left <= 0:
        msg = "no time is left to connect"
        raise TimeoutError(msg)
    options["connect_timeout"] = max(SHORTEST_CONNECT_SECONDS, math.ceil(left))


def _connected(_connection: Any, record: Any) -> None:
    connection = record.driver_connection
    plain: Callable[..., Any] = connection.wait

    def wait(exchange: Generator[Any, Any, Any], *arguments: Any, **options: Any) -> Any:
        return plain(bounded(exchange, connection), *arguments, **options)

    connection.wait = wait
