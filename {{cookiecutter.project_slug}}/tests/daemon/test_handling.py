"""What becomes of one message: done, tried again, or given up, and what its letter says."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from app.core.errors import (
    AppError,
    BusinessRuleError,
    ExternalServiceError,
    InfrastructureError,
    NotFoundError,
)
from app.core.idempotency_errors import IdempotencyInProgressError
from app.core.messages import Message, new_message
from app.daemon.handlers import Handlers

from .. import fakes
from ..conftest import Log
from .handled import Daemon, note, placed, prepared, running, settings_in, until


class Script:
    """A handler that raises one error after the other, and then has its effect.

    Args:
        errors: What it raises.
        options: Of the handler.

    """

    def __init__(self, *errors: BaseException, **options: Any) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.handlers = Handlers()

        @self.handlers.handles("test.done", **options)
        async def play(work: Any, message: Message) -> None:
            self.calls += 1
            await note(work, message)
            if self.errors:
                raise self.errors.pop(0)


async def _why(daemon: Daemon) -> dict[str, Any]:
    await daemon.settled()
    (letter,) = daemon.source.dead
    return dict(letter.why)


async def test_done(tmp_path: Path) -> None:
    """A message that was handled is acknowledged."""
    async with running(settings_in(tmp_path), Script().handlers) as daemon:
        daemon.source.put(placed(7))
        await daemon.settled()
        assert (await daemon.effects(), len(daemon.source.acknowledged), daemon.source.dead) == ([7], 1, [])


@pytest.mark.parametrize("error", [InfrastructureError(), ExternalServiceError(), ConnectionError("gone")])
async def test_temporary(tmp_path: Path, error: Exception) -> None:
    """What is temporary is tried again, after a pause that the policy allows, and has its effect once."""
    script = Script(error, error)
    async with running(settings_in(tmp_path), script.handlers) as daemon:
        daemon.source.put(placed(7))
        await daemon.settled()
        assert (script.calls, await daemon.effects()) == (3, [7])
        assert len(daemon.source.delays) == 2
        assert 0 <= daemon.source.delays[0] <= 0.01
        assert 0 <= daemon.source.delays[1] <= 0.02


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFoundError(), "NOT_FOUND"),
        (BusinessRuleError(), "BUSINESS_RULE_VIOLATION"),
        (ZeroDivisionError("a bug"), "INTERNAL_ERROR"),
        (asyncio.CancelledError(), "INTERNAL_ERROR"),
        # Of something that the handler waited for: not its own limit.
        (TimeoutError(), "INTERNAL_ERROR"),
    ],
)
async def test_permanent(tmp_path: Path, error: BaseException, code: str) -> None:
    """What trying again does not change goes to the dead letters at once, without an effect."""
    script = Script(error)
    async with running(settings_in(tmp_path), script.handlers) as daemon:
        daemon.source.put(placed(7))
        why = await _why(daemon)
        assert (why["reason"], why["code"], why["error"]) == ("permanent", code, type(error).__name__)
        assert (why["attempts"], why["queue"]) == (1, "orders")
        assert (script.calls, await daemon.effects(), daemon.source.delays) == (1, [], [])


@pytest.mark.parametrize(("options", "attempts"), [({}, 3), ({"max_attempts": 2}, 2)])
async def test_exhausted(tmp_path: Path, options: dict[str, Any], attempts: int) -> None:
    """What fails each time is given up after its attempts; the handler's own number counts more than the setting."""
    script = Script(*[InfrastructureError()] * 9, **options)
    async with running(settings_in(tmp_path), script.handlers) as daemon:
        daemon.source.put(placed())
        why = await _why(daemon)
        assert (why["reason"], why["attempts"], script.calls) == ("exhausted", attempts, attempts)
        assert daemon.number('message_dead_letters_total{reason="exhausted"}') == 1
        assert 'message_dead_letters_total{reason="permanent"} 0' in daemon.services.metrics.render().decode()


async def test_unreadable(tmp_path: Path, log: Log) -> None:
    """What is no message is given up with what was received and what is allowed."""
    async with running(settings_in(tmp_path), Script().handlers) as daemon:
        daemon.source.put(b"\xffno json")
        why = await _why(daemon)
    assert (why["reason"], why["code"]) == ("unreadable", "MESSAGE_UNREADABLE")
    assert why["message"] == "received text that is no UTF-8; allowed: a JSON object"
    (line,) = log.named("message.failed")
    assert line["message_id"].startswith("unreadable-")
    assert daemon.number('message_duration_seconds_count{outcome="unreadable",type="_OTHER"}') == 1


async def test_unknown(tmp_path: Path) -> None:
    """A type that nobody handles is given up; it is no series of its own."""
    async with running(settings_in(tmp_path), Script().handlers) as daemon:
        daemon.source.put(new_message("test.strange", {}))
        why = await _why(daemon)
        assert (why["reason"], why["code"]) == ("unknown", "MESSAGE_UNKNOWN")
        assert why["message"] == "received the type test.strange; handled: test.done"
        assert daemon.number('message_duration_seconds_count{outcome="unknown",type="_OTHER"}') == 1
        assert b"test.strange" not in daemon.services.metrics.render()


async def test_worker_lost(tmp_path: Path) -> None:
    """A message that was delivered too often is not begun: each process that worked on it died."""
    settings = settings_in(tmp_path, {"max_deliveries": 2})
    script = Script()
    async with running(settings, script.handlers) as daemon:
        daemon.source.put(placed(1), deliveries=2)
        why = await _why(daemon)
        assert (why["reason"], why["code"], script.calls) == ("worker lost", "WORKER_LOST", 0)
        daemon.source.put(placed(2), deliveries=1)
        await daemon.settled()
        assert await daemon.effects() == [2]


