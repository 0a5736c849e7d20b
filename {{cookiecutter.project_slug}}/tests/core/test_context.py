"""What is bound is on the lines of its own unit of work, and on no other."""

import asyncio

import pytest

from app.core.context import Context, bind_context, current_context, request_context, set_user_id


def test_fields_live_within_the_block() -> None:
    """Fields are there within the block and gone after it."""
    with request_context(request_id="r1") as context:
        assert current_context() == {"request_id": "r1"}
        assert context == {"request_id": "r1"}
    assert current_context() == {}


def test_fields_are_gone_after_an_error() -> None:
    """A block that fails leaves nothing behind."""
    with pytest.raises(RuntimeError), request_context(request_id="r1"):
        raise RuntimeError
    assert current_context() == {}


def test_inner_context_adds_and_overrides() -> None:
    """An inner context has the outer one's fields and its own, and the outer one does not change."""
    with request_context(request_id="r1", user_id="ada"):
        with request_context(user_id="bob", step=2):
            assert current_context() == {"request_id": "r1", "user_id": "bob", "step": 2}
        assert current_context() == {"request_id": "r1", "user_id": "ada"}


def test_bind_adds_to_the_open_context() -> None:
    """What is bound is seen by whoever opened the context, until it closes."""
    with request_context(request_id="r1") as context:
        bind_context(order_id="o1")
        set_user_id("ada")
        assert context == {"request_id": "r1", "order_id": "o1", "user_id": "ada"}
    assert current_context() == {}


def test_bind_without_a_context_does_nothing() -> None:
    """Outside any context there is nothing to add to."""
    bind_context(order_id="o1")
    set_user_id("ada")
    assert current_context() == {}


async def test_tasks_do_not_share() -> None:
    """Two units of work at the same moment see their own fields only."""
    both_inside = asyncio.Barrier(2)

    async def work(user: str) -> dict[str, object]:
        with request_context(request_id=user):
            set_user_id(user)
            await both_inside.wait()
            return dict(current_context())

    ada, bob = await asyncio.gather(work("ada"), work("bob"))
    assert ada == {"request_id": "ada", "user_id": "ada"}
    assert bob == {"request_id": "bob", "user_id": "bob"}


async def test_threads_and_tasks_below_belong_to_the_context() -> None:
    """What a task or thread of the unit of work binds is on the unit's own lines too."""
    with request_context(request_id="r1"):
        await asyncio.to_thread(bind_context, thread=1)
        await asyncio.create_task(_bind_task())
        assert current_context() == {"request_id": "r1", "thread": 1, "task": 2}


async def _bind_task() -> None:
    bind_context(task=2)


def test_part_of_a_work() -> None:
    """A part has fields of its own, and what is bound in it is bound around it; its own fields are not."""
    work = Context(request_id="r1", span_id="outer")
    part = work.part({"span_id": "inner"})
    rendered = work.rendered()
    part.part({}).bind({"user_id": "ada"})
    assert part == {"request_id": "r1", "span_id": "inner", "user_id": "ada"}
    assert work == {"request_id": "r1", "span_id": "outer", "user_id": "ada"}
    assert work.rendered() == rendered + b',"user_id":"ada"'
