"""A router whose configuration comes from a server: ready when it has one: the server's, the last good one, a seed.

Until then the admin port says what it waits for. Next module: `shadow.router.cli`.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path
from typing import Any

from shadow.control_contract import NO_GENERATION
from shadow.router.addresses import address
from shadow.router.admin import Admin
from shadow.router.control import ABORTED, LEASE_EXPIRED
from shadow.router.first_config import First, Waiting, first_of
from shadow.router.last_good import Keeper, in_loop
from shadow.router.polling import Caller, Poller
from shadow.router.reports import Reporter
from shadow.router.server import Server, new_incarnation
from shadow.router.settings import RouterSettings


async def serve_remote(
    url: str, name: str, admin_address: str, state: Path, settings: RouterSettings, seed: Path | None = None
) -> None:
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

    keeper = Keeper(state, in_loop(trouble))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, waiting.left.set)
    first = await until_left(first_of(caller, keeper, admin_address, waiting, seed), waiting.left)
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
    reporter = Reporter(server)
    poller = Poller(caller, keeper, control, seen, first.lease_seconds, reporter.text)
    await server.run(_both(poller, reporter))
    await poller.farewell()
    caller.close()


async def _both(poller: Poller, reporter: Reporter) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(poller.run())
        group.create_task(reporter.run())


async def until_left(first: Any, left: asyncio.Event) -> First | None:
    """The first configuration, None when the process is told to end before."""
    tasks = [asyncio.ensure_future(first), asyncio.ensure_future(left.wait())]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return None if left.is_set() else tasks[0].result()
