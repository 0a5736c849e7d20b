"""Statements are counted for the work that sends them, and the one that ran most often is found."""

import asyncio

import pytest

from app.core.context import Context, close_context, count_queries, current_context, open_context, request_context
from app.core.queries import MAX_TEXTS, QueryCount


def send(text: str = "SELECT 1", seconds: float = 0.5) -> None:
    """Count a statement as the database does."""
    work = current_context()
    if isinstance(work, Context):
        work.query_count().add(text, seconds)


def test_count() -> None:
    """Statements and their time add up."""
    queries = QueryCount()
    queries.add("a", 0.25)
    queries.add("b", 0.5)
    assert (queries.count, queries.seconds) == (2, 0.75)


def test_most_often() -> None:
    """Statements that differ in their values alone are one."""
    queries = QueryCount()
    for number in range(3):
        queries.add("SELECT b", 0)
        queries.add(f"SELECT a WHERE b = {number}", 0)
        queries.add(f"SELECT a WHERE b = '{number}'", 0)
    assert queries.most_often() == ("SELECT a WHERE b = ?", 6)


def test_nothing_was_sent() -> None:
    """Without a statement none ran most often."""
    assert QueryCount().most_often() == ("", 0)


def test_memory_is_bounded() -> None:
    """However many texts there are, few are kept, and all are counted."""
    queries = QueryCount()
    for number in range(MAX_TEXTS * 2):
        queries.add(f"SELECT {number}", 0)
    other = QueryCount()
    other.merge(queries)
    other.merge(queries)
    assert (len(queries.texts), len(other.texts)) == (MAX_TEXTS, MAX_TEXTS)
    assert (queries.count, other.count) == (MAX_TEXTS * 2, MAX_TEXTS * 4)


def test_contexts_within_a_request_share_its_count() -> None:
    """What an inner context, a span's or a function's, sends counts for the request, and for no other."""
    outer = Context(request_id="r")
    token = open_context(outer)
    try:
        send()
        with request_context(user_id="u"):
            send()
        span = open_context(outer.part({"span_id": "s"}))
        send()
        close_context(span)
        with count_queries() as part:
            send()
            send()
    finally:
        close_context(token)
    assert (outer.query_count().count, part.count) == (5, 2)
    with request_context(request_id="s") as other:
        assert isinstance(other, Context)
        assert other.query_count().count == 0


def test_work_without_a_statement_has_no_count() -> None:
    """Where no statement was sent there is nothing to tell."""
    context = Context(request_id="r")
    token = open_context(context)
    close_context(token)
    assert context.queries is None


def test_count_without_a_context() -> None:
    """A test counts where no request is, and what is bound within reaches nobody outside."""
    with count_queries() as queries:
        send()
    send()
    assert queries.count == 1
    assert current_context() == {}


def test_fields_within_a_count() -> None:
    """The fields of the work around are on the lines within a count."""
    with request_context(request_id="r"), count_queries():
        assert current_context() == {"request_id": "r"}


def test_error_within_a_count() -> None:
    """What was sent before an error counts for the work around."""

    def fail() -> None:
        with count_queries():
            send()
            raise LookupError

    with request_context() as context:
        with pytest.raises(LookupError):
            fail()
        assert isinstance(context, Context)
        assert context.query_count().count == 1


async def test_tasks_count_for_themselves_and_their_work() -> None:
    """Blocks that run at the same time count their own."""

    async def work(number: int) -> int:
        with count_queries() as queries:
            for _ in range(number):
                send()
                await asyncio.sleep(0)
        return queries.count

    with count_queries() as all_of_them:
        assert await asyncio.gather(*(work(number) for number in range(4))) == [0, 1, 2, 3]
    assert all_of_them.count == 6
