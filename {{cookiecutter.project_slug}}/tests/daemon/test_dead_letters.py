"""`python -m app.daemon.dead_letters`: what was given up is listed, shown, replayed and dropped, on each broker."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aio_pika
import pytest
import redis

from app.adapters.message_publisher import MessagePublisher
from app.adapters.message_transports import message_transport, rabbitmq
from app.core.message_source import Delivery, MessageSource
from app.core.messages import new_message
from app.core.redaction import REDACTED
from app.daemon.configuration import DaemonGroup, DaemonSettings
from app.daemon.dead_letters import run
from app.daemon.sources import message_source

from ..servers import free_port

URLS = {"redis": "redis://127.0.0.1:6379/0", "rabbitmq": "amqp://guest:guest@127.0.0.1:5672//"}
PATIENCE = 60.0
ROOT = Path(__file__).parents[2]
SECRET = "eve@example.com"


@pytest.fixture(params=["sqlite", "redis", "rabbitmq"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[DaemonSettings]:
    """Return the settings of a daemon with a queue of its own, on each broker, and leave nothing there."""
    queue = f"test-{uuid4().hex}"
    url = URLS.get(request.param, f"sqlite:///{tmp_path}/queue.db")
    settings = DaemonSettings(broker_url=url, daemon=DaemonGroup(queue=queue, backoff_max=0.1))
    if request.param in URLS and not _is_there(url):
        pytest.skip(f"{request.param} does not answer at {url}")
    yield settings
    if request.param == "redis":
        with redis.Redis.from_url(url) as client:
            for key in client.scan_iter(f"*{queue}*"):
                client.delete(key)
    if request.param == "rabbitmq":
        asyncio.run(_delete(url, queue))


def _is_there(url: str) -> bool:
    async def ask() -> None:
        await (await aio_pika.connect(url, timeout=5)).close()

    try:
        if url.startswith("amqp"):
            asyncio.run(ask())
        else:
            with redis.Redis.from_url(url, socket_connect_timeout=5) as client:
                client.ping()
    except (OSError, redis.ConnectionError, TimeoutError):
        return False
    return True


async def _delete(url: str, queue: str) -> None:
    connection = await aio_pika.connect(url, timeout=PATIENCE)
    channel = await connection.channel()
    delayed = (rabbitmq.delayed_queue(queue, delay) for delay in rabbitmq.DELAYS)
    for name in (queue, f"{queue}.dead", *delayed):
        await channel.queue_delete(name)
    await connection.close()


def using(settings: DaemonSettings, act: Callable[[MessageSource], Awaitable[Any]]) -> Any:
    """Do something with a source, and return what that returns."""

    async def use() -> Any:
        source = message_source(settings)
        try:
            await source.open()
            return await act(source)
        finally:
            await source.aclose()

    return asyncio.run(use())


async def taken(source: MessageSource) -> Delivery:
    """Return the next message, once there is one."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await source.receive(1)):
            pass
    return found[0]


def bury(settings: DaemonSettings, *ids: str, **why: Any) -> None:
    """Send messages of these ids, and give them up."""

    async def act(source: MessageSource) -> None:
        publisher = MessagePublisher(settings, queue=settings.daemon.queue, timeout=PATIENCE)
        headers = {"x-request-id": "r-1", "internal": "no"}
        for number, name in enumerate(ids):
            message = new_message("order.placed", {"email": SECRET, "n": 1}, id=name, key="k", headers=headers)
            await publisher.send([message])
            at = f"2026-01-0{number + 1}T00:00:00+00:00"
            given = {"reason": "permanent", "code": "NOT_FOUND", "attempts": 1, "at": at, **why}
            await source.bury(await taken(source), given)
        await publisher.aclose()

    using(settings, act)


def ids(settings: DaemonSettings) -> list[str]:
    """Return whose the dead letters are, once all that somebody looked at are back."""

    async def act(source: MessageSource) -> list[str]:
        return [str(json.loads(letter.body)["id"]) async for letter in source.letters()]

    found: list[str] = using(settings, act)
    return found


