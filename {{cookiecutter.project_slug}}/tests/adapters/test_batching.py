"""What many ask for is done for many at once, and for nobody late."""

import asyncio
import time
from collections.abc import Sequence

import pytest

from app.adapters.message_transports.batching import Batching

# Longer than any test takes.
NEVER = 60.0


class Doing:
    """Does nothing, and notes for whom; each time when it may."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may = asyncio.Event()
        self.may.set()

    async def do(self, numbers: Sequence[int]) -> None:
        """Note a batch."""
        self.batches.append(list(numbers))
        await self.may.wait()
        if -1 in numbers:
            msg = "no"
            raise ValueError(msg)


def asked(batching: Batching[int], *numbers: int, soon: bool = True) -> "list[asyncio.Task[None]]":
    """Ask for numbers, each in a task of its own."""
    return [asyncio.create_task(batching.add(number, soon=soon)) for number in numbers]


async def test_what_comes_meanwhile_is_one_batch() -> None:
    """Nobody waits for others but for those that are under way."""
    doing = Doing()
    batching = Batching(doing.do, limit=10)
    doing.may.clear()
    first = asked(batching, 1)
    await asyncio.sleep(0.01)
    others = asked(batching, 2, 3, soon=False)
    await asyncio.sleep(0.01)
    doing.may.set()
    await asyncio.gather(*first, *others)
    assert doing.batches == [[1], [2, 3]]


async def test_what_nobody_waits_for_is_collected() -> None:
    """It is done when the pause has passed, all of it at once; the next one has a pause of its own."""
    doing = Doing()
    batching = Batching(doing.do, limit=10, pause=0.02)
    for _ in range(2):
        began = time.monotonic()
        await asyncio.gather(*asked(batching, 1, 2, 3, soon=False))
        assert time.monotonic() - began >= 0.02
    assert doing.batches == [[1, 2, 3]] * 2


@pytest.mark.parametrize("way", ["soon", "limit", "finish"])
async def test_the_pause_ends_early(way: str) -> None:
    """When somebody waits, when there are enough, and at the end."""
    doing = Doing()
    batching = Batching(doing.do, limit=3, pause=NEVER)
    tasks = asked(batching, 1, 2, soon=False)
    await asyncio.sleep(0)
    if way == "finish":
        await batching.finish()
    else:
        tasks += asked(batching, 3, soon=way == "soon")
    await asyncio.gather(*tasks)
    assert doing.batches == [[1, 2] if way == "finish" else [1, 2, 3]]


async def test_somebody_who_waits_comes_after_what_is_under_way() -> None:
    """Also when others were to be collected meanwhile."""
    doing = Doing()
    batching = Batching(doing.do, limit=10, pause=NEVER)
    doing.may.clear()
    tasks = asked(batching, 1)
    await asyncio.sleep(0.01)
    tasks += asked(batching, 2, soon=False)
    await asyncio.sleep(0)
    tasks += asked(batching, 3)
    await asyncio.sleep(0)
    doing.may.set()
    await asyncio.gather(*tasks)
    assert doing.batches == [[1], [2, 3]]


async def test_what_fails_fails_for_all_and_no_further() -> None:
    """Each of a batch is told; the next batch is another one."""
    batching = Batching(Doing().do, limit=10, pause=0.001)
    ended = await asyncio.gather(*asked(batching, 1, -1, soon=False), return_exceptions=True)
    assert [str(error) for error in ended] == ["no", "no"]
    await batching.add(2)


async def test_who_is_cancelled_is_done_for_nevertheless() -> None:
    """What was asked for is done, though nobody hears of it."""
    doing = Doing()
    batching = Batching(doing.do, limit=10, pause=0.001)
    (task,) = asked(batching, 1, soon=False)
    await asyncio.sleep(0)
    task.cancel()
    await batching.add(2, soon=False)
    assert doing.batches == [[1, 2]]
