"""Names to be worked on: once each, never by two at once, later after a failure."""

from __future__ import annotations

import asyncio

import pytest

from shadow.controller import work
from shadow.controller.work import Work


async def now(queue: Work) -> str | None:
    """What there is to take without waiting."""
    try:
        return await asyncio.wait_for(queue.take(), 0.01)
    except TimeoutError:
        return None


async def test_a_name_that_is_called_for_many_times_is_worked_on_once() -> None:
    queue = Work()
    for _ in range(3):
        queue.add("a")
    queue.add("b")
    assert len(queue) == 2
    assert [await now(queue) for _ in range(3)] == ["a", "b", None]


async def test_a_name_that_is_worked_on_waits_until_that_is_done() -> None:
    queue = Work()
    queue.add("a")
    await queue.take()
    queue.add("a")
    assert await now(queue) is None
    queue.done("a")
    assert await now(queue) == "a"


async def test_later_means_in_a_while_and_the_earliest_counts() -> None:
    queue = Work()
    queue.add_later("a", 60)
    queue.add_later("a", 0.02)
    queue.add_later("a", 60)
    async with asyncio.timeout(30):
        assert await queue.take() == "a"
    queue.done("a")
    assert await now(queue) is None


async def test_now_comes_before_later() -> None:
    queue = Work()
    queue.add_later("a", 0.02)
    queue.add("a")
    assert await now(queue) == "a"
    queue.done("a")
    await asyncio.sleep(0.05)
    assert await now(queue) is None


async def test_a_failure_is_tried_again_after_a_pause_that_doubles(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    queue = Work()
    monkeypatch.setattr(queue, "add_later", lambda name, seconds: pauses.append(seconds))
    for _ in range(9):
        queue.add("a")
        await queue.take()
        queue.failed("a")
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    assert pauses[-1] == work.LONGEST_PAUSE
    queue.add("a")
    await queue.take()
    queue.done("a")
    queue.add("a")
    await queue.take()
    queue.failed("a")
    assert pauses[-1] == work.FIRST_PAUSE
