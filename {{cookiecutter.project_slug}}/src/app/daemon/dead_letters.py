"""`python -m app.daemon.dead_letters`: look at the messages that were given up, and send them once more or drop them.

    python -m app.daemon.dead_letters list [--limit 100]
    python -m app.daemon.dead_letters show <id>
    python -m app.daemon.dead_letters replay <id>… | --all
    python -m app.daemon.dead_letters purge <id>… | --all

It ends with 0; with 1 when an id is not there, the broker does not answer or the settings are wrong; with 2 when the
arguments are. Standard output is for its answer, so it logs nothing there.
"""

import argparse
import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..adapters.dead_letter_command import (
    arguments_parser,
    broker_away,
    complain,
    plain,
    print_letters,
    report_unknown,
    say,
)
from ..core.errors import BrokerError
from ..core.message_source import Letter, MessageSource
from ..core.messages import Message, MessageUnreadableError, read_message
from ..core.redaction import redact
from ..settings import ConfigurationError, load_settings_of
from .configuration import DaemonSettings
from .sources import message_source

PROGRAM = "python -m app.daemon.dead_letters"
COLUMNS = ("ID", "TYPE", "REASON", "CODE", "ATTEMPTS", "AT")


def main(arguments: list[str] | None = None) -> int:
    """Do what the arguments say, and return the process's exit code.

    Args:
        arguments: Instead of those of the process.

    """
    try:
        return run(load_settings_of(DaemonSettings), arguments)
    except ConfigurationError as error:
        complain(str(error))
        return 1


def run(settings: DaemonSettings, arguments: list[str] | None = None) -> int:
    """Do what the arguments say with the dead letters of a queue, and return the process's exit code.

    Args:
        settings: Which broker, and which queue.
        arguments: Instead of those of the process.

    Raises:
        ConfigurationError: The settings name no queue that can be used.

    """
    given = arguments_parser(PROGRAM, "Messages that were given up.").parse_args(arguments)
    try:
        return asyncio.run(_act(settings, given))
    except BrokerError as error:
        complain(broker_away(settings.broker_url, error))
        return 1


async def _act(settings: DaemonSettings, given: argparse.Namespace) -> int:
    source = message_source(settings)
    try:
        await source.open()
        return await _ACTIONS[given.action](source, given)
    finally:
        await source.aclose()


async def _list(source: MessageSource, given: argparse.Namespace) -> int:
    rows: list[tuple[str, ...]] = []
    async for letter in source.letters():
        rows.append(_row(letter))
        if len(rows) > given.limit:
            break
    print_letters(COLUMNS, rows, given.limit)
    return 0


def _row(letter: Letter) -> tuple[str, ...]:
    message = _read(letter)
    said = (str(letter.why.get(name, "-")) for name in ("reason", "code", "attempts", "at"))
    return (_id_of(letter), "-" if message is None else message.type, *said)


def _read(letter: Letter) -> Message | None:
    try:
        return read_message(letter.body, letter.headers)
    except MessageUnreadableError:
        # That may be why it is here.
        return None


def _id_of(letter: Letter) -> str:
    """Return a message's id; for what is no message, one that its body gives."""
    message = _read(letter)
    return f"unreadable-{hashlib.sha256(letter.body).hexdigest()[:16]}" if message is None else message.id


async def _show(source: MessageSource, given: argparse.Namespace) -> int:
    async for letter in source.letters():
        if _id_of(letter) == given.id:
            say(json.dumps(_shown(letter), indent=2, default=str))
            return 0
    return report_unknown([given.id])


def _shown(letter: Letter) -> Mapping[str, Any]:
    """Return all that is known of a dead letter, as a log line would show it."""
    message = _read(letter)
    if message is None:
        return {"id": _id_of(letter), "type": "-", **letter.why, "data": "not readable", "headers": {}}
    headers = {name: message.headers[name] for name in sorted(message.headers) if name.startswith(("x-", "trace"))}
    optional = {"key": message.key, "deadline": message.deadline}
    own = {name: value for name, value in optional.items() if value is not None}
    said = redact({"data": dict(message.data), "headers": headers, **own})
    return {"id": message.id, "type": message.type, **letter.why, **said}


async def _replay(source: MessageSource, given: argparse.Namespace) -> int:
    done = set()
    async for letter in _chosen(source, given):
        await source.replay(letter)
        done.add(_id_of(letter))
        say(f"replayed {plain(_id_of(letter))}")
    return report_unknown([wanted for wanted in given.ids if wanted not in done])


async def _purge(source: MessageSource, given: argparse.Namespace) -> int:
    done = set()
    async for letter in _chosen(source, given):
        await source.drop(letter)
        done.add(_id_of(letter))
        say(f"purged {plain(_id_of(letter))}")
    return report_unknown([wanted for wanted in given.ids if wanted not in done])


async def _chosen(source: MessageSource, given: argparse.Namespace) -> AsyncIterator[Letter]:
    async for letter in source.letters():
        if given.all or _id_of(letter) in given.ids:
            yield letter


_ACTIONS = {"list": _list, "show": _show, "replay": _replay, "purge": _purge}


if __name__ == "__main__":
    sys.exit(main())
