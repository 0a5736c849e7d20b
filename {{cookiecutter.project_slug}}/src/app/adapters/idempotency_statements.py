"""The table of idempotency records and its statements: written once, for both databases and both kinds of driver.

They are built when this module is imported and take parameters, since building one costs more than running it.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

from sqlalchemy import (
    Column,
    Double,
    String,
    Table,
    Text,
    bindparam,
    delete,
    exists,
    literal,
    null,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from ..core.idempotency import Claim
from .database import new_metadata
from .database_text import StatementText

metadata = new_metadata()
records = Table(
    "idempotency_records",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("fingerprint", String(64), nullable=False),
    Column("owner", String(32), nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("answer", Text),
    # The default is for processes of the release before, which run beside this one during a deployment.
    Column("caller", String(64), nullable=False, server_default="", index=True),
)
_FIELDS = (records.c.fingerprint, records.c.lease_until, records.c.expires_at, records.c.answer)


class store_time(GenericFunction[float]):  # noqa: N801 -- named as SQL functions are
    """The database's clock in seconds since 1970, moving on within a transaction."""

    type = Double()
    inherit_cache = True


@compiles(store_time, "sqlite")
def _sqlite_time(_element: Any, _compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(store_time, "postgresql")
def _postgresql_time(_element: Any, _compiler: Any, **_: Any) -> str:
    return "EXTRACT(EPOCH FROM clock_timestamp())::double precision"


# Not named as the columns are: those names SQLAlchemy keeps for itself.
_KEY = bindparam("of_key", type_=String)
_CALLER = bindparam("of_caller", type_=String)
_FINGERPRINT = bindparam("of_fingerprint", type_=String)
_OWNER = bindparam("of_owner", type_=String)
_LEASE = bindparam("of_lease", type_=Double)
_TTL = bindparam("of_ttl", type_=Double)
_ANSWER = bindparam("of_answer", type_=Text)
_LIMIT: Any = bindparam("of_limit")


def parameters(claim: Claim) -> dict[str, Any]:
    """Return what a claim is to the statements.

    Args:
        claim: The claim.

    """
    return {
        "of_key": claim.key,
        "of_caller": claim.caller,
        "of_fingerprint": claim.fingerprint,
        "of_owner": claim.owner,
    }


# What `core.idempotency.decide` says, as conditions: only with them in the statement that writes is a claim atomic.
_RUNNING = records.c.answer.is_(None) & (records.c.lease_until > store_time())
_OVER = (records.c.expires_at <= store_time()) & ~_RUNNING
_ABANDONED = (
    records.c.answer.is_(None) & (records.c.lease_until <= store_time()) & (records.c.fingerprint == _FINGERPRINT)
)
_FREE = or_(_OVER, _ABANDONED)
_HELD = (records.c.key == _KEY) & (records.c.owner == _OWNER) & records.c.answer.is_(None)
_NEW: dict[str, Any] = {
    "key": _KEY,
    "caller": _CALLER,
    "fingerprint": _FINGERPRINT,
    "owner": _OWNER,
    "lease_until": store_time() + _LEASE,
    "expires_at": store_time() + _TTL,
    "answer": null(),
}


def _taken(insert: Any) -> Any:
    """Return an insert that also takes over what is free."""
    return insert.on_conflict_do_update(
        index_elements=[records.c.key],
        set_={name: insert.excluded[name] for name in _NEW if name != "key"},
        where=_FREE,
    )


def _taking(insert: Any) -> Any:
    """Return the same, with a row when it took one."""
    return _taken(insert).returning(records.c.key.label("claimed"))


def _claim_or_find() -> Any:
    """Return one statement that takes a key, or shows what stands in the way; in the second case it writes nothing.

    What it shows may be a moment old, which is when it was true; what it takes is decided by the insert alone.
    """
    found = select(*_FIELDS, _FREE.label("free")).where(records.c.key == _KEY).cte("found")
    wanted = select(*(value.label(name) for name, value in _NEW.items())).where(
        ~exists(select(literal(1)).select_from(found).where(~found.c.free))
    )
    taken = _taking(postgresql.insert(records).from_select(list(_NEW), wanted)).cte("taken")
    one = select(literal(1).label("one")).subquery("one")
    columns = (found.c[column.name] for column in _FIELDS)
    return select(taken.c.claimed, *columns, store_time().label("now")).select_from(
        one.outerjoin(taken, true()).outerjoin(found, true())
    )


_FOUND = select(null().label("claimed"), *_FIELDS, store_time().label("now")).where(records.c.key == _KEY)
# By dialect: what is asked in turn until a row answers.
CLAIM = {
    "postgresql": (_claim_or_find(),),
    "sqlite": (
        _taking(sqlite.insert(records).values(_NEW)),
        _FOUND,
    ),
}
# A claim and its answer in one: for a record that commits together with the effect, which nobody sees before.
_RECORDED = {**_NEW, "lease_until": store_time(), "answer": _ANSWER}
RECORD = {
    "postgresql": (_taking(postgresql.insert(records).values(_RECORDED)), _FOUND),
    "sqlite": (_taking(sqlite.insert(records).values(_RECORDED)), _FOUND),
}
# What the first of them returns when it wrote.
RECORDED = SimpleNamespace(claimed=True)
COMPLETE = (
    update(records)
    .where(_HELD)
    .values(answer=_ANSWER, expires_at=store_time() + _TTL)
    .returning(records.c.key)
)  # fmt: skip
RENEW = update(records).where(_HELD).values(lease_until=store_time() + _LEASE).returning(records.c.key)
RELEASE = delete(records).where(_HELD).returning(records.c.key)
FORGET = delete(records).where(records.c.caller == _CALLER)
# Several processes share the work: none waits for what another one has taken.
_ENDED = (
    select(records.c.key)
    .where(_OVER)
    .order_by(records.c.expires_at)
    .limit(_LIMIT)
    .with_for_update(skip_locked=True)
    .cte("ended")
)
PURGE = delete(records).where(records.c.key.in_(select(_ENDED.c.key))).returning(records.c.key)


@lru_cache(maxsize=8)
def record_text(dialect: Dialect) -> StatementText:
    """Return the first statement of a record as text, which writes one row or none.

    Args:
        dialect: For which database.

    """
    kind = {"postgresql": postgresql, "sqlite": sqlite}[dialect.name]
    return StatementText(_taken(kind.insert(records).values(_RECORDED)), dialect)
