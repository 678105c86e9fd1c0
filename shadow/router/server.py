"""The router's process: it listens, looks after all connections, and comes to an orderly end.

A change of configuration puts another `Router` in the place of the one before. SIGTERM: be no longer ready, take what
still comes for `deregister_seconds`, then stop accepting, answer what is under way, give the copies their time, say
goodbye to the shipper.
Next module: `shadow.router.admin`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import time
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Final

from shadow.contracts import Hello
from shadow.control_contract import BEGAN
from shadow.router.aborts import keep_aborts
from shadow.router.addresses import address
from shadow.router.admin import Admin
from shadow.router.client import Client
from shadow.router.config import ConfigError, RouterConfig
from shadow.router.control import Control
from shadow.router.lateness import undecided_us
from shadow.router.limits import allow_files, spare_collector
from shadow.router.mirror import Mirror
from shadow.router.pairlog import PairLog
from shadow.router.patience import SWEEP_SECONDS
from shadow.router.router import Router
from shadow.router.settings import RouterSettings
from shadow.router.trial import exchange_of
from shadow.units import key_id_of

logger = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 5.0
"""How long the last records may take to reach the shipper."""
OFF_SECONDS: Final = 1.0
"""How long copies under way may take once copying has ended; then they are called back."""
MOST_RETIRED: Final = 16
"""Arms of earlier configurations that may still have copies under way; of more, the oldest are called back."""


class Server:
    """One router process."""

    def __init__(
        self,
        config: RouterConfig,
        unit_key: bytes,
        admin_token: bytes = b"",
        file: Path | None = None,
        admin: Admin | None = None,
        incarnation: str = "",
        source: str = "file",
    ) -> None:
        self.file = file
        """What SIGHUP reads."""
        self.open = self.draining = self.closing = False
        self.clients: set[Client] = set()
        incarnation = incarnation or new_incarnation()
        hello = Hello(
            experiment=config.experiment,
            incarnation=incarnation,
            router=socket.gethostname(),
            started_us=time.time_ns() // 1000,
            undecided_us=undecided_us(config),
            key_id=key_id_of(unit_key),
        )
        self.log = PairLog(config.shipper, hello)
        self.router = Router.of(config, unit_key, incarnation, self.log)
        self.exchange = exchange_of(config)
        self.retired: list[Mirror] = []
        self._stopping = asyncio.Event()
        self._deregistered = asyncio.Event()
        self._changed = asyncio.Event()
        self._left = asyncio.Event()
        self._listeners: list[asyncio.Server] = []
        self.control = Control(self, config, source)
        self.admin = admin or Admin(self, admin_token)
        self.admin.serve(self)
        self.observer = Admin(self, looking=True)

    @property
    def config(self) -> RouterConfig:
        """The configuration in force."""
        return self.router.config

    @property
    def mirrors(self) -> list[Mirror]:
        """The arms, and those of earlier configurations that still have copies."""
        return [*self.router.arms, *self.retired]

    def adopt(self, config: RouterConfig) -> None:
        """Put a checked configuration in force, within this turn of the loop; `ValueError` names what cannot change."""
        before, self.router = self.router, self.router.changed(config)
        self.exchange = exchange_of(config)
        self.log.promise(undecided_us(config))
        if self.router.pool is not before.pool:
            before.pool.close()
        gone = [mirror for mirror in before.arms if not any(mirror is each for each in self.router.arms)]
        for mirror in gone:
            mirror.retire()
        self.retired = [mirror for mirror in (*self.retired, *gone) if mirror.busy]
        for mirror in self.retired[:-MOST_RETIRED]:
            mirror.cut()
        if config.mode == "off":
            asyncio.get_running_loop().call_later(OFF_SECONDS, _cut, list(self.retired))

    def cut(self) -> None:
        """Call back what is under way for arms that are no more."""
        _cut(self.retired)

    def document(self) -> dict[str, Any]:
        """What `/counters` shows: of arms that are no more, too, for what they decided stands in the log."""
        document = self.router.counters.document()
        for arm in document["arms"].values():
            arm["queue_bytes"] = 0
        for mirror in self.mirrors:
            document["arms"][mirror.arm.name]["queue_bytes"] += mirror.queued_bytes
        names = {"incarnation": self.router.incarnation, "experiment": self.config.experiment}
        return names | document | {"pair_log": self.log.document(), "control": self.control.document()}

    def unready(self) -> str:
        """Why users should not be sent here; "" when they should."""
        return "draining" if self.draining else "" if self.open else "the port for users is not open yet"

    async def start(self) -> None:
        """Listen on all ports; `OSError` names the port that is taken."""
        loop = asyncio.get_running_loop()
        if not self.admin.listens:
            self._listeners.append(await self.admin.start(*address("admin", self.config.admin)))
        if self.config.observe:
            self._listeners.append(await self.observer.start(*address("observe", self.config.observe)))
        host, port = address("listen", self.config.listen)
        self._listeners.insert(0, await loop.create_server(lambda: Client(self), host, port, backlog=1024))
        self.open = True

    async def run(self, beside: Coroutine[Any, Any, None] | None = None) -> None:
        """Serve until SIGTERM or SIGINT, then drain; `beside` runs until then."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)
        allow_files(self.config.connections)
        await self.start()
        spare_collector()
        logger.info(
            "router ready on %s, admin on %s, incarnation %s",
            self.config.listen,
            self.config.admin,
            self.router.incarnation,
        )
        tasks = [loop.create_task(each) for each in (self._sweep(), beside) if each is not None]
        await self._stopping.wait()
        for task in tasks:
            task.cancel()
        await self.drain()

    def reload(self) -> None:
        """Read the file again; what is wrong with it is told, and what is in force stays."""
        if self.file is None:
            logger.warning("SIGHUP: the configuration does not come from a file")
            return
        try:
            data = self.file.read_bytes()
        except OSError as error:
            self.control.trouble("refused", f"{self.file}: cannot be read ({error.strerror})")
            return
        with contextlib.suppress(ConfigError):  # told already
            self.control.offer(data, "file", str(self.file))

    async def leave(self) -> None:
        """Drain, and return when all is done; the process ends then."""
        self._stopping.set()
        await self._left.wait()

    def stop(self) -> None:
        """Drain, and end; when called again, without waiting for new connections any more."""
        if self._stopping.is_set():
            self._deregistered.set()
        self._stopping.set()

    async def drain(self) -> None:
        """Take leave of the clients, answer what is under way and let the copies end, then flush the log."""
        await self._deregister()
        deadline = time.monotonic() + self.config.drain_seconds
        self._listeners[0].close()
        for client in list(self.clients):
            client.drain()
        if not await self._until(lambda: not any(client.busy for client in self.clients), deadline):
            logger.warning("requests still under way after %.0f s are cut off", self.config.drain_seconds)
        for client in list(self.clients):
            client.abort()
        await asyncio.sleep(0)
        await self._until(lambda: not any(mirror.busy for mirror in self.mirrors), deadline)
        for mirror in self.mirrors:
            mirror.close()
        self.router.pool.close()
        await self.log.close(FLUSH_SECONDS)
        logger.info("router stopped: %s", self.document())
        self._left.set()
        await self.observer.close()
        await self.admin.close()

    async def _deregister(self) -> None:
        """Be no longer ready, and tell every client with its next answer, while new ones may still be sent here."""
        self.draining = True
        self.control.end_lease()
        for client in list(self.clients):
            client.be_the_last()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._deregistered.wait(), self.config.deregister_seconds)
        self.closing = True

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


def new_incarnation() -> str:
    """The name of one life of a router: when it began, and at random."""
    return f"{time.strftime(BEGAN, time.gmtime())}-{uuid.uuid4().hex[:8]}"


def _cut(mirrors: list[Mirror]) -> None:
    for mirror in mirrors:
        mirror.cut()


async def serve(config: RouterConfig, settings: RouterSettings, file: Path, state: Path | None = None) -> None:
    """Run a router to its end; `state` is where it keeps what outlasts a restart."""
    server = Server(config, settings.unit_key, settings.admin_token, file)
    keep_aborts(server.control, state)
    await server.run()
