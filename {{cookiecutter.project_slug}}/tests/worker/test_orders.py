"""The tasks of orders, and those that keep the service tidy, as they are called."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from celery import Celery
from sqlalchemy import func, select, update

from app.adapters.database_connection import database_address
from app.adapters.idempotency import records
from app.core.errors import ValidationError
from app.migrations import migrate
from app.orders.fulfilment import fulfilments
from app.worker.bootstrap import current_services
from app.worker.configuration import WorkerSettings

from .in_process import application


@pytest.fixture
def app(worker_settings: WorkerSettings) -> Iterator[Celery]:
    """Return an application with a database of the test's own."""
    migrate(database_address(worker_settings))
    with application(worker_settings) as app:
        app.loader.import_default_modules()
        yield app


def count(table: object) -> int:
    """Return how many rows a table has."""
    with current_services().database.sync_engine.connect() as connection:
        found: int = connection.execute(select(func.count()).select_from(table)).scalar_one()  # type: ignore[arg-type]
    return found


def test_fulfilled_once(app: Celery) -> None:
    """Applied again, it returns what it returned; another order is fulfilled too."""
    fulfil = app.tasks["orders.fulfil"]
    first = fulfil.apply(("o-1",)).get()
    assert fulfil.apply(("o-1",), task_id=str(uuid4())).get() == first
    assert first["order_id"] == "o-1"
    assert count(fulfilments) == 1
    assert fulfil.apply(("o-2",)).get() != first
    assert app.tasks["orders.count"].apply().get() == 2


def test_what_is_no_id_has_no_effect(app: Celery) -> None:
    """A message may hold anything: what is no id is refused, and leaves nothing."""
    with pytest.raises(ValidationError):
        app.tasks["orders.fulfil"].apply(("x" * 65,)).get()
    assert count(fulfilments) == 0


def test_purged(app: Celery) -> None:
    """Records that are over are deleted, others stay, and the metrics know how many."""
    for order_id in ("o-1", "o-2"):
        app.tasks["orders.fulfil"].apply((order_id,)).get()
    with current_services().database.sync_engine.begin() as connection:
        first = connection.execute(select(records.c.key).limit(1)).scalar_one()
        connection.execute(update(records).where(records.c.key == first).values(expires_at=1.0, lease_until=1.0))
    app.tasks["maintenance.purge_idempotency"].apply().get()
    assert count(records) == 1
    assert b"idempotency_records_purged_total 1.0" in current_services().metrics.render()
