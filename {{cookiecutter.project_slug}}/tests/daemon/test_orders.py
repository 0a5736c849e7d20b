"""The messages about orders."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

import app.daemon.orders  # noqa: F401 -- it registers its handlers
from app.core.messages import new_message
from app.daemon.handlers import handlers
from app.orders.fulfilment import fulfilments

from ..conftest import Log
from .handled import Daemon, running, settings_in


async def _fulfilled(daemon: Daemon) -> list[str]:
    async with daemon.services.database.session(read_only=True) as session:
        return list((await session.execute(select(fulfilments.c.order_id))).scalars())


async def test_fulfilled_once(tmp_path: Path, log: Log) -> None:
    """An order is fulfilled once per message, however often that comes."""
    message = new_message("order.placed", {"order_id": "o-1", "since": "then"}, id="m-1")
    async with running(settings_in(tmp_path), handlers) as daemon:
        for _ in range(3):
            daemon.source.put(message)
        await daemon.settled()
        assert await _fulfilled(daemon) == ["o-1"]
    assert len(log.named("order.fulfilled")) == 1
    assert len(log.named("message.duplicate")) == 2


@pytest.mark.parametrize("data", [{}, {"order_id": ""}, {"order_id": 7}, {"order_id": "x" * 65}, {"order_id": None}])
async def test_wrong_data(tmp_path: Path, data: dict[str, Any]) -> None:
    """A message that names no order goes to the dead letters at once, with what is wrong."""
    async with running(settings_in(tmp_path), handlers) as daemon:
        daemon.source.put(new_message("order.placed", data))
        await daemon.settled()
        (letter,) = daemon.source.dead
        assert (letter.why["reason"], letter.why["code"]) == ("permanent", "VALIDATION_ERROR")
        assert letter.why["message"].startswith("order.placed: data.order_id: ")
        assert (daemon.source.delays, await _fulfilled(daemon)) == ([], [])
