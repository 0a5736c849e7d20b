"""Django's backend for PostgreSQL, with a pool that waits for nobody without end."""

import threading
from typing import Any, ClassVar

from django.db.backends.postgresql.base import DatabaseWrapper as PostgresqlWrapper

from ...core.connection_pool import PoolState
from ..statements import MeasuredWrapper
from .pool import ServicePool


class DatabaseWrapper(MeasuredWrapper, PostgresqlWrapper):
    """A connection from the pool that the connections of one alias share."""

    _connection_pools: ClassVar[dict[str, ServicePool]] = {}
    _making = threading.Lock()

    @property
    def pool(self) -> ServicePool | None:
        """The pool; made when it is first asked for, opened when it is first used."""
        options = self.settings_dict["OPTIONS"].get("pool")
        if not options or self.alias == "__no_db__":
            return None
        found = self._connection_pools.get(self.alias)
        return found or self._make_pool(options)

    def _make_pool(self, options: dict[str, Any]) -> ServicePool:
        with self._making:
            if self.alias not in self._connection_pools:
                self._connection_pools[self.alias] = ServicePool(
                    # Django sets it as each block needs it.
                    kwargs={**self.get_connection_params(), "autocommit": True},
                    configure=self._configure_connection,  # type: ignore[attr-defined] # Django's own, which its stubs lack
                    **options,
                )
            return self._connection_pools[self.alias]

    def pool_state(self) -> PoolState:
        """Return what the pool's connections do; asks the pool, not the database."""
        pool = self._connection_pools.get(self.alias)
        return PoolState() if pool is None else pool.state()
