"""The configuration that a router with a server begins with: the server's, the last good one of the disk, or a seed.

A seed is a file that came with the pod. With it users are served while the server is away; nothing is copied before the
server has granted a lease, for nobody stands by what the seed says.

Until there is one, what is wrong is told all the time: the field and the remedy of what the server gave, beside what
the server and the disk say since. Next module: `shadow.router.remote`, which runs the router then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from shadow.control_contract import NO_GENERATION, Offer
from shadow.router.config import ConfigError, RouterConfig, parse_config
from shadow.router.last_good import Keeper, LastGood
from shadow.router.polling import PACE_SECONDS, WAIT_SECONDS, Caller, ServerError, backoff

logger = logging.getLogger(__name__)

STILL_SECONDS: Final = 30.0
"""So often at most the log says again why the router is not ready."""
REFUSED: Final = "refused"
SERVER: Final = "server"
ACKNOWLEDGEMENT: Final = "acknowledgement"
DISK: Final = "disk"
SEED: Final = "seed"
SEED_LEASE_SECONDS: Final = 60.0
"""Of which nothing is left: it only sets how often the server is asked."""


class First(msgspec.Struct, frozen=True):
    """The configuration to start with."""

    config: RouterConfig
    generation: int
    lease_seconds: float
    seconds_left: float
    source: str
    aborted: bool = False


class Waiting:
    """A process that has no configuration yet, as its admin port sees it."""

    control = None

    def __init__(self) -> None:
        self.left = asyncio.Event()
        self._troubles: dict[str, str] = {}
        self._told_at = time.monotonic()

    @property
    def error(self) -> str:
        """All that is wrong, what the server's configuration lacks first."""
        return "; ".join(self._troubles[about] for about in sorted(self._troubles, key=lambda each: each != REFUSED))

    def trouble(self, text: str, about: str = DISK) -> None:
        """Something is wrong with `about`, until it is `well`."""
        if self._troubles.get(about) != text:
            logger.error("%s", text)
            self._told_at = time.monotonic()
        self._troubles[about] = text

    def well(self, about: str) -> None:
        """That is over."""
        self._troubles.pop(about, None)

    def still(self) -> None:
        """Say again what is wrong, if it was not said for some time."""
        if time.monotonic() - self._told_at >= STILL_SECONDS:
            self._told_at = time.monotonic()
            logger.error("still not ready: %s", self.unready())

    def document(self) -> dict[str, Any]:
        """What `/counters` shows."""
        return {"error": self.error}

    def unready(self) -> str:
        """Why users should not be sent here."""
        return f"no configuration yet: {self.error or 'the server has not been heard'}"

    async def leave(self) -> None:
        """There is nothing to finish."""
        self.left.set()


async def first_of(caller: Caller, keeper: Keeper, admin: str, waiting: Waiting, seed: Path | None = None) -> First:
    """The server's configuration; when it is away, or says what cannot be, the last good one, or `seed`."""
    kept = keeper.read()
    # Wherever the configuration comes from: an abort by hand lasts until somebody says `resume`, over restarts too.
    aborted = kept is not None and kept.aborted
    asking, failures, wait = _Asking(caller, admin, waiting), 0, 0.0
    while True:
        first = None
        try:
            first = await asking.once(wait)
            failures = 0
        except ServerError as error:
            waiting.trouble(str(error), SERVER)
            failures += 1
        if first is None and not wait:
            first = _last_good(kept, admin, waiting) or _seeded(seed, admin, waiting)
        if first is not None:
            return msgspec.structs.replace(first, aborted=aborted)
        waiting.still()
        wait = WAIT_SECONDS
        await asyncio.sleep(backoff(failures - 1) if failures else PACE_SECONDS)


@dataclass
class _Asking:
    """The questions to the server until it has given something that can be used."""

    caller: Caller
    admin: str
    waiting: Waiting
    seen: int = NO_GENERATION
    owed: str = ""
    """Why the last one was refused, until the server has heard it."""

    async def once(self, wait: float) -> First | None:
        """The server's configuration; None when it has none but what was refused. `ServerError`."""
        await self._acknowledge()
        offer = await self.caller.offer(self.seen, wait, frozenset())
        if offer is None and self.seen == NO_GENERATION:
            raise ServerError("none", f"{self.caller.url} has no configuration for the router {self.caller.name!r}")
        self.waiting.well(SERVER)
        return None if offer is None else await self._taken(offer)

    async def _taken(self, offer: Offer) -> First | None:
        self.seen = offer.generation
        try:
            config = checked(bytes(offer.config), self.caller.url, self.admin)
        except ConfigError as error:
            self.owed = str(error)
            self.waiting.trouble(self.owed, REFUSED)
            await self._acknowledge()
            return None
        return First(config, offer.generation, offer.lease_seconds, offer.lease_seconds, "server")

    async def _acknowledge(self) -> None:
        """Tell the server why, if it has not heard it; one that does not listen may still have another one."""
        if not self.owed:
            return
        try:
            await self.caller.acknowledge(self.seen, self.owed, frozenset())
        except ServerError as error:
            self.waiting.trouble(str(error), ACKNOWLEDGEMENT)
            return
        self.owed = ""
        self.waiting.well(ACKNOWLEDGEMENT)


def _last_good(kept: LastGood | None, admin: str, waiting: Waiting) -> First | None:
    if kept is None:
        return None
    try:
        config = checked(bytes(kept.config), "the last good configuration", admin)
    except ConfigError as error:
        waiting.trouble(str(error))
        return None
    left = kept.seconds_left(time.time_ns() // 1000)
    logger.warning("starting with generation %d of the disk; %.0f s of its lease are left", kept.generation, left)
    return First(config, kept.generation, kept.lease_seconds, left, "disk")


def _seeded(seed: Path | None, admin: str, waiting: Waiting) -> First | None:
    if seed is None:
        return None
    try:
        config = checked(seed.read_bytes(), str(seed), admin)
    except ConfigError as error:
        waiting.trouble(str(error), SEED)
        return None
    except OSError as error:
        waiting.trouble(f"{seed}: cannot be read ({error.strerror})", SEED)
        return None
    logger.warning("starting with %s: nothing is copied before the server is heard", seed)
    return First(config, NO_GENERATION, SEED_LEASE_SECONDS, 0.0, SEED)


def checked(data: bytes, where: str, admin: str) -> RouterConfig:
    """The configuration in `data`, if it is one for the router with that admin port; `ConfigError`."""
    config = parse_config(data, where)
    if config.admin != admin:
        raise ConfigError(f"{where}: admin: {config.admin!r} is not {admin!r}, which this router was started with")
    return config
