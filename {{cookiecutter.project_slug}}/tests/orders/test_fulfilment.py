"""What is done for an order that was placed."""

from collections.abc import Iterator

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from app.core.errors import ValidationError
from app.orders.fulfilment import ID_LENGTH, fulfil, fulfilments
from app.orders.tables import metadata

from ..conftest import Log


@pytest.fixture
def session() -> Iterator[Session]:
    """Return a transaction in a database in memory."""
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.mark.parametrize("order_id", ["1", "8c4d7a52-6a53-4d3e-8a5b-1f3a0d3c9b11", "ö" * ID_LENGTH])
def test_fulfilled(session: Session, order_id: str, log: Log) -> None:
    """It is noted which order was fulfilled, and when, and said in the log."""
    done = fulfil(session, order_id)
    row = session.execute(select(fulfilments)).one()
    assert (row.id, row.order_id) == (done.id, order_id) == (done.id, done.order_id)
    assert row.fulfilled_at.replace(tzinfo=done.fulfilled_at.tzinfo) == done.fulfilled_at
    assert [line["order_id"] for line in log.named("order.fulfilled")] == [order_id]


@pytest.mark.parametrize(
    ("order_id", "received"),
    [("", "0 characters"), ("x" * (ID_LENGTH + 1), "65 characters"), (7, "a int"), (None, "a NoneType")],
)
def test_what_is_no_id(session: Session, order_id: str, received: str) -> None:
    """A message may hold anything: what is no id is refused, without its value."""
    with pytest.raises(ValidationError, match=f"order_id: received {received}; allowed: text of 1 to 64 characters"):
        fulfil(session, order_id)
    assert session.execute(select(fulfilments)).all() == []
