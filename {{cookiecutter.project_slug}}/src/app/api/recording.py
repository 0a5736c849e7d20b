"""Run the operation of a request with a key, and hold its answer back until it is complete and kept.

With a store that is transactional the answer is kept in the operation's own transaction. With any other the operation
commits first, then the answer is kept, then it leaves: a client that went away meanwhile changes nothing in that.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..adapters.idempotency_journal import Journal
from ..adapters.idempotency_lease import Lease, LeaseKeeper
from ..adapters.unit_of_work import UnitOfWork
from ..core.idempotency import RETRY_AFTER, Claim, IdempotencyStore
from ..core.idempotency_answer import Answer
from ..core.idempotency_errors import IdempotencyInProgressError, IdempotencyStoreError
from ..core.idempotency_http import FAILED, REJECTED_CODES, end_to_end, is_stored
from .errors import ERROR, problem_response, translate
from .transaction import WORK


@dataclass(frozen=True, slots=True)
class Protection:
    """What all operations of a service are protected with.

    Attributes:
        store: Where records are kept.
        keeper: What keeps claims alive.
        journal: What counts and logs.
        max_bytes: The largest body that is held back.

    """

    store: IdempotencyStore
    keeper: LeaseKeeper
    journal: Journal
    max_bytes: int


class Recorder:
    """Takes the messages of one answer, keeps it when it is whole, then sends it on.

    An answer that is streamed or larger than the limit is kept without its body, and passes on from there.

    Args:
        protection: What the operation is protected with.
        claim: Its claim.
        ttl: Seconds for which the answer is kept.
        scope: The request.
        send: Where the answer goes.

    """

    __slots__ = ("_chunks", "_claim", "_ended", "_lease", "_protection", "_scope", "_send", "_sent", "_size", "_start", "_ttl")  # fmt: skip  # noqa: E501

    def __init__(self, protection: Protection, claim: Claim, ttl: float, scope: Scope, send: Send) -> None:
        self._protection = protection
        self._claim = claim
        self._ttl = ttl
        self._scope = scope
        self._send = send
        self._lease: Lease | None = None
        self._start: Message | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        # Whether the answer is on its way, and whether the claim was completed, released or lost.
        self._sent = False
        self._ended = False

    @property
    def _work(self) -> UnitOfWork:
        work: UnitOfWork = self._scope["state"][WORK]
        return work

    async def run(self, app: ASGIApp, receive: Receive, lease: float) -> None:
        """Run the operation under its claim; an error that is an answer of it, such as 404, is kept like one.

        Args:
            app: The operation.
            receive: Where its request comes from.
            lease: Seconds for which the claim holds without renewal.

        """
        held = self._lease = self._protection.keeper.hold(self._claim, lease)
        try:
            await app(self._scope, receive, self)
        except Exception as error:  # noqa: BLE001 -- whatever it is either becomes an answer or is raised again
            await self._answer(error, receive)
        finally:
            if not self._ended:
                await self._free(FAILED)
            if held.is_under_way:
                await self._protection.keeper.settle(held)

    async def _answer(self, error: Exception, receive: Receive) -> None:
        """Answer an error, or raise it again when the answer is not to be kept."""
        found = translate(error, self._scope)
        if self._ended or not is_stored(found.status, rejected=found.code in REJECTED_CODES):
            raise error
        self._scope[ERROR] = error
        await self._work.rollback()
        await problem_response(found, self._scope)(self._scope, receive, self)

    def __call__(self, message: Message) -> Awaitable[None]:
        """Take the next message of the answer."""
        if self._sent:
            return self._send(message)
        if self._start is not None and message["type"] == "http.response.body":
            return self._take_body(self._start, message)
        return self._take(message)

    async def _take(self, message: Message) -> None:
        kind, start = message["type"], self._start
        if kind == "http.response.start":
            self._start, self._chunks, self._size = message, [], 0
            if not is_stored(message["status"], rejected=False):
                await self._pass(message)
        elif start is None:
            await self._send(message)
        else:
            # A file that the server reads itself, or another extension: what follows is not seen here.
            await self._finish(start, None)
            await self._send(message)

    async def _take_body(self, start: Message, message: Message) -> None:
        body: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        self._size += len(body)
        fits = self._size <= self._protection.max_bytes
        if more:
            self._chunks.append(body)
            fits = fits and any(name == b"content-length" for name, _ in start["headers"])
            if fits:
                return
        if self._chunks:
            # The last chunk was not added yet, unless it is the one that was too much.
            body = b"".join(self._chunks if more else [*self._chunks, body])
            message = {"type": "http.response.body", "body": body, "more_body": more}
        await self._finish(start, body if fits else None)
        await self._send(message)

    async def _finish(self, start: Message, body: bytes | None) -> None:
        """Keep the answer, make the operation's work last, and let the start of the answer go."""
        answer = Answer(start["status"], end_to_end(start["headers"]), body)
        self._let_go()
        if self._protection.store.transactional:
            await self._keep_within(answer)
        else:
            work = self._work
            if work.is_open:
                await self._commit(work, start["status"])
            self._ended = True
            await self._keep_after(answer)
        # With a transactional store this commits. Should that fail the key is freed, which a record that did last
        # does not mind.
        await self._send(start)
        self._sent = self._ended = True

    async def _keep_within(self, answer: Answer) -> None:
        """Keep an answer in the operation's transaction, or undo that when the claim was lost."""
        work = self._work
        if await self._protection.store.complete(self._claim, answer, ttl=self._ttl, transaction=work):
            return
        self._ended = True
        self._note_loss()
        await work.rollback()
        raise IdempotencyInProgressError(retry_after=RETRY_AFTER)

    async def _commit(self, work: UnitOfWork, status: int) -> None:
        try:
            await work.end(status)
        except asyncio.CancelledError:
            # Whether it lasts is not known: the key stays claimed until its lease ends.
            self._ended = True
            raise

    async def _keep_after(self, answer: Answer) -> None:
        """Keep an answer whose work lasts already: nothing that fails here may keep it from the caller."""
        store = self._protection.store
        try:
            if not await store.complete(self._claim, answer, ttl=self._ttl):
                self._note_loss()
        except IdempotencyStoreError as error:
            self._protection.journal.answer_lost(error)
        except asyncio.CancelledError:
            # Once more, and in a task of its own; where the first attempt got through, this one changes nothing.
            await asyncio.shield(store.complete(self._claim, answer, ttl=self._ttl))
            raise

    def _note_loss(self) -> None:
        if self._lease is not None:
            self._protection.keeper.lost(self._lease)

    def _let_go(self) -> None:
        if self._lease is not None:
            self._protection.keeper.let_go(self._lease)

    async def _pass(self, start: Message) -> None:
        """Let an answer through that is not kept; whoever repeats the request at once finds the key free."""
        await self._free(start["status"])
        await self._send(start)
        self._sent = True

    async def _free(self, status: int) -> None:
        """End the operation's transaction, then free the key: on SQLite it would wait for the transaction in vain."""
        self._ended = True
        self._let_go()
        try:
            await self._work.end(status)
        finally:
            await self._release()

    async def _release(self) -> None:
        try:
            await asyncio.shield(self._protection.store.release(self._claim))
        except IdempotencyStoreError as error:
            self._protection.journal.release_failed(error)
