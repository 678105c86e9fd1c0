"""The router's process: it listens, looks after all connections, and comes to an orderly end.

SIGTERM: stop accepting, answer what is under way, give the copies their time, say goodbye to the shipper.
Next module: `shadow.router.admin`.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import signal
import socket
import time
import uuid
from collections.abc import Callable
from typing import Final

from shadow.contracts import Hello
from shadow.router.admin import Admin
from shadow.router.client import Client
from shadow.router.config import RouterConfig, address
from shadow.router.exchange import Exchange
from shadow.router.pairlog import PairLog
from shadow.router.router import Router
from shadow.router.trial import SplitExchange

logger = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 5.0
GARBAGE: Final = 20_000
"""New objects in containers before the collector looks for cycles; an exchange leaves none behind."""
FLUSH_SECONDS: Final = 5.0
"""How long the last records may take to reach the shipper."""


class Server:
    """One router process."""

    def __init__(self, config: RouterConfig, unit_key: bytes) -> None:
        self.config = config
        self.draining = False
        self.clients: set[Client] = set()
        incarnation = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"
        hello = Hello(
            experiment=config.experiment,
            incarnation=incarnation,
            router=socket.gethostname(),
            started_us=time.time_ns() // 1000,
        )
        self.log = PairLog(config.shipper, hello)
        self.router = Router.of(config, unit_key, incarnation, self.log)
        self.exchange = Exchange if config.mode != "split" else SplitExchange
        self._changed = asyncio.Event()
        self._listeners: list[asyncio.Server] = []

    async def start(self) -> None:
        """Listen on both ports; `OSError` names the port that is taken."""
        loop = asyncio.get_running_loop()
        admin = Admin(self.router.document, lambda: not self.draining)
        self._listeners.append(await admin.start(*address("admin", self.config.admin)))
        host, port = address("listen", self.config.listen)
        self._listeners.insert(0, await loop.create_server(lambda: Client(self), host, port, backlog=1024))

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then drain."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        allow_files(self.config.connections)
        await self.start()
        # What was made so far stays: the collector need not look at it again, nor stop the loop for it.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE)
        logger.info(
            "router ready on %s, admin on %s, incarnation %s",
            self.config.listen,
            self.config.admin,
            self.router.incarnation,
        )
        sweeper = loop.create_task(self._sweep())
        await stop.wait()
        sweeper.cancel()
        await self.drain()

    async def drain(self) -> None:
        """Answer what is under way and let the copies end within `drain_seconds`, then flush the log."""
        self.draining = True
        deadline = time.monotonic() + self.config.drain_seconds
        self._listeners[0].close()
        for client in list(self.clients):
            client.drain()
        if not await self._until(lambda: not any(client.busy for client in self.clients), deadline):
            logger.warning("requests still under way after %.0f s are cut off", self.config.drain_seconds)
        for client in list(self.clients):
            client.abort()
        await asyncio.sleep(0)
        await self._until(lambda: not any(mirror.busy for mirror in self.router.arms), deadline)
        for mirror in self.router.arms:
            mirror.close()
        self.router.pool.close()
        await self.log.close(FLUSH_SECONDS)
        self._listeners[1].close()
        logger.info("router stopped: %s", self.router.document())

    def changed(self) -> None:
        """Something ended; a drain may be waiting for it."""
        self._changed.set()

    async def _until(self, condition: Callable[[], bool], deadline: float) -> bool:
        """Wait for `condition`, until `deadline` of the monotonic clock at most; whether it came."""
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._changed.clear()
            try:
                # Copies end without a word to the server, hence the short turn.
                await asyncio.wait_for(self._changed.wait(), min(left, 0.05))
            except TimeoutError:
                continue
        return True

    async def _sweep(self) -> None:
        """Look after all connections every few seconds, so that none needs a timer of its own."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            for client in list(self.clients):
                client.sweep(now)


def allow_files(connections: int) -> None:
    """Raise this process's limit of open files as far as it may: every connection is one, on either side."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        allowed = hard
    except (ValueError, OSError) as error:  # macOS says unlimited and means less
        logger.warning("the limit of open files stays at %d (%s)", soft, error)
    logger.info("at most %d open files (%d before)", allowed, soft)
    if 0 <= allowed < connections:
        logger.warning("connections is %d, but only %d files may be open: raise `ulimit -n`", connections, allowed)


async def serve(config: RouterConfig, unit_key: bytes) -> None:
    """Run a router to its end."""
    await Server(config, unit_key).run()
