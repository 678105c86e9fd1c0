"""Names to be worked on: each once however often it is called for, never by two at once, later after a failure.

Next module: `shadow.controller.operator`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0


class Work:
    """A queue of names, no longer than there are names."""

    def __init__(self) -> None:
        self._waiting: deque[str] = deque()
        self._called: set[str] = set()
        """In `_waiting`, or to be once it is not worked on any more."""
        self._busy: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._failures: dict[str, int] = {}
        self._there = asyncio.Event()

    def __len__(self) -> int:
        return len(self._called)

    def add(self, name: str) -> None:
        """It needs work now."""
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()
        if name in self._called:
            return
        self._called.add(name)
        if name not in self._busy:
            self._push(name)

    def add_later(self, name: str, seconds: float) -> None:
        """The same, in a while; the earliest of several counts."""
        loop = asyncio.get_running_loop()
        known = self._timers.get(name)
        if name in self._called or (known is not None and known.when() <= loop.time() + seconds):
            return
        if known is not None:
            known.cancel()
        self._timers[name] = loop.call_later(seconds, self.add, name)

    async def take(self) -> str:
        """The next one, when there is one; say `done` or `failed` afterwards."""
        while not self._waiting:
            self._there.clear()
            await self._there.wait()
        name = self._waiting.popleft()
        self._called.discard(name)
        self._busy.add(name)
        return name

    def done(self, name: str) -> None:
        """It was worked on."""
        self._failures.pop(name, None)
        self._free(name)

    def failed(self, name: str) -> None:
        """It was not: again after a pause that doubles."""
        failures = self._failures[name] = self._failures.get(name, 0) + 1
        self._free(name)
        self.add_later(name, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(failures - 1, 10)))

    def _free(self, name: str) -> None:
        self._busy.discard(name)
        if name in self._called:
            self._push(name)

    def _push(self, name: str) -> None:
        self._waiting.append(name)
        self._there.set()
