"""One transaction for everything that an operation does, the record of its idempotency key included."""

from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from .database import Database

SERVER_ERROR = 500


class UnitOfWork:
    """One transaction that is opened when it is first needed.

    Args:
        database: Where it runs.
        read_only: Whether it only reads.

    """

    def __init__(self, database: Database, *, read_only: bool) -> None:
        self._database = database
        self._read_only = read_only
        self._session: AsyncSession | None = None

    @property
    def session(self) -> AsyncSession:
        """The session whose statements commit together."""
        if self._session is None:
            self._session = self._database.session(read_only=self._read_only)
        return self._session

    @property
    def is_open(self) -> bool:
        """Whether there is anything to end."""
        return self._session is not None

    async def commit(self) -> None:
        """Make what was done permanent; what cannot be is undone at once, for SQLite would keep it open."""
        if self._session is None:
            return
        try:
            await self._session.commit()
        except Exception:
            await self._session.rollback()
            raise

    async def end(self, status: int) -> None:
        """Commit or undo, as the answer says.

        Args:
            status: The HTTP status of the answer; from 500 up what was done is undone.

        """
        await (self.commit() if status < SERVER_ERROR else self.rollback())

    async def rollback(self) -> None:
        """Undo what was done."""
        if self._session is not None:
            await self._session.rollback()

    async def aclose(self) -> None:
        """Give the connection back; what was not committed is undone."""
        if self._session is not None:
            await self._session.close()


class SyncUnitOfWork:
    """The same for code that runs no event loop.

    Args:
        engine: Where it runs.

    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        """The session whose statements commit together."""
        if self._session is None:
            self._session = Session(self._engine, expire_on_commit=False)
        return self._session

    @property
    def is_open(self) -> bool:
        """Whether there is anything to end."""
        return self._session is not None

    def commit(self) -> None:
        """Make what was done permanent; what cannot be is undone at once, for SQLite would keep it open."""
        if self._session is None:
            return
        try:
            self._session.commit()
        except Exception:
            self._session.rollback()
            raise

    def rollback(self) -> None:
        """Undo what was done."""
        if self._session is not None:
            self._session.rollback()

    def close(self) -> None:
        """Give the connection back; what was not committed is undone."""
        if self._session is not None:
            self._session.close()
