"""Run the operation of a request with a key in one transaction, and keep its answer before it leaves.

With a store that is transactional the answer is kept in the operation's own transaction. With any other the operation
commits first, then the answer is kept, then it leaves. What an error ends is undone, and its answer kept afterwards.

Each step does input and output, and runs in the thread that has the view's connection.
"""

from collections.abc import Callable

from django.db import connection
from django.db.transaction import TransactionManagementError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from ..adapters.idempotency_journal import Journal
from ..adapters.idempotency_lease import Lease, SyncLeaseKeeper
from ..core.idempotency import REFUSALS, RETRY_AFTER, Claim, Outcome, SyncIdempotencyStore
from ..core.idempotency_answer import Answer
from ..core.idempotency_errors import IdempotencyInProgressError, IdempotencyStoreError
from ..core.idempotency_http import FAILED, REJECTED_CODES, REPLAY_HEADERS, end_to_end, is_stored
from .bootstrap import Services
from .errors import error_of, translate
from .unit_of_work import AtomicWork

CLIENT_ERROR = 400
Refuse = Callable[[Exception], HttpResponse]


class Recorder:
    """The steps of one request with a key, from its claim to its answer.

    Args:
        services: The service's parts.
        request: The request.
        claim: Returns its claim; called in the first step.
        times: Seconds for which the claim holds without renewal, and for which the answer is kept.
        refuse: Makes an error the answer of the request.

    """

    def __init__(
        self,
        services: Services,
        request: HttpRequest,
        claim: Callable[[], Claim],
        times: tuple[float, float],
        refuse: Refuse,
    ) -> None:
        self.request = request
        self._make_claim = claim
        self._lease_seconds, self._ttl = times
        self._refuse = refuse
        self._max_bytes = services.settings.idempotency.max_response_bytes
        self._journal: Journal = services.idempotency.journal
        driver = services.idempotency.synchronous
        self._store: SyncIdempotencyStore = driver.store
        self._keeper: SyncLeaseKeeper = driver.keeper  # type: ignore[assignment] # what code without a loop has
        self._claim: Claim | None = None
        self._held: Lease | None = None
        self._work: AtomicWork | None = None
        self.has_failed = False

    def begin(self) -> HttpResponseBase | None:
        """Return the answer of a request that does not run, or None when its operation is to run now."""
        try:
            return self._begin()
        except Exception as error:  # noqa: BLE001 -- whatever it is has a document
            self.abandon()
            return self._refuse(error)

    def _begin(self) -> HttpResponseBase | None:
        claim = self._make_claim()
        try:
            decision = self._store.begin(claim, lease=self._lease_seconds, ttl=self._ttl)
        except IdempotencyStoreError as error:
            self._journal.cannot_begin(error)
            return None
        self._journal.decided(decision, claim)
        if decision.outcome is Outcome.REPLAY and decision.answer is not None:
            return replay(decision.answer)
        if decision.outcome is not Outcome.RUN:
            return self._refuse(REFUSALS[decision.outcome]())
        self._claim = claim
        self._held = self._keeper.hold(claim, self._lease_seconds)
        self._work = AtomicWork()
        return None

    def abandon(self) -> None:
        """Undo what the operation did, and free its key: it has no answer."""
        if self._claim is not None:
            self._free(undo=True)

    def finish(self, response: HttpResponseBase) -> HttpResponseBase:
        """Keep the operation's answer, make its work last, and return what is sent.

        Args:
            response: What the operation answered.

        """
        held = self._held
        try:
            return response if self._claim is None else self._keep(self._claim, response)
        except Exception as error:  # noqa: BLE001 -- whatever it is has a document
            return self._refuse(error)
        finally:
            self.abandon()
            if held is not None and held.is_under_way:
                self._keeper.settle(held)

    def _keep(self, claim: Claim, response: HttpResponseBase) -> HttpResponseBase:
        error = error_of(self.request)
        has_failed = self.has_failed or error is not None
        is_rejected = error is not None and translate(error, self.request).code in REJECTED_CODES
        if not is_stored(response.status_code, rejected=is_rejected):
            self._free(undo=has_failed or response.status_code >= FAILED)
            return response
        # A renewal would wait for the record that the transaction is about to hold, and then find it complete.
        self._let_go()
        answer = Answer(response.status_code, _headers(response), self._body(response))
        is_undone = has_failed or (response.status_code >= CLIENT_ERROR and connection.needs_rollback)
        if is_undone:
            self._end(undo=True)
        elif connection.needs_rollback:
            msg = "the operation's transaction was broken, so nothing that it did would last"
            raise TransactionManagementError(msg)
        if self._store.transactional:
            self._keep_within(claim, answer, is_undone=is_undone)
        else:
            self._end()
            self._claim = None
            self._keep_after(claim, answer)
        return response

    def _keep_within(self, claim: Claim, answer: Answer, *, is_undone: bool) -> None:
        """Keep an answer in the operation's transaction, or undo that when the claim was lost."""
        within = None if is_undone else connection
        if not self._store.complete(claim, answer, ttl=self._ttl, transaction=within):
            self._claim = None
            self._note_loss()
            self._end(undo=True)
            raise IdempotencyInProgressError(retry_after=RETRY_AFTER)
        # Should this fail the key is freed, which a record that did last does not mind.
        self._end()
        self._claim = None

    def _keep_after(self, claim: Claim, answer: Answer) -> None:
        """Keep an answer whose work lasts already: nothing that fails here may keep it from the caller."""
        try:
            if not self._store.complete(claim, answer, ttl=self._ttl):
                self._note_loss()
        except IdempotencyStoreError as error:
            self._journal.answer_lost(error)

    def _body(self, response: HttpResponseBase) -> bytes | None:
        """Return a body that can be kept: neither streamed nor larger than the limit."""
        if response.streaming:
            return None
        body: bytes = response.content  # type: ignore[attr-defined] # what does not stream has it
        return body if len(body) <= self._max_bytes else None

    def _end(self, *, undo: bool = False) -> None:
        """End the operation's transaction."""
        work, self._work = self._work, None
        if work is None:
            return
        if undo:
            work.rollback()
        else:
            work.commit()

    def _free(self, *, undo: bool) -> None:
        """End the operation's transaction, then free the key: on SQLite it would wait for the transaction in vain."""
        claim, self._claim = self._claim, None
        self._let_go()
        try:
            self._end(undo=undo)
        finally:
            if claim is not None:
                self._release(claim)

    def _release(self, claim: Claim) -> None:
        try:
            self._store.release(claim)
        except IdempotencyStoreError as error:
            self._journal.release_failed(error)

    def _let_go(self) -> None:
        if self._held is not None:
            self._keeper.let_go(self._held)

    def _note_loss(self) -> None:
        if self._held is not None:
            self._keeper.lost(self._held)


def _headers(response: HttpResponseBase) -> tuple[tuple[str, str], ...]:
    return end_to_end((name.encode("latin-1"), value.encode("latin-1")) for name, value in response.items())


def replay(answer: Answer) -> HttpResponse:
    """Return a kept answer as a response.

    Args:
        answer: The answer.

    """
    response = HttpResponse(answer.body or b"", status=answer.status)
    del response["Content-Type"]
    for name, value in (*answer.headers, *REPLAY_HEADERS):
        response[name] = value
    return response
