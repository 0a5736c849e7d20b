"""What `python -m app.worker.dead_letters` does; standard output is for its answer, so it logs nothing there."""

import argparse
import json
from collections.abc import Iterator
from itertools import islice
from typing import Any

from celery import Celery
from kombu.exceptions import KombuError, OperationalError
from kombu.serialization import loads

from ...adapters.broker import broker_configuration
from ...adapters.dead_letter_command import (
    LIMIT,
    arguments_parser,
    broker_away,
    complain,
    plain,
    print_letters,
    report_unknown,
    say,
)
from ...adapters.task_sender import bounded
from ...core.broker_url import read_broker_url
from ...core.redaction import redact, redact_text
from ...core.task_headers import CORRELATION_ID, REQUEST_ID, TRACEPARENT, USER_ID
from ..application import create_app
from ..configuration import WorkerSettings
from ..observability import args_preview
from .burial import send
from .letter import Letter
from .shelves import Shelf, opened_shelf

# Seconds after which a broker that does not answer is given up.
TIMEOUT = 5.0
PROGRAM = "python -m app.worker.dead_letters"
# What tells where a task came from.
SENDERS = (TRACEPARENT, REQUEST_ID, CORRELATION_ID, USER_ID, "origin")
COLUMNS = ("ID", "TASK", "REASON", "CODE", "ATTEMPTS", "AT")


def run(settings: WorkerSettings, arguments: list[str] | None = None) -> int:
    """Do what the arguments say, and return the process's exit code.

    Args:
        settings: Which broker, and which queue.
        arguments: Instead of those of the process.

    """
    given = arguments_parser(PROGRAM, "Tasks that were given up.").parse_args(arguments)
    app = command_app(settings)
    try:
        with opened_shelf(app) as shelf:
            return int(_ACTIONS[given.action](app, shelf, given))
    except _errors_of(app) as error:
        complain(broker_away(settings.broker_url, error))
        return 1
    finally:
        app.close()


def command_app(settings: WorkerSettings) -> Celery:
    """Return an application for somebody who does not wait for long.

    Args:
        settings: Which broker.

    """
    app = create_app(settings)
    configuration = broker_configuration(settings.broker_url, settings.worker.queue)
    app.conf.update(bounded(configuration, read_broker_url(settings.broker_url).kind, TIMEOUT))
    app.loader.import_default_modules()
    return app


def _errors_of(app: Celery) -> tuple[type[BaseException], ...]:
    connection: Any = app.connection_for_write()
    return (OSError, KombuError, OperationalError, *connection.connection_errors, *connection.channel_errors)


def _list(app: Celery, shelf: Shelf, given: argparse.Namespace) -> int:
    del app
    print_letters(COLUMNS, [_row(letter) for letter in islice(shelf.letters(), given.limit + 1)], given.limit)
    return 0


def _row(letter: Letter) -> tuple[str, ...]:
    why = letter.why
    said = (why.get(name, "-") for name in ("reason", "code", "attempts", "at"))
    return tuple(str(value) for value in (letter.id, letter.task, *said))


def _show(app: Celery, shelf: Shelf, given: argparse.Namespace) -> int:
    for letter in shelf.letters():
        if letter.id == given.id:
            known = {"id": letter.id, "task": letter.task, **letter.why, "arguments": _arguments(app, letter)}
            headers = {
                name: letter.headers[name] for name in sorted(letter.headers) if name.startswith(("x-", "trace"))
            }
            headers.pop("x-dead-letter", None)
            say(json.dumps({**known, "headers": redact(headers)}, indent=2, default=str))
            return 0
    return report_unknown([given.id])


def _arguments(app: Celery, letter: Letter) -> str:
    """Return a task's arguments as a log line would show them."""
    try:
        content = loads(letter.body, letter.content_type, letter.content_encoding, accept={"application/json"})
        args, kwargs = content[0], content[1]
        task: Any = app.tasks.get(letter.task)
        return args_preview(task, args, kwargs) if task else redact_text(json.dumps([args, kwargs]))[:LIMIT]
    except Exception:  # noqa: BLE001 -- that it cannot be read may be why it is here
        return "not readable"


def _replay(app: Celery, shelf: Shelf, given: argparse.Namespace) -> int:
    done = set()
    for letter in _chosen(shelf, given):
        # First there, then no longer here: interrupted, it is in both, under one id.
        send(app, letter.revived(), str(letter.why.get("queue") or app.conf.task_default_queue))
        shelf.remove(letter)
        done.add(letter.id)
        say(f"replayed {plain(letter.id)}")
    return report_unknown([wanted for wanted in given.ids if wanted not in done])


def _purge(app: Celery, shelf: Shelf, given: argparse.Namespace) -> int:
    del app
    done = set()
    for letter in _chosen(shelf, given):
        shelf.remove(letter)
        done.add(letter.id)
        say(f"purged {plain(letter.id)}")
    return report_unknown([wanted for wanted in given.ids if wanted not in done])


def _chosen(shelf: Shelf, given: argparse.Namespace) -> Iterator[Letter]:
    return (letter for letter in shelf.letters() if given.all or letter.id in given.ids)


_ACTIONS = {"list": _list, "show": _show, "replay": _replay, "purge": _purge}
