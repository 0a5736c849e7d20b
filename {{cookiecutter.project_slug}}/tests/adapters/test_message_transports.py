"""Sending messages to a SQLite file and to a stream of Redis; `tests/daemon/test_sources.py` receives them."""

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.adapters.message_transports import Transport, message_transport
from app.core.errors import BrokerError

from ..redis_server import OwnRedis, own_redis
from ..servers import free_port, private_redis

MESSAGES: list[tuple[bytes, dict[str, Any]]] = [(b"first", {"number": 1}), (b"\x00\xff", {}), (b"", {"text": "№"})]


def _in_file(path: Path, queue: str) -> list[tuple[bytes, dict[str, Any]]]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT body, headers FROM messages WHERE queue = ? ORDER BY number", (queue,))
        return [(body, json.loads(headers)) for body, headers in rows]


def _on_stream(redis: OwnRedis, queue: str) -> list[tuple[bytes, dict[str, Any]]]:
    with redis.client() as client:
        return [(fields[b"body"], json.loads(fields[b"headers"])) for _id, fields in client.xrange(queue)]


async def _send(transport: Transport, *batches: Sequence[tuple[bytes, dict[str, Any]]]) -> None:
    try:
        await asyncio.gather(*(transport.send(batch) for batch in batches))
    finally:
        await transport.aclose()


async def test_a_file_has_what_was_sent_in_its_order(tmp_path: Path) -> None:
    """Body and headers, in the queue of that name; the folder is made."""
    path = tmp_path / "new" / "queue.db"
    await _send(message_transport(f"sqlite:///{path}", "orders", 5.0), MESSAGES, [])
    assert _in_file(path, "orders") == MESSAGES
    assert _in_file(path, "others") == []


async def test_a_file_has_what_many_processes_send_at_once(tmp_path: Path) -> None:
    """Those that open it at the same moment, too."""
    path = tmp_path / "queue.db"
    batches = [[(b"%d" % sender, {"number": number}) for number in range(20)] for sender in range(10)]
    senders = [message_transport(f"sqlite:///{path}", "orders", 30.0) for _ in batches]
    await asyncio.gather(*(_send(sender, batch) for sender, batch in zip(senders, batches, strict=True)))
    found = _in_file(path, "orders")
    for batch in batches:
        assert [message for message in found if message[0] == batch[0][0]] == batch


async def test_what_a_file_has_is_on_the_disk(tmp_path: Path) -> None:
    """A sender's commit outlives a power cut; the journal is written ahead, so that readers do not wait."""
    path = tmp_path / "queue.db"
    transport = message_transport(f"sqlite:///{path}", "orders", 5.0)
    asked: list[Any] = []

    def ask(connection: sqlite3.Connection, arguments: Sequence[None]) -> list[None]:
        asked.extend(connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode"))
        return [None] * len(arguments)

    await vars(transport)["_file"].do(ask)
    await transport.aclose()
    assert asked == [2, "wal"]


async def test_a_locked_file_takes_nothing_and_later_everything(tmp_path: Path) -> None:
    """The error says so; the same transport sends when the other process is done."""
    path = tmp_path / "queue.db"
    transport = message_transport(f"sqlite:///{path}", "orders", 0.1)
    await transport.send(MESSAGES[:1])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(BrokerError, match=r"BROKER_URL: received .*database is locked"):
            await transport.send(MESSAGES[1:])
        other.execute("ROLLBACK")
    await _send(transport, MESSAGES[1:])
    assert _in_file(path, "orders") == MESSAGES


async def test_a_stream_has_what_was_sent_in_its_order() -> None:
    """Body and headers, on the stream of that name."""
    with own_redis() as redis:
        await _send(message_transport(redis.url, redis.service, 5.0), MESSAGES, [])
        assert _on_stream(redis, redis.service) == MESSAGES


async def test_a_stream_has_what_hundreds_send_at_once() -> None:
    """Those who send at the same time share a connection, instead of waiting for one in vain."""
    with own_redis() as redis:
        batches: list[list[tuple[bytes, dict[str, Any]]]] = [[(b"%d" % number, {})] for number in range(500)]
        await _send(message_transport(redis.url, redis.service, 5.0), *batches)
        assert _on_stream(redis, redis.service) == [message for batch in batches for message in batch]


async def test_a_redis_that_restarted_takes_messages_again(tmp_path: Path) -> None:
    """While it is away the error says so."""
    with private_redis(tmp_path) as server:
        transport = message_transport(server.url, "orders", 5.0)
        await transport.send(MESSAGES[:1])
        server.kill()
        with pytest.raises(BrokerError, match=r"BROKER_URL: received 'redis://127\.0\.0\.1"):
            await transport.send(MESSAGES[1:])
        server.start()
        await _send(transport, MESSAGES[1:])
        assert _on_stream(OwnRedis(server.url, "orders"), "orders") == MESSAGES


async def test_a_full_redis_takes_nothing(tmp_path: Path) -> None:
    """Why is in the error; the message is not."""
    with private_redis(tmp_path, maxmemory="1") as server:
        transport = message_transport(server.url, "orders", 5.0)
        with pytest.raises(BrokerError, match=r"it refused with OutOfMemoryError") as raised:
            await _send(transport, [(b"sesame" * 1000, {})])
        assert "sesame" not in str(raised.value)
        assert raised.value.__cause__ is None


async def test_no_password_is_in_the_error() -> None:
    """The place is, without its credentials."""
    transport = message_transport(f"redis://jane:sesame@127.0.0.1:{free_port()}/0", "orders", 1.0)
    with pytest.raises(BrokerError, match=r"redis://127\.0\.0\.1") as raised:
        await _send(transport, MESSAGES)
    assert "sesame" not in f"{raised.value} {raised.value.__cause__}"


def test_a_folder_is_no_broker_for_messages() -> None:
    """The text says what is."""
    with pytest.raises(ValueError, match=r"received 'filesystem://var/broker'; allowed for messages: sqlite:///<file>"):
        message_transport("filesystem://var/broker", "orders", 1.0)
