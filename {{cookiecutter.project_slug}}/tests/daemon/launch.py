"""`python -m tests.daemon.launch`: a daemon that also handles the tests' own messages, and dies when it is told to.

A message of type `tests.fulfil` whose data says `die_at` kills the process at that step, the first time that it gets
there: `received` by its source, `begun` by the handler, `effect` done, `committed`, `acknowledged`.

One of type `tests.shaky` is an order, too, whose first attempt fails, and one of type `tests.poison` always fails.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from app.adapters.unit_of_work import UnitOfWork
from app.core.errors import InfrastructureError
from app.core.message_source import Delivery, MessageSource
from app.core.messages import Message
from app.daemon import __main__ as entry
from app.daemon.configuration import DaemonSettings
from app.daemon.handlers import handles
from app.daemon.sources import message_source
from app.orders.fulfilment import fulfil
from app.settings import load_settings_of

STEPS = ("received", "begun", "effect", "committed", "acknowledged")


@handles("tests.fulfil")
async def fulfil_order(work: UnitOfWork, message: Message) -> None:
    """Fulfil an order, die where that is asked for, and take as many seconds as `seconds` says.

    Args:
        work: The transaction.
        message: What says so.

    """
    order_id = message.data["order_id"]
    _die(message.data, "begun")
    await work.session.run_sync(fulfil, order_id)
    _die(message.data, "effect")
    if "seconds" in message.data:
        _note(f"began-{order_id}")
        await asyncio.sleep(message.data["seconds"])


@handles("tests.shaky")
async def fulfil_at_last(work: UnitOfWork, message: Message) -> None:
    """Fulfil an order at the second attempt.

    Args:
        work: The transaction.
        message: What says which order.

    """
    order_id = message.data["order_id"]
    await work.session.run_sync(fulfil, order_id)
    if _is_new(f"failed-{order_id}"):
        raise InfrastructureError


@handles("tests.poison")
async def fail(_message: Message) -> None:
    """Fail."""
    raise InfrastructureError


def _note(name: str) -> None:
    Path(name).touch()


def _die(data: Any, step: str) -> None:
    if data.get("die_at") == step and _is_new(f"died-{step}-{data['order_id']}"):
        os.kill(os.getpid(), signal.SIGKILL)


def _is_new(name: str) -> bool:
    """Return whether there is no file of this name, and make it."""
    try:
        Path(name).open("x").close()
    except FileExistsError:
        return False
    return True


def make_mortal(source: type[MessageSource]) -> None:
    """Let a kind of source kill the process at its steps.

    Args:
        source: Which.

    """
    changed: Any = source
    receive, acknowledge = changed.receive, changed.acknowledge

    async def mortal_receive(self: MessageSource, limit: int) -> Sequence[Delivery]:
        received: Sequence[Delivery] = await receive(self, limit)
        for delivery in received:
            _die(_data_of(delivery), "received")
        return received

    async def mortal_acknowledge(self: MessageSource, delivery: Delivery) -> None:
        _die(_data_of(delivery), "committed")
        await acknowledge(self, delivery)
        _die(_data_of(delivery), "acknowledged")

    changed.receive, changed.acknowledge = mortal_receive, mortal_acknowledge


def _data_of(delivery: Delivery) -> Any:
    return json.loads(delivery.body)["data"]


if __name__ == "__main__":
    make_mortal(type(message_source(load_settings_of(DaemonSettings))))
    sys.exit(entry.main())