def test_list(settings: DaemonSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, oldest first, up to a limit that is said; looking takes nothing."""
    assert run(settings, ["list"]) == 0
    assert capsys.readouterr().out == "There are no dead letters.\n"
    bury(settings, "a-1", "b-1", "c-1")
    assert run(settings, ["list"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["ID", "TYPE", "REASON", "CODE", "ATTEMPTS", "AT"]
    assert [line.split() for line in lines] == [
        [name, "order.placed", "permanent", "NOT_FOUND", "1", f"2026-01-0{number}T00:00:00+00:00"]
        for number, name in enumerate(("a-1", "b-1", "c-1"), 1)
    ]
    assert run(settings, ["list", "--limit", "2"]) == 0
    assert capsys.readouterr().out.endswith("There are more; --limit 2 was asked for.\n")
    assert sorted(ids(settings)) == ["a-1", "b-1", "c-1"]


def test_show(settings: DaemonSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """What is shown is what a log line would show, and no header that is nobody's business."""
    bury(settings, "a-1", "b-1", message="why not")
    assert run(settings, ["show", "b-1"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["id"], shown["type"], shown["reason"], shown["message"], shown["key"]) == (
        "b-1",
        "order.placed",
        "permanent",
        "why not",
        "k",
    )
    assert shown["headers"] == {"x-request-id": "r-1"}
    assert shown["data"] == {"email": REDACTED, "n": 1}


def test_replay(settings: DaemonSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """One comes back, as a first attempt and as it was sent, and is a dead letter no more."""
    bury(settings, "a-1", "b-1", "c-1")
    assert run(settings, ["replay", "b-1"]) == 0
    assert capsys.readouterr().out == "replayed b-1\n"

    async def act(source: MessageSource) -> Delivery:
        delivery = await taken(source)
        await source.acknowledge(delivery)
        return delivery

    delivery = using(settings, act)
    assert (json.loads(delivery.body)["id"], delivery.attempt, delivery.deliveries) == ("b-1", 1, 1)
    assert sorted(ids(settings)) == ["a-1", "c-1"]
    assert run(settings, ["replay", "--all"]) == 0
    assert ids(settings) == []
    assert sorted(json.loads(using(settings, act).body)["id"] for _ in range(2)) == ["a-1", "c-1"]


def test_purge(settings: DaemonSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """Some are dropped, or all."""
    bury(settings, "a-1", "b-1", "c-1")
    assert run(settings, ["purge", "a-1", "c-1"]) == 0
    assert capsys.readouterr().out == "purged a-1\npurged c-1\n"
    assert ids(settings) == ["b-1"]
    assert run(settings, ["purge", "--all"]) == 0
    assert ids(settings) == []


@pytest.mark.parametrize("action", ["show", "replay", "purge"])
def test_unknown_id(settings: DaemonSettings, capsys: pytest.CaptureFixture[str], action: str) -> None:
    """An id that is not there is an error, and the message says what is allowed."""
    assert run(settings, [action, "nobody"]) == 1
    assert capsys.readouterr().err == "received 'nobody'; allowed: an id that `list` shows\n"


def test_unreadable(settings: DaemonSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no message is listed under an id that its body gives, and may be replayed or dropped by it."""

    async def act(source: MessageSource) -> None:
        transport = message_transport(settings.broker_url, settings.daemon.queue, PATIENCE)
        await transport.send([(b"\xff\x1b[2J\n", {})])
        await transport.aclose()
        await source.bury(await taken(source), {"reason": "unreadable"})

    using(settings, act)
    assert run(settings, ["list"]) == 0
    name, *rest = capsys.readouterr().out.splitlines()[1].split()
    assert name.startswith("unreadable-")
    assert rest == ["-", "unreadable", "-", "-", "-"]
    assert run(settings, ["show", name]) == 0
    assert json.loads(capsys.readouterr().out)["data"] == "not readable"
    assert run(settings, ["purge", name]) == 0


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_broker_away(capsys: pytest.CaptureFixture[str], scheme: str) -> None:
    """A broker that is not there is said so, without its password."""
    away = DaemonSettings(broker_url=f"{scheme}://user:se-cret@127.0.0.1:{free_port()}/0")
    assert run(away, ["list"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"BROKER_URL: received {scheme}://***@127.0.0.1:")
    assert "se-cret" not in error


@pytest.mark.parametrize("arguments", [["replay"], ["purge"], ["list", "--limit", "0"], []])
def test_wrong_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """Nothing is replayed or dropped without saying what."""
    with pytest.raises(SystemExit) as ended:
        run(DaemonSettings(), arguments)
    assert ended.value.code == 2
    assert "usage: python -m app.daemon.dead_letters" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("broker", "code", "out", "error"),
    [
        ("sqlite:///{}/queue.db", 0, "There are no dead letters.\n", ""),
        ("filesystem:///{}/x", 1, "", "BROKER_URL: received"),
    ],
)
def test_command(tmp_path: Path, broker: str, code: int, out: str, error: str) -> None:
    """It is a command of its own, which takes its settings from the environment."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "BROKER_URL": broker.format(tmp_path)}
    command = [sys.executable, "-m", "app.daemon.dead_letters", "list"]
    done = subprocess.run(
        command, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout) == (code, out), done.stderr
    assert error in done.stderr
