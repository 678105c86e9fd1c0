"""A router whose configuration comes from a server: it is ready when it has one, of the server or the last good one.

Until then the admin port says what it waits for. Next module: `shadow.router.cli`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shadow.control_contract import NO_GENERATION
from shadow.router.admin import Admin
from shadow.router.config import ConfigError, RouterConfig, address, parse_config
from shadow.router.control import ABORTED, LEASE_EXPIRED, Control
from shadow.router.last_good import Keeper
from shadow.router.polling import WAIT_SECONDS, Caller, Poller, ServerError, backoff
from shadow.router.server import Server, new_incarnation
from shadow.router.settings import RouterSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class First:
    """The configuration to start with."""

    config: RouterConfig
    generation: int
    lease_seconds: float
    seconds_left: float
    source: str
    aborted: bool = False


class Waiting:
    """A process that has no configuration yet, as its admin port sees it."""

    control: Control | None = None

    def __init__(self) -> None:
        self.error = ""
        self.left = asyncio.Event()

    def trouble(self, text: str) -> None:
        """What is missing."""
        if text != self.error:
            logger.error("%s", text)
        self.error = text

    def document(self) -> dict[str, Any]:
        """What `/counters` shows."""
        return {"error": self.error}

    def unready(self) -> str:
        """Why users should not be sent here."""
        return f"no configuration yet: {self.error or 'the server has not been heard'}"

    async def leave(self) -> None:
        """There is nothing to finish."""
        self.left.set()


async def serve_remote(url: str, name: str, admin_address: str, state: Path, settings: RouterSettings) -> None:
    """Run a router to its end. `OSError` when a port is taken, `ValueError` when an argument is wrong."""
    waiting = Waiting()
    admin = Admin(waiting, settings.admin_token)
    caller = Caller(url, name, incarnation := new_incarnation(), settings.control_token)
    await admin.start(*address("--admin", admin_address))
    server: Server | None = None

    def trouble(text: str) -> None:
        if server is None:
            waiting.trouble(text)
        else:
            server.control.trouble("disk", text)

    def trouble_of_disk(text: str) -> None:  # in the disk's thread
        with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(trouble, text)

    loop = asyncio.get_running_loop()
    keeper = Keeper(state, trouble_of_disk)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, waiting.left.set)
    first = await until_left(first_of(caller, keeper, admin_address, waiting), waiting.left)
    if first is None:
        await admin.close()
        return
    server = Server(first.config, settings.unit_key, admin=admin, incarnation=incarnation, source=first.source)
    control = server.control
    control.generation = first.generation
    if first.aborted:
        control.suspend(ABORTED)
    if first.seconds_left:
        control.renew(first.seconds_left)
    else:
        control.suspend(LEASE_EXPIRED)
    seen = first.generation if first.source == "server" else NO_GENERATION
    poller = Poller(caller, keeper, control, seen, first.lease_seconds)
    await server.run(poller.run())
    caller.close()


async def until_left(first: Any, left: asyncio.Event) -> First | None:
    """The first configuration, None when the process is told to end before."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(left.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return None if left.is_set() else tasks[0].result()


async def first_of(caller: Caller, keeper: Keeper, admin: str, waiting: Waiting) -> First:
    """The server's configuration; the last good one when the server is away, or says what cannot be."""
    seen, failures = NO_GENERATION, 0
    kept = keeper.read()
    # Whatever the server says: an abort by hand lasts until somebody says `resume`, over restarts too.
    aborted = kept is not None and kept.aborted
    while True:
        try:
            offer = await caller.offer(seen, WAIT_SECONDS if failures else 0.0, frozenset())
            if offer is None:
                raise ServerError("none", f"{caller.url} has no configuration for the router {caller.name!r}")
            seen = offer.generation
            try:
                config = _checked(bytes(offer.config), caller.url, admin)
            except ConfigError as error:
                await caller.acknowledge(offer.generation, str(error), frozenset())
                raise
            return First(config, offer.generation, offer.lease_seconds, offer.lease_seconds, "server", aborted)
        except (ServerError, ConfigError) as error:
            waiting.trouble(str(error))
        if not failures and (last := _last_good(keeper, admin, waiting)) is not None:
            return last
        await asyncio.sleep(backoff(failures))
        failures += 1


def _last_good(keeper: Keeper, admin: str, waiting: Waiting) -> First | None:
    kept = keeper.read()
    if kept is None:
        return None
    try:
        config = _checked(bytes(kept.config), "the last good configuration", admin)
    except ConfigError as error:
        waiting.trouble(str(error))
        return None
    left = kept.seconds_left(time.time_ns() // 1000)
    logger.warning("starting with generation %d of the disk; %.0f s of its lease are left", kept.generation, left)
    return First(config, kept.generation, kept.lease_seconds, left, "disk", kept.aborted)


def _checked(data: bytes, where: str, admin: str) -> RouterConfig:
    config = parse_config(data, where)
    if config.admin != admin:
        raise ConfigError(f"{where}: admin: {config.admin!r} is not {admin!r}, which this router was started with")
    return config
