"""`python -m app.daemon publish`: one message, as it was written."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from app.core.errors import BrokerError
from app.core.messages import read_message
from app.daemon.configuration import DaemonGroup, DaemonSettings
from app.daemon.publish import publish
from app.daemon.sources import message_source

from ..servers import free_port


def settings_in(folder: Path, url: str | None = None) -> DaemonSettings:
    """Return the settings of a daemon with a queue of files, or another broker."""
    return DaemonSettings(broker_url=url or f"sqlite:///{folder}/queue.db", daemon=DaemonGroup(queue="mine"))


def sent(settings: DaemonSettings) -> Sequence[bytes]:
    """Return what lies in the queue."""

    async def look() -> list[bytes]:
        source = message_source(settings)
        await source.open()
        try:
            return [delivery.body for delivery in await source.receive(10)]
        finally:
            await source.aclose()

    return asyncio.run(look())


def test_published(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was written is in the daemon's queue, headers and all, and its id is said."""
    settings = settings_in(tmp_path)
    text = {"id": "m-1", "type": "order.placed", "data": {"order_id": "o-1"}, "key": "o-1", "traceparent": "00-x"}
    assert publish(settings, json.dumps(text)) == 0
    assert capsys.readouterr().out == "published m-1\n"
    (body,) = sent(settings)
    found = json.loads(body)
    # What tells how long it waited.
    assert isinstance(found.pop("x-sent-at"), float)
    assert found == text


def test_id_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A message without an id gets one, which is said."""
    settings = settings_in(tmp_path)
    assert publish(settings, '{"type": "order.placed"}') == 0
    (body,) = sent(settings)
    assert capsys.readouterr().out == f"published {read_message(body).id}\n"


@pytest.mark.parametrize("text", ["", "no JSON", "[]", '{"id": "m-1"}', '{"id": "m-1", "type": "a", "data": 5}'])
def test_no_message(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """What is no message is not sent; the error says what was received, and what is allowed."""
    assert publish(settings_in(tmp_path), text) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("message: received ")
    assert "; allowed: " in said.err


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_broker_away(tmp_path: Path, capsys: pytest.CaptureFixture[str], scheme: str) -> None:
    """A broker that is not there is said so, without its password."""
    url = f"{scheme}://me:se-cret@127.0.0.1:{free_port()}/0"
    assert publish(settings_in(tmp_path, url), '{"id": "m-1", "type": "a"}') == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"BROKER_URL: received {scheme}://***@127.0.0.1:")
    assert "se-cret" not in said.err


def test_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What a broker says when it refuses is shown without secrets."""

    async def refuse(*_: object) -> None:
        msg = "refused: password=se-cret"
        raise BrokerError(msg)

    monkeypatch.setattr("app.adapters.message_publisher.MessagePublisher.send", refuse)
    assert publish(settings_in(tmp_path), '{"id": "m-1", "type": "a"}') == 1
    said = capsys.readouterr().err
    assert "refused" in said
    assert "se-cret" not in said
