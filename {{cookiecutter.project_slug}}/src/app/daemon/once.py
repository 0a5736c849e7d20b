"""A message's effect once per id, however often the message comes.

A handler that takes a unit of work, with the records in the same database: ONE transaction. The record of the id is its
first statement, the effect comes after it, and both commit or neither. So there is no lease and nothing to clean up:
of two that handle the same message at once the second one waits for the first one's transaction (on PostgreSQL for as
long as `DATABASE__LOCK_TIMEOUT`), and then sees what became of it.

Any other handler runs as an idempotent function does (`adapters/idempotent.py`): a claim before it, its record after
it, at most once per lease. Both write the same records, so a handler that begins to take a unit of work still knows
what it handled before.

An id belongs to a queue and to one content. The same id with another type or other data is none of the two messages'
fault that can be mended here: it is refused (`IdempotencyKeyReusedError`), so it goes to the dead letters, where a
person sees it, and nothing is dropped in silence. What else a message says, such as its trace, may differ.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable

import orjson

from ..adapters.idempotency_sql import SqlIdempotencyStore
from ..adapters.idempotent import idempotent
from ..adapters.unit_of_work import UnitOfWork
from ..bootstrap import Services
from ..core.idempotency import ANONYMOUS, REFUSALS, Claim, Decision, Outcome, digest, new_claim
from ..core.idempotency_answer import Answer
from ..core.idempotency_call import canonical
from ..core.idempotency_errors import IdempotencyKeyReusedError, IdempotencyNotReplayableError
from ..core.messages import Message
from .handlers import Handler

# What an idempotent function that returns nothing keeps.
_DONE = Answer(200, (), b"null")
_CONTENT = "content"
_Run = Callable[[UnitOfWork | None], Awaitable[None]]


class Once:
    """Calls handlers, each once per message.

    Args:
        services: The process's parts.
        queue: Where messages come from: ids of two queues are two ids.

    """

    def __init__(self, services: Services, queue: str) -> None:
        store = services.idempotency_store
        self._store = store if isinstance(store, SqlIdempotencyStore) else None
        self._database = services.database
        self._ttl = services.settings.idempotency.ttl
        self._journal = services.idempotency.journal
        self._name = f"messages.{queue}"
        # SQLite has one writer at a time: to wait here is fair and sure to end, where to wait for the file is neither.
        is_sqlite = services.database.url.get_backend_name() == "sqlite"
        self._turn = asyncio.Lock() if is_sqlite else None

        @idempotent(key="message_id", name=self._name, fingerprint=_CONTENT)
        async def call(message_id: str, content: bytes, run: _Run) -> None:  # noqa: ARG001 -- they say which call it is
            await run(None)

        @idempotent(key="message_id", name=self._name, fingerprint=_CONTENT)
        async def call_with_work(work: UnitOfWork, message_id: str, content: bytes, run: _Run) -> None:  # noqa: ARG001
            await run(work)

        self._call, self._call_with_work = call, call_with_work

    async def run(self, handler: Handler, message: Message) -> bool:
        """Handle a message, and return whether that was done now; False: it was before.

        Args:
            handler: What handles it.
            message: The message.

        Raises:
            IdempotencyInProgressError: Somebody else is handling it.
            IdempotencyKeyReusedError: A message with the same id and another content was handled before.
            IdempotencyStoreError: The store failed.
            Exception: Whatever the handler raised; then nothing was done.

        """
        if handler.takes_work and self._store is not None:
            if self._turn is None:
                return await self._within(self._store, handler, message)
            async with self._turn:
                return await self._within(self._store, handler, message)
        return await self._beside(handler, message)

    async def _within(self, store: SqlIdempotencyStore, handler: Handler, message: Message) -> bool:
        """Record the message in the transaction of its effect."""
        claim = self._claim(message)
        work = UnitOfWork(self._database, read_only=False)
        try:
            decision = await store.record(claim, _DONE, ttl=self._ttl, transaction=work)
            self._journal.decided(decision, claim)
            if decision.outcome is Outcome.RUN:
                await handler.function(work, message)
                await work.commit()
        finally:
            await work.aclose()
        return _ran(decision)

    async def _beside(self, handler: Handler, message: Message) -> bool:
        """Claim the message, and record it when its effect has taken place."""
        ran = False

        async def run(work: UnitOfWork | None) -> None:
            nonlocal ran
            ran = True
            await (handler.function(message) if work is None else handler.function(work, message))

        call = self._call_with_work if handler.takes_work else self._call
        try:
            await call(message.id, _content(message), run)
        except IdempotencyNotReplayableError:
            # The handler's own, if it ran; otherwise it did before, which is all that is asked.
            if ran:
                raise
        except IdempotencyKeyReusedError as error:
            if ran:
                raise
            raise _reused() from error
        return ran

    def _claim(self, message: Message) -> Claim:
        """Return the claim that an idempotent function has for the same message."""
        content = digest(_CONTENT.encode(), canonical(_content(message)), b"")
        operation = ("function", self._name)
        return new_claim(caller=ANONYMOUS, operation=operation, key=message.id, fingerprint=content)


def _ran(decision: Decision) -> bool:
    """Return whether the handler ran, or raise what stood in its way."""
    if decision.outcome is Outcome.RUN:
        return True
    if decision.outcome in (Outcome.REPLAY, Outcome.NOT_REPLAYABLE):
        return False
    raise _reused() if decision.outcome is Outcome.MISMATCH else REFUSALS[decision.outcome]()


def _reused() -> IdempotencyKeyReusedError:
    return IdempotencyKeyReusedError("a message with the same id and another type or other data was handled before")


def _content(message: Message) -> bytes:
    """Return what two messages of one id have in common when they are the same."""
    try:
        return orjson.dumps((message.type, message.data), option=orjson.OPT_SORT_KEYS)
    except TypeError:
        # An integer of more than 64 bits, half a surrogate pair.
        return json.dumps((message.type, message.data), sort_keys=True).encode()
