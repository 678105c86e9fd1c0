"""The registry's champion, for `GET /model`: asked under a short deadline, remembered for a while, never needed.

A service answers users whether or not the registry does. Next module: `bentos.api`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from bentos.messages import RegistryInfo

if TYPE_CHECKING:
    from bentos.registry import Registry

log = logging.getLogger(__name__)
DEADLINE_SECONDS: Final = 1.0
REMEMBERED_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 5.0
"""How long an unanswered question is not asked again."""

Ask = Callable[[], Awaitable[str | None]]
"""The champion's bento tag; None when there is no champion. May fail in any way."""


def registered(registry: Registry) -> Ask:
    """Ask `registry`."""

    async def ask() -> str | None:
        found = await registry.champion()
        return None if found is None else found.tag("bento")

    return ask


class Champion:
    """What the registry says, at most `REMEMBERED_SECONDS` old. `ask` is None when there is no registry."""

    def __init__(self, ask: Ask | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._clock = clock
        self._lock = asyncio.Lock()
        self._until = 0.0
        self._known = False
        self._tag: str | None = None

    async def against(self, bento: str) -> RegistryInfo:
        """The champion beside `bento`; "unknown" when the registry does not say in time."""
        if self._ask is None:
            return RegistryInfo("off", None)
        async with self._lock:
            if self._clock() >= self._until:
                await self._refresh(self._ask)
        if not self._known:
            return RegistryInfo("unknown", None)
        if self._tag is None:
            return RegistryInfo("none", None)
        return RegistryInfo("current" if self._tag == bento else "other", self._tag)

    async def _refresh(self, ask: Ask) -> None:
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                self._tag = await ask()
        except Exception as error:
            log.warning("the registry does not say who is champion: %s", error or type(error).__name__)
            self._known = False
            self._until = self._clock() + RETRY_SECONDS
        else:
            self._known = True
            self._until = self._clock() + REMEMBERED_SECONDS
