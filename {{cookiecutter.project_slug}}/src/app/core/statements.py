"""What may be said of a SQL statement: few words in labels of metrics and names of spans, no values in log lines."""

import re
from functools import lru_cache

OTHER = "OTHER"
WITH = "WITH"
BEGIN = "BEGIN"
COMMIT = "COMMIT"
_KINDS = frozenset(
    {
        *("SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "COPY", "CALL", BEGIN, COMMIT, "ROLLBACK"),
        *("SAVEPOINT", "RELEASE", "SET", "PRAGMA", "CREATE", "ALTER", "DROP", "TRUNCATE", "EXPLAIN", WITH),
    }
)
# Of a longer statement only the beginning is looked at, and kept in the caches below.
_LOOKED_AT = 8192
_SHOWN = 2000
_COMMENT = r"--[^\n]*+|/\*(?:(?!/\*|\*/).)*+\*/|/\*(?:.*\*/|.*)"
_STRING = r"[A-Za-z&]{0,2}'(?:[^']|'')*(?:'|\Z)"
_DOLLARS = r"\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)"
_FIRST_WORD = re.compile(rf"(?>\s+|\(|{_COMMENT})*+(?P<word>[A-Za-z]+)\b", re.DOTALL)
_STEP = re.compile(rf"{_COMMENT}|{_STRING}|{_DOLLARS}|\"[^\"]*\"|(?P<bracket>[()])|(?P<word>\b[A-Za-z_]\w*)", re.DOTALL)
_VERBS = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"})
# SQLAlchemy begins a line with FROM, which tells it from the one in `EXTRACT(year FROM …)`.
_TABLE = re.compile(r"(?:\nFROM|\bDELETE FROM|\sINTO|\sUPDATE)\s+(?:\"([^\"]{1,128})\"|([A-Za-z_][\w.]{0,127}))")
# Django quotes every name. What stands before a quoted text cannot be part of it.
_QUOTED_TABLE = re.compile(r"(?:SELECT [^']*?\sFROM|INSERT INTO|UPDATE|DELETE FROM) \"([^\"]{1,128})\"")
# A name in double quotes is known by what stands beside it; anywhere else SQLite takes it for a value.
_NAME = r"(?P<name>(?:\.|\b(?:FROM|JOIN|INTO|UPDATE|TABLE|AS)\s+)\"[^\"]*\"|\"[^\"]*\"(?=\.))"
_PLACEHOLDER = r"(?P<placeholder>%\(\w+\)s|%s|\$\d+|:[A-Za-z_]\w*)"
_NUMBER = r"(?<![\w$.])\.?\d[\w.]*(?:(?<=[eE])[+-]\d+)?"
_VALUE = re.compile(
    rf"(?P<comment>{_COMMENT})|{_NAME}|{_PLACEHOLDER}|{_STRING}|{_DOLLARS}|\"[^\"]*(?:\"|\Z)|{_NUMBER}",
    re.DOTALL | re.IGNORECASE,
)
_PARAMETER = r"(?:\?|%\(\w+\)s|%s|\$\d+|:[A-Za-z_]\w*)(?:::[A-Za-z][\w ]*)?"
_LIST = re.compile(rf"\bIN \({_PARAMETER}(?:, *{_PARAMETER})+\)", re.IGNORECASE)


def statement_kind(statement: str) -> str:
    """Return what a statement does, as its verb, or `OTHER`: few enough to be a label.

    Of a statement that begins with `WITH` it is the verb behind the common table expressions.

    Args:
        statement: SQL.

    """
    # A text that is not longer is the same object, whose hash is known.
    return _kind(statement[:_LOOKED_AT])


@lru_cache(maxsize=1024)
def _kind(beginning: str) -> str:
    found = _FIRST_WORD.match(beginning)
    word = found["word"].upper() if found else ""
    if found and word == WITH:
        return _verb_behind(beginning, found.end())
    return word if word in _KINDS else OTHER


def _verb_behind(statement: str, start: int) -> str:
    """Return the verb outside of all brackets."""
    depth = 0
    for step in _STEP.finditer(statement, start):
        depth += {"(": 1, ")": -1}.get(step["bracket"] or "", 0)
        word = (step["word"] or "").upper()
        if depth == 0 and word in _VERBS:
            return word
    return WITH


def statement_table(statement: str) -> str:
    """Return the first table that a statement names, or nothing.

    Args:
        statement: SQL that a library wrote; in one that a person wrote, a word after `FROM` may be part of a value.

    """
    return _table(statement[:_LOOKED_AT])


@lru_cache(maxsize=1024)
def _table(beginning: str) -> str:
    found = _TABLE.search(" " + beginning)
    return (found[1] or found[2]) if found else ""


def quoted_table(statement: str) -> str:
    """Return the first table that a statement names in double quotes, as Django writes all names, or nothing.

    Args:
        statement: SQL, written by Django or a person.

    """
    return _quoted_table(statement[:_LOOKED_AT])


@lru_cache(maxsize=1024)
def _quoted_table(beginning: str) -> str:
    found = _QUOTED_TABLE.match(beginning)
    return found[1] if found else ""


def without_values(statement: str) -> str:
    """Return a statement as it may be shown: placeholders stay, each literal is `?`, comments are gone.

    So statements that differ in their values alone become one text. What cannot be taken apart is not shown.

    Args:
        statement: SQL, written by a library or a person.

    """
    # With older settings a backslash hides the quote behind it, and what is a value cannot be told.
    if "\\'" in statement:
        return statement_kind(statement)
    shown = _VALUE.sub(_shown, statement[:_LOOKED_AT])
    text = " ".join(_LIST.sub("IN (...)", shown).split()) or statement_kind(statement)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _shown(found: re.Match[str]) -> str:
    if found["comment"]:
        return " "
    return found["name"] or found["placeholder"] or "?"
