"""What may be said of a SQL statement where few words must do: in labels of metrics and names of spans."""

import re
from functools import lru_cache

OTHER = "OTHER"
_KINDS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "BEGIN", "PRAGMA", "CREATE", "ALTER", "DROP", "WITH"})
_TABLE = re.compile(r"\s(?:FROM|INTO|UPDATE)\s+(?:\"([^\"]{1,128})\"|([A-Za-z_][\w.]{0,127}))")
_LOOKED_AT = 8192


def statement_kind(statement: str) -> str:
    """Return the first word of a statement, or `OTHER`: few enough to be a label.

    Args:
        statement: SQL.

    """
    word = statement.lstrip()[:10].split(maxsplit=1)[0].upper() if statement.strip() else ""
    return word if word in _KINDS else OTHER


@lru_cache(maxsize=1024)
def statement_table(statement: str) -> str:
    """Return the first table that a statement names, or nothing.

    Args:
        statement: SQL that a library wrote; in one that a person wrote, a word after `FROM` may be part of a value.

    """
    found = _TABLE.search(" " + statement[:_LOOKED_AT])
    return (found[1] or found[2]) if found else ""
