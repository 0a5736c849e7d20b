"""A message in the outbox is committed together with what it tells of, and says who wrote it."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from app.adapters.database import Database, sync_engine
from app.adapters.metrics import Metrics
from app.adapters.outbox import OutboxMetrics, add_to_outbox, add_to_outbox_async, metadata, outbox
from app.core.context import request_context
from app.core.messages import MessageUnreadableError, read_message
from app.core.tracing import close_trace, continue_trace, open_trace
from app.settings import Settings

from ..databases import ENGINES, own_database


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """Return a database of each kind."""
    with own_database(request.param, tmp_path) as url:
        engine = sync_engine(url)
        metadata.create_all(engine)
        yield engine
        engine.dispose()


@pytest.fixture
async def database(engine: Engine) -> AsyncIterator[Database]:
    """Return the same for code on an event loop."""
    driver = {"sqlite": "sqlite+aiosqlite"}.get(engine.dialect.name, engine.url.drivername)
    database = Database(engine.url.set(drivername=driver))
    yield database
    await database.aclose()


def rows(engine: Engine) -> list[Any]:
    """Return what is in the outbox."""
    with engine.connect() as connection:
        return list(connection.execute(select(outbox).order_by(outbox.c.id)).all())


def test_committed_with_the_effect(engine: Engine) -> None:
    """What the transaction does, the message does: undone it is not there, committed it is, in the order of writing."""
    with Session(engine) as session:
        add_to_outbox(session, "order.placed", {"order_id": "lost"})
        session.rollback()
        ids = [add_to_outbox(session, "order.placed", {"order_id": order}, key=order) for order in ("o-1", "o-2")]
        session.commit()
    assert [(row.message_id, row.key, row.queue, row.fault) for row in rows(engine)] == [
        (ids[0], "o-1", "", None),
        (ids[1], "o-2", "", None),
    ]


async def test_in_a_coroutine(database: Database, engine: Engine) -> None:
    """On an event loop it is the same."""
    async with database.session() as session:
        await add_to_outbox_async(session, "order.placed", {"order_id": "lost"})
        await session.rollback()
        sent = await add_to_outbox_async(session, "order.placed", {}, id="m-1", key="k", deadline=7.5, queue="bills")
        await session.commit()
    (row,) = rows(engine)
    message = read_message(row.body)
    assert (sent, row.message_id, row.key, row.queue) == ("m-1", "m-1", "k", "bills")
    assert (message.id, message.type, message.key, message.deadline) == ("m-1", "order.placed", "k", 7.5)


def test_who_wrote_it(engine: Engine) -> None:
    """The message has the ids and the trace of its writer, and when it was written."""
    before, trace = time.time(), continue_trace(None)
    token = open_trace(trace)
    try:
        with request_context(request_id="r-1", correlation_id="c-1", user_id="u-1"), Session(engine) as session:
            add_to_outbox(session, "order.placed", {"name": "Jürgen \x00 \U0001f600"})
            session.commit()
    finally:
        close_trace(token)
    (row,) = rows(engine)
    message = read_message(row.body)
    assert message.headers["traceparent"].split("-")[1:3] == [trace.trace_id, trace.span_id]
    assert [message.headers[f"x-{name}"] for name in ("request-id", "correlation-id", "user-id")] == [
        "r-1",
        "c-1",
        "u-1",
    ]
    assert before <= message.headers["x-sent-at"] <= time.time()
    assert message.data == {"name": "Jürgen \x00 \U0001f600"}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"kind": "no type", "data": {}}, MessageUnreadableError),
        ({"kind": "order.placed", "data": {}, "key": "k" * 129}, MessageUnreadableError),
        ({"kind": "order.placed", "data": {"name": "\ud800"}}, MessageUnreadableError),
        ({"kind": "order.placed", "data": {"at": object()}}, TypeError),
        ({"kind": "order.placed", "data": {"amount": float("nan")}}, ValueError),
        ({"kind": "order.placed", "data": {}, "queue": ""}, ValueError),
        ({"kind": "order.placed", "data": {}, "queue": "q" * 101}, ValueError),
    ],
)
def test_what_is_no_message(given: dict[str, Any], error: type[Exception], engine: Engine) -> None:
    """What could not be sent is refused where it is written, and the transaction goes on."""
    with Session(engine) as session:
        with pytest.raises(error):
            add_to_outbox(session, **given)
        add_to_outbox(session, "order.placed", {})
        session.commit()
    assert len(rows(engine)) == 1


def test_no_number_twice(engine: Engine) -> None:
    """A row that was deleted gives its number to no other one, for relays name rows by it."""
    numbers = []
    for _ in range(2):
        with Session(engine) as session:
            add_to_outbox(session, "order.placed", {})
            session.commit()
        numbers += [row.id for row in rows(engine)]
        with engine.begin() as connection:
            connection.execute(outbox.delete())
    assert len(set(numbers)) == 2


def test_counted(settings: Settings) -> None:
    """Each outcome is there from the start, at 0, and what waits is a gauge."""
    metrics = Metrics(settings)
    counted = OutboxMetrics(metrics.registry)
    counted.relayed("sent", 3)
    counted.pending(2)
    lines = metrics.render().decode().splitlines()
    assert {
        "outbox_pending 2.0",
        'outbox_relayed_total{outcome="sent"} 3.0',
        'outbox_relayed_total{outcome="failed"} 0.0',
        'outbox_relayed_total{outcome="unreadable"} 0.0',
    } <= set(lines)
