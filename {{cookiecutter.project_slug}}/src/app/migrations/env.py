"""What Alembic runs: one connection, one transaction, and on PostgreSQL one migration at a time."""

import pkgutil
from importlib import import_module

from alembic import context
from sqlalchemy import MetaData, text
from sqlalchemy.engine import Connection

import app.orders
from app.adapters.database import sync_engine
from app.adapters.database_connection import database_address
from app.adapters.idempotency import metadata as core_metadata
from app.adapters.outbox import metadata as outbox_metadata
from app.adapters.reporters.database import metadata as errors_metadata
from app.orders.tables import metadata as orders_metadata
from app.settings import load_settings

for module in pkgutil.iter_modules(app.orders.__path__, "app.orders."):
    # Each may have tables.
    import_module(module.name)
TARGET: list[MetaData] = [core_metadata, outbox_metadata, errors_metadata, orders_metadata]
# Any number: it is what two starting replicas agree on.
LOCK = 7_236_118_503


def run(connection: Connection) -> None:
    """Migrate over an open connection."""
    # SQLite can undo DDL, which Alembic does not expect: without this two starters both find an empty database.
    context.configure(connection=connection, target_metadata=TARGET, render_as_batch=True, transactional_ddl=True)
    with context.begin_transaction():
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        context.run_migrations()


def main() -> None:
    """Open the database that the caller named, or the service's own, and migrate it."""
    engine = sync_engine(context.config.attributes.get("url") or database_address(load_settings()))
    try:
        with engine.connect() as connection:
            run(connection)
            connection.commit()
    finally:
        engine.dispose()


main()
