"""psycopg's pool, for a service that answers in time (https://www.psycopg.org/psycopg3/docs/api/pool.html).

Left to itself the pool goes on trying to connect for minutes, and whoever waits for a connection meanwhile waits up to
its limit, even while the server refuses each attempt. Here an attempt that fails is told at once to all who wait, and
the next who asks is the next attempt.
"""

import logging
from collections.abc import Callable
from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool, PoolTimeout

from ...adapters.statement_deadline import bounded, seconds_left, statements_within
from ...core.connection_pool import PoolState, PoolWatch

_log = logging.getLogger("psycopg.pool")


class BoundedConnection(Connection[Any]):
    """A connection that heeds `statements_within`."""

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """Wait for an exchange with the server."""
        return super().wait(bounded(gen, self), *arguments, **options)


class ServicePool(ConnectionPool[BoundedConnection]):
    """The connections of a process.

    Args:
        kwargs: What each is opened with.
        configure: Prepares a new one.
        min_size: How many stay open.
        max_size: How many there may be.
        timeout: For how many seconds one is waited for.
        check_timeout: How many seconds a connection has to show that it is alive before it is given out.

    """

    def __init__(
        self,
        *,
        kwargs: dict[str, Any],
        configure: Callable[[Any], object],
        min_size: int,
        max_size: int,
        timeout: float,
        check_timeout: float,
    ) -> None:
        # What fails is counted, and logged by whoever asked: not once more by the pool for each attempt.
        if _log.level == logging.NOTSET:
            _log.setLevel(logging.ERROR)
        self._watch = PoolWatch(None, PoolTimeout)
        self._check_timeout = check_timeout
        super().__init__(
            kwargs=kwargs,
            connection_class=BoundedConnection,
            configure=configure,  # type: ignore[arg-type] # what Django's returns nobody looks at
            check=self._ask,
            min_size=min_size,
            max_size=max_size,
            timeout=timeout,
            # A connection beyond `min_size` that nobody needed for so long is closed.
            max_idle=60.0,
            # Once more at the most: the next who asks is the next attempt.
            reconnect_timeout=0.0,
            open=False,
        )

    def getconn(self, timeout: float | None = None) -> BoundedConnection:
        """Return a connection that answered; within `statements_within` no later than that says."""
        given = self.timeout if timeout is None else timeout
        left = seconds_left()
        limit = given if left is None else max(0.0, min(given, left))
        return self._watch.connect(lambda: super(ServicePool, self).getconn(limit))

    def state(self) -> PoolState:
        """Return what the connections do; asks the pool, not the database."""
        now = self.get_stats()
        idle = now.get("pool_available", 0)
        in_use = max(0, now.get("pool_size", 0) - idle)
        return PoolState(in_use, idle, self.max_size, self._watch.waiting, self._watch.timeouts)

    def _connect(self, timeout: float | None = None) -> BoundedConnection:
        """Open a connection; when that fails, those who wait are told that there is none to be had."""
        try:
            return super()._connect(timeout)
        except Exception as error:
            with self._lock:
                waiting = list(self._waiting)
                self._waiting.clear()
            for client in waiting:
                client.fail(error)
            raise

    def _ask(self, connection: BoundedConnection) -> None:
        left = seconds_left()
        try:
            with statements_within(self._check_timeout if left is None else min(left, self._check_timeout)):
                self.check_connection(connection)
        except Exception:
            # The others are no younger: asking one after the other would take as often as long.
            self.drain()
            raise
