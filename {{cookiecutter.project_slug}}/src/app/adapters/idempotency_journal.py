"""What is counted and logged of idempotency, the same in a request, a task and a message.

A request is counted once by its outcome. What went wrong beside it, such as a lease that was lost, is counted besides.
"""

from collections.abc import Callable
from typing import Literal

from ..core.idempotency import Claim, Decision, Outcome
from ..core.idempotency_errors import IdempotencyStoreError
from ..core.logging import get_logger
from ..core.reporting import report_error

log = get_logger(__name__)
# Of how many damaged records it is remembered that they were logged.
MAX_DAMAGED = 1000


class Journal:
    """Counts and logs.

    Args:
        count: Counts an outcome by its name.
        on_store_failure: Whether an operation is refused or runs unprotected when the store cannot claim its key.

    """

    def __init__(self, count: Callable[[str], None], *, on_store_failure: Literal["reject", "run"]) -> None:
        self._count = count
        self._rejects = on_store_failure == "reject"
        self._damaged: set[str] = set()

    def decided(self, decision: Decision, claim: Claim) -> None:
        """Note what a request came to.

        Args:
            decision: What the store decided.
            claim: For which request.

        """
        self._count(decision.outcome.value)
        if decision.damaged:
            self.damaged(claim)

    def damaged(self, claim: Claim) -> None:
        """Note that a record cannot be read; it is logged once, however often it is asked for.

        Args:
            claim: Who asked for it.

        """
        if claim.key in self._damaged:
            return
        if len(self._damaged) >= MAX_DAMAGED:
            self._damaged.clear()
        self._damaged.add(claim.key)
        log.error("idempotency.record_damaged", record=claim.key)

    def cannot_begin(self, error: IdempotencyStoreError) -> None:
        """Note that the store could not claim a key; returns when the operation is to run without protection.

        Args:
            error: What the store raised.

        Raises:
            IdempotencyStoreError: The operation is to be refused.

        """
        self._count(Outcome.STORE_ERROR.value)
        if self._rejects:
            raise error
        log.warning("idempotency.unprotected", exc_info=error)

    def answer_lost(self, error: IdempotencyStoreError) -> None:
        """Note that an operation took effect, but the store did not keep its answer: its key is free after the lease.

        Args:
            error: What the store raised.

        """
        self._count(Outcome.STORE_ERROR.value)
        report_error(error, operation="idempotency.answer_lost")

    def release_failed(self, error: IdempotencyStoreError) -> None:
        """Note that a key stays claimed until its lease ends, although its operation failed.

        Args:
            error: What the store raised.

        """
        self._count(Outcome.STORE_ERROR.value)
        log.warning("idempotency.release_failed", exc_info=error)

    def renewal_failed(self, error: Exception) -> None:
        """Note that a lease could not be renewed; it is tried again.

        Args:
            error: What the store raised.

        """
        self._count(Outcome.STORE_ERROR.value)
        log.warning("idempotency.renewal_failed", exc_info=error)

    def lease_lost(self, claim: Claim) -> None:
        """Note that somebody else took a key over while its operation was still running.

        Args:
            claim: The claim that holds no more.

        """
        self._count(Outcome.LEASE_LOST.value)
        log.error("idempotency.lease_lost", record=claim.key)
