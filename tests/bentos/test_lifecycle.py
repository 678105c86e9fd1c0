"""Draining: not ready at once, ended after the wait, at once when told again."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from bentos.lifecycle import STOPPING, Lifecycle
from tests.bentos.fronts import Counted


@pytest.fixture
def ended() -> Iterator[list[int]]:
    """The signals that the server's own handler has heard."""
    heard: list[int] = []
    before = {number: signal.signal(number, lambda signum, frame: heard.append(signum)) for number in STOPPING}
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


async def until(condition) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize("number", STOPPING)
async def test_after_a_signal_it_is_not_ready_and_the_server_hears_it_later(ended: list[int], number: int) -> None:
    lifecycle = Lifecycle()
    lifecycle.open(object(), Counted(), 1)  # type: ignore[arg-type]
    loop = asyncio.get_running_loop()
    later = []
    loop.call_later = lambda wait, call, *arguments: later.append((wait, call, arguments))  # type: ignore[assignment]
    try:
        lifecycle.drain_on_signals(30.0)
        assert lifecycle.ready
        os.kill(os.getpid(), number)
        await until(lambda: later)
        assert not lifecycle.ready
        assert lifecycle.not_ready().problem.detail.startswith("draining")
        assert ended == []
        os.kill(os.getpid(), number)
        await until(lambda: len(later) == 2)
        assert [wait for wait, _, _ in later] == [30.0, 0.0]
        for _, call, arguments in later:
            call(*arguments)
        assert ended == [number, number]
    finally:
        del loop.call_later
        for each in STOPPING:
            loop.remove_signal_handler(each)


async def test_requests_in_flight_are_reported() -> None:
    class Told(Counted):
        def in_flight(self, requests: int) -> None:
            told.append(requests)

    told: list[int] = []
    lifecycle = Lifecycle()
    lifecycle.metrics, lifecycle.in_flight = Told(), 3
    reporting = asyncio.create_task(lifecycle.report())
    await until(lambda: told)
    reporting.cancel()
    assert told == [3]
