"""Place orders from outside, and reach under the service where the API has no handle."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .backends import Connection
from .server import Service, new_id
from .wire import Response

EMAIL = "ada.lovelace@example.com"


def order(**changes: Any) -> dict[str, Any]:
    """Return the body of a valid order with some members changed."""
    return {"sku": new_id("sku"), "quantity": 2, "customer_email": EMAIL} | changes


def encoded(**changes: Any) -> bytes:
    """Return the bytes of a valid order."""
    return json.dumps(order(**changes)).encode()


def place(service: Service, *headers: tuple[str, str], **changes: Any) -> Response:
    """Place an order."""
    return service.post("/orders", order(**changes), *headers)


def placed(service: Service, **changes: Any) -> dict[str, Any]:
    """Place an order that must succeed, and return it."""
    response = place(service, **changes)
    assert response.status == 201, response
    created: dict[str, Any] = response.json()
    return created


def with_sku(service: Service, sku: str) -> list[dict[str, Any]]:
    """Return the latest orders of one *sku*: how often an operation took effect."""
    items = service.get("/orders?limit=100").json()["items"]
    return [item for item in items if item["sku"] == sku]


@contextmanager
def database(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the service's SQLite file beside it, each statement on its own."""
    connection = sqlite3.connect(path, timeout=10, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


def orders_table(connection: sqlite3.Connection) -> str:
    """Return the name of the table that holds the orders: the one with a customer's address."""
    return next(name for name in _tables(connection) if "customer_email" in _columns(connection, name))


def idempotency_tables(connection: sqlite3.Connection) -> list[str]:
    """Return the names of the tables that hold idempotency keys."""
    return [name for name in _tables(connection) if "idempotency" in name]


def _tables(connection: sqlite3.Connection) -> list[str]:
    rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    return [name for (name,) in rows]


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def on_postgresql(connection: Connection, column: str) -> str:
    """Return the name of the table that has *column*, on PostgreSQL."""
    query = (
        "SELECT table_name FROM information_schema.columns WHERE column_name = %s AND table_schema = current_schema()"
    )
    ((name,),) = connection.execute(query, [column]).fetchall()
    return str(name)
