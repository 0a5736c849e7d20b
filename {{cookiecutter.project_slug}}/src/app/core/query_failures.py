"""Why a database refused or failed a statement, in few words.

PostgreSQL says it by an SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html), SQLite by a result
code (https://www.sqlite.org/rescode.html).
"""

from enum import StrEnum


class QueryFailure(StrEnum):
    """What failed."""

    # There is no connection, or it was lost, or the server takes no more work.
    UNAVAILABLE = "unavailable"
    # A time limit ended it: of a statement, of waiting for a lock, of a transaction that did nothing.
    TIMEOUT = "timeout"
    # It cannot be done beside another transaction; trying again can help.
    CONFLICT = "conflict"
    # The data break a rule of the schema.
    CONSTRAINT = "constraint"
    OTHER = "other"


_BY_SQLSTATE = {
    "57014": QueryFailure.TIMEOUT,
    "55P03": QueryFailure.TIMEOUT,
    "25P03": QueryFailure.TIMEOUT,
    "57P": QueryFailure.UNAVAILABLE,
    "08": QueryFailure.UNAVAILABLE,
    "53": QueryFailure.UNAVAILABLE,
    "40": QueryFailure.CONFLICT,
    "23": QueryFailure.CONSTRAINT,
}
_BY_SQLITE_CODE = {
    5: QueryFailure.TIMEOUT,
    6: QueryFailure.TIMEOUT,
    10: QueryFailure.UNAVAILABLE,
    11: QueryFailure.UNAVAILABLE,
    13: QueryFailure.UNAVAILABLE,
    14: QueryFailure.UNAVAILABLE,
    19: QueryFailure.CONSTRAINT,
    26: QueryFailure.UNAVAILABLE,
}
# Further bits of a result code only refine it.
_PRIMARY = 0xFF


def query_failure(error: BaseException) -> QueryFailure:
    """Return what an error of a database's driver means.

    Args:
        error: As the driver raised it.

    """
    sqlstate = getattr(error, "sqlstate", None)
    if isinstance(sqlstate, str):
        return next((what for start, what in _BY_SQLSTATE.items() if sqlstate.startswith(start)), QueryFailure.OTHER)
    code = getattr(error, "sqlite_errorcode", None)
    return _BY_SQLITE_CODE.get(code & _PRIMARY, QueryFailure.OTHER) if isinstance(code, int) else QueryFailure.OTHER
