"""The router's process: client connections in front of `shadow.router.exchange`, and an orderly end.

Requests of one connection are answered in their order, one at a time. SIGTERM: stop accepting, answer what is under
way, give the copies their time, say goodbye to the shipper. Next module: `shadow.router.admin`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

from shadow.contracts import Hello
from shadow.router.admin import Admin
from shadow.router.config import RouterConfig, address
from shadow.router.exchange import Exchange, Router
from shadow.router.http1 import RefusalError, Request, RequestReader, problem
from shadow.router.pairlog import PairLog

logger = logging.getLogger(__name__)

PIPELINED: Final = 64
"""Requests of one connection that may wait; beyond it the router stops reading."""
IDLE_SECONDS: Final = 75.0
"""A connection without a request under way is closed after this time."""
REQUEST_SECONDS: Final = 15.0
"""A request whose last byte has not come this long after its first is refused (408)."""
LINGER_SECONDS: Final = 1.0
"""After a refusal the connection is read on for so long, or its reset could overtake the answer."""
SWEEP_SECONDS: Final = 5.0
FLUSH_SECONDS: Final = 5.0
"""How long the last records may take to reach the shipper."""


class Client(asyncio.Protocol):
    """One connection of a user."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._reader = RequestReader()
        self._exchange: Exchange | None = None
        self._refusal: RefusalError | None = None
        self._transport: Any = None
        self._full = False
        self._refused = False
        self._partial_since: float | None = None
        self.address = b"unknown"
        self.active_at = 0.0

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._exchange is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's callback."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]).encode() if peer else b"unknown"
        self.active_at = time.monotonic()
        self._server.clients.add(self)

    def data_received(self, data: bytes) -> None:
        """asyncio's callback: requests, or what is none."""
        if self._refusal is not None:
            return
        self.active_at = time.monotonic()
        try:
            self._reader.feed(data)
        except RefusalError as refusal:
            self._refusal = refusal
        if self._reader.idle:
            self._partial_since = None
        elif self._partial_since is None:
            self._partial_since = self.active_at
        if len(self._reader.complete) > PIPELINED:
            self._transport.pause_reading()
        self._next()

    def pause_writing(self) -> None:
        """asyncio's callback: the client does not read its answers, so it gets no further ones."""
        self._full = True

    def resume_writing(self) -> None:
        """asyncio's callback."""
        self._full = False
        self._next()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """asyncio's callback."""
        self._server.clients.discard(self)
        self._reader.complete.clear()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.cancel()
        self._server.changed()

    def drain(self) -> None:
        """Close as soon as nothing is under way; the answer under way says that it is the last."""
        if self._exchange is not None:
            self._exchange.be_the_last()
        elif not self._reader.complete and not self._refused:
            self._transport.close()

    def sweep(self, now: float) -> None:
        """Refuse a request that comes too slowly; close a connection that is idle, or unread, for too long."""
        if self._partial_since is not None and now - self._partial_since > REQUEST_SECONDS and self._refusal is None:
            self._refusal = RefusalError(408, f"the request took longer than {REQUEST_SECONDS:.0f} s to come")
            self._next()
        elif not self.busy and now - self.active_at > IDLE_SECONDS:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        self._transport.abort()

    def _next(self) -> None:
        """Begin the next request, if none is under way; a refusal comes after the requests before it."""
        if self.busy or self._full or self._refused or self._transport.is_closing():
            return
        if self._reader.complete:
            request = self._reader.complete.popleft()
            if len(self._reader.complete) <= PIPELINED:
                self._transport.resume_reading()
            self._begin(request)
        elif self._refusal is not None:
            self._refuse(self._refusal)

    def _refuse(self, refusal: RefusalError) -> None:
        self._refused = True
        self._server.router.refuse()
        self._transport.write(problem(refusal.status, refusal.detail))
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.abort)

    def _begin(self, request: Request) -> None:
        if self._server.draining:
            request.keep_alive = False
        if not self._server.router.serves(request):
            self._server.router.refuse()
            close = not request.keep_alive
            self._respond(problem(404, "there is nothing for users at this path", close=close), close)
            return
        self._exchange = Exchange(self._server.router, request, self.address, self._respond)

    def _respond(self, answer: bytes, close: bool) -> None:
        self._exchange = None
        self.active_at = time.monotonic()
        self._transport.write(answer)
        if close or self._server.draining:
            self._reader.complete.clear()
            self._transport.close()
        elif self._reader.complete or self._refusal is not None:
            # Not from within the callback that ended the last exchange: a long pipeline would become a deep stack.
            asyncio.get_running_loop().call_soon(self._next)
        self._server.changed()


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
        await self.start()
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
        await self._until(lambda: not any(mirror.busy for mirror in self.router.mirrors), deadline)
        for mirror in self.router.mirrors:
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


async def serve(config: RouterConfig, unit_key: bytes) -> None:
    """Run a router to its end."""
    await Server(config, unit_key).run()
