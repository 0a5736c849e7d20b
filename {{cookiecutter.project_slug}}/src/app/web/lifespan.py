"""ASGI's lifespan, which Django does not speak: the server says when the service begins and ends."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Run = Callable[[asyncio.AbstractEventLoop], AbstractContextManager[None]]


class Lifespan:
    """An ASGI application that starts and stops what another one needs.

    Args:
        app: Answers requests.
        run: Returns what is entered before the first request and left after the last, given the event loop; it may
            block, for it has a thread.

    """

    def __init__(self, app: App, run: Run) -> None:
        self._app = app
        self._run = run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or the server's start and stop."""
        await (self._live(receive, send) if scope["type"] == "lifespan" else self._app(scope, receive, send))

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            life = self._run(asyncio.get_running_loop())
            await asyncio.to_thread(life.__enter__)
        except Exception:  # noqa: BLE001 -- whatever it is, it was logged, and the server is to end
            await send({"type": "lifespan.startup.failed", "message": ""})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.to_thread(life.__exit__, None, None, None)
        await send({"type": "lifespan.shutdown.complete"})