async def test_expired(tmp_path: Path, log: Log) -> None:
    """A message that nobody needs any more is not begun."""
    script = Script()
    async with running(settings_in(tmp_path), script.handlers) as daemon:
        daemon.source.put(placed(1, deadline=time.time() - 1))
        daemon.source.put(placed(2, deadline=time.time() + 60))
        why = await _why(daemon)
        assert (why["reason"], script.calls, await daemon.effects()) == ("expired", 1, [2])
    assert len(log.named("message.expired")) == 1


async def test_no_time_for_another_attempt(tmp_path: Path) -> None:
    """What would come again after its deadline is given up at once."""
    script = Script(InfrastructureError(retry_after=30))
    async with running(settings_in(tmp_path), script.handlers) as daemon:
        daemon.source.put(placed(1, deadline=time.time() + 20))
        why = await _why(daemon)
        assert (why["reason"], why["error"], script.calls) == ("expired", "InfrastructureError", 1)


async def test_time_limit(tmp_path: Path) -> None:
    """A handler that takes too long is cancelled and undone, and the message tried again."""
    handlers = Handlers()
    calls: list[str] = []

    @handlers.handles("test.done", time_limit=0.05)
    async def hangs(work: Any, message: Message) -> None:
        await note(work, message)
        calls.append(message.id)
        if len(calls) == 1:
            await asyncio.Event().wait()

    async with running(settings_in(tmp_path), handlers) as daemon:
        daemon.source.put(placed(7))
        await daemon.settled()
        assert (len(calls), await daemon.effects(), len(daemon.source.delays)) == (2, [7], 1)


async def test_deadline_ends_a_handler(tmp_path: Path) -> None:
    """A handler is cancelled when nobody needs its effect any more."""
    handlers = Handlers()

    @handlers.handles("test.done")
    async def hangs(message: Message) -> None:
        await asyncio.Event().wait()

    async with running(settings_in(tmp_path), handlers) as daemon:
        daemon.source.put(placed(deadline=time.time() + 0.3))
        assert (await _why(daemon))["reason"] == "expired"


async def test_in_progress_elsewhere(tmp_path: Path) -> None:
    """Waiting for the same message elsewhere is no attempt: it stays here, and the broker is not asked."""
    script = Script(*[IdempotencyInProgressError(retry_after=0.01)] * 6)
    async with running(settings_in(tmp_path, {"max_attempts": 1}), script.handlers) as daemon:
        daemon.source.put(placed(7))
        await daemon.settled()
        assert (script.calls, await daemon.effects(), daemon.source.delays) == (7, [7], [])


async def test_in_progress_for_ever(tmp_path: Path) -> None:
    """It is not waited for without end."""
    script = Script(*[IdempotencyInProgressError(retry_after=0.01)] * 6)
    async with prepared(settings_in(tmp_path), script.handlers) as daemon:
        handling = daemon.consumer._handling
        handling._policy = handling._policy.__class__(max_wait=0.0)
        task = asyncio.create_task(daemon.consumer.run())
        daemon.source.put(placed(7))
        assert (await _why(daemon))["reason"] == "in progress"
        await daemon.consumer.drain()
        await task


async def test_same_id_and_other_data(tmp_path: Path) -> None:
    """A message with the id of another one goes to the dead letters, where somebody sees it."""
    async with running(settings_in(tmp_path), Script().handlers) as daemon:
        daemon.source.put(placed(1, id="m-1"))
        daemon.source.put(placed(2, id="m-1"))
        why = await _why(daemon)
        assert (why["reason"], why["code"]) == ("permanent", "IDEMPOTENCY_KEY_REUSED")
        assert await daemon.effects() == [1]


@pytest.mark.parametrize("step", ["acknowledge", "try_again", "bury"])
async def test_broker_that_does_not_listen(tmp_path: Path, log: Log, step: str) -> None:
    """What the broker could not be told is said once, and the message comes again; its effect does not."""
    errors: dict[str, AppError] = {"try_again": InfrastructureError(), "bury": NotFoundError()}
    script = Script(*[errors[step]] if step in errors else [])
    async with prepared(settings_in(tmp_path), script.handlers) as daemon:
        daemon.source._visibility_timeout = 0.3
        daemon.source.refused = {step, "keep"}
        task = asyncio.create_task(daemon.consumer.run())
        daemon.source.put(placed(7))
        (line,) = await until(lambda: log.named("message.not_acknowledged"))
        assert (line["step"], line["message_type"]) == (step.replace("_", " "), "test.done")
        daemon.source.refused = set()
        await daemon.settled()
        assert (await daemon.effects(), daemon.source.dead) == ([7], [])
        assert len(log.named("message.buried")) == 0
        await daemon.consumer.drain()
        await task


async def test_letter_hides_what_is_secret(tmp_path: Path, log: Log) -> None:
    """Neither the letter's reason nor any line shows a secret, and both are bounded."""
    secret = fakes.EMAIL
    script = Script(ValueError(f"cannot send to {secret} " + "x" * 10_000))
    async with running(settings_in(tmp_path), script.handlers) as daemon:
        daemon.source.put(new_message("test.done", {"number": 1, "password": "hunter2", "to": secret}))
        why = await _why(daemon)
    assert len(why["message"]) <= 500
    assert not fakes.survives(secret, why["message"])
    (line,) = log.named("message.failed")
    assert line["data_preview"].startswith('{"number":1,"password":"[redacted]"')
    assert not any(fakes.survives(secret, one) or "hunter2" in one for one in log)
