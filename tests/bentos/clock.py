"""An event loop whose clock stands still until a test moves it: a deadline can be held to microseconds on any machine.

Sockets and whoever is at their other end are real, and are waited for however slow they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

TURNS = 20
"""Of the loop, after which whatever was due has been done."""


class StillLoop(asyncio.SelectorEventLoop):
    """Timers are due when `wait` has moved the clock that far."""

    _now = 0.0

    def time(self) -> float:
        return self._now

    async def wait(self, milliseconds: float) -> None:
        """So much time passes, and whatever is due then is done."""
        self._now += milliseconds / 1000
        for _ in range(TURNS):
            await asyncio.sleep(0)


def run_still(scenario: Callable[[StillLoop], Coroutine[Any, Any, None]]) -> None:
    """Run `scenario` in a loop of its own."""
    loop = StillLoop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(scenario(loop))
