"""What every log line of a request, task or message says about it.

The fields live in one mapping per unit of work, so what an endpoint binds is on the access line too, and nothing
outlives the `with` block that opened it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, Token
from types import MappingProxyType
from typing import Any

import orjson

from .queries import QueryCount


class Context(dict[str, Any]):
    """The fields of a unit of work, how they look in a line of JSON, rendered once, and the work's statements."""

    # Of the class until they are set: every request makes one, and most set none of them.
    _rendered: bytes | None = None
    _around: "Context | None" = None
    queries: QueryCount | None = None

    def query_count(self) -> QueryCount:
        """Return the count of the work's statements, which its parts share; it is made when it is first asked for."""
        if self.queries is None:
            self.queries = QueryCount()
        return self.queries

    def part(self, fields: Mapping[str, Any]) -> "Context":
        """Return the context of a part of the same work: its own fields besides; what is bound there is bound here.

        Args:
            fields: The part's own.

        """
        part = Context(self)
        part.update(fields)
        part._around = self
        part.queries = self.query_count()
        return part

    def bind(self, fields: Mapping[str, Any]) -> None:
        """Add fields."""
        self.update(fields)
        self._rendered = None
        if self._around is not None:
            self._around.bind(fields)

    def rendered(self) -> bytes:
        """Return the fields as JSON, each preceded by a comma; raises TypeError when one is no JSON."""
        if self._rendered is None:
            self._rendered = b"," + orjson.dumps(self)[1:-1] if self else b""
        return self._rendered


_EMPTY: Mapping[str, object] = MappingProxyType({})
_fields: ContextVar[Mapping[str, object]] = ContextVar("log_context", default=_EMPTY)


def open_context(context: Context) -> Token[Mapping[str, object]]:
    """Make a context the open one; `close_context` ends it. For code that every request runs: others use `with`.

    Args:
        context: Its fields; those of the one around it are not taken over.

    """
    return _fields.set(context)


def close_context(token: Token[Mapping[str, object]]) -> None:
    """End what `open_context` began.

    Args:
        token: What it returned.

    """
    _fields.reset(token)


@contextmanager
def request_context(**fields: object) -> Iterator[Mapping[str, object]]:
    """Open a context: its fields, over those of the one around it, are on every log line within.

    Args:
        fields: Names and values, such as `request_id` or `user_id`.

    """
    around = _fields.get()
    opened = Context(around, **fields)
    if isinstance(around, Context):
        opened.queries = around.query_count()
    token = _fields.set(opened)
    try:
        yield opened
    finally:
        _fields.reset(token)


@contextmanager
def count_queries() -> Iterator[QueryCount]:
    """Count the statements of a block by themselves, as a test does; they count for the work around it too."""
    around = _fields.get()
    opened = around.part({}) if isinstance(around, Context) else Context()
    own = opened.queries = QueryCount()
    token = _fields.set(opened)
    try:
        yield own
    finally:
        _fields.reset(token)
        if isinstance(around, Context):
            around.query_count().merge(own)


def bind_context(**fields: object) -> None:
    """Add fields to the open context; without one there is nothing to add to, and nothing happens.

    Args:
        fields: Names and values.

    """
    opened = _fields.get()
    if isinstance(opened, Context):
        opened.bind(fields)


def set_user_id(user_id: str | None) -> None:
    """Name the user on whose behalf the open context works.

    Args:
        user_id: The user, or None when it is not known.

    """
    bind_context(user_id=user_id)


# The fields of the open context. Every line asks for them, so it is the variable's own method: a function around it
# would take several times as long.
current_context: Callable[[], Mapping[str, object]] = _fields.get
