"""One request, one transaction: it commits right before the answer leaves.

So a caller never hears of what did not last.
An exception or an answer from 500 up undoes it. The transaction opens at the first statement; a request without one
opens none.
"""

from collections.abc import Awaitable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..adapters.database import Database
from ..adapters.unit_of_work import UnitOfWork

WORK = "unit_of_work"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class TransactionMiddleware:
    """Gives each request a unit of work and ends it.

    Args:
        app: What is further in.
        database: Where the work runs.

    """

    def __init__(self, app: ASGIApp, *, database: Database) -> None:
        self.app = app
        self._database = database

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        work = UnitOfWork(self._database, read_only=scope["method"] in _READING)
        scope.setdefault("state", {})[WORK] = work

        async def end(message: Message) -> None:
            await work.end(message["status"])
            await send(message)

        def finishing(message: Message) -> Awaitable[None]:
            is_due = work.is_open and message["type"] == "http.response.start"
            return end(message) if is_due else send(message)

        try:
            await self.app(scope, receive, finishing)
        finally:
            if work.is_open:
                await work.aclose()
