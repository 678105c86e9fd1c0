"""The connections to one upstream: kept alive, one exchange at a time each, and the deadlines of what is under way.

Next module: `shadow.router.upstream`, one exchange.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from typing import Any, Protocol

from shadow.router.answers import AnswerReader
from shadow.router.resolver import Resolver


class Timed(Protocol):
    """One exchange, as its pool and its connection see it."""

    def give_up(self, error: str) -> None:
        """Cut it off."""

    def received(self, data: bytes) -> None:
        """Bytes of the answer."""

    def lost(self, error: Exception | None) -> None:
        """The connection was closed."""

    def pause_sending(self) -> None:
        """The upstream takes no more of the request for now."""

    def resume_sending(self) -> None:
        """It does again."""


class Pool:
    """The connections to one upstream: idle ones, the most recently used first, at most `most_idle`; and the deadlines
    of what is under way, `deadline` seconds each, behind one timer. `most_parts` is the bound of an `AnswerReader`."""

    def __init__(self, host: str, port: int, most_idle: int, deadline: float, most_parts: int = sys.maxsize) -> None:
        self.loop = asyncio.get_running_loop()
        self.resolver = Resolver(host, port)
        self.deadline = deadline
        self.most_parts = most_parts
        self._most_idle = most_idle
        self._idle: deque[Connection] = deque()
        self._due: dict[Timed, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def take(self) -> Connection | None:
        """An idle connection that looks open, or None."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closing:
                return connection
        return None

    async def connected(self) -> Connection:
        """A new connection, to the first address that takes it; `OSError` when none does."""
        for host, port in await self.resolver.addresses():
            try:
                _, connection = await self.loop.create_connection(lambda: Connection(self), host, port)
            except OSError:
                continue
            return connection
        raise OSError("no address takes a connection")

    def give(self, connection: Connection) -> None:
        """Take a connection back for reuse, or close it when there are enough."""
        if len(self._idle) < self._most_idle:
            self._idle.append(connection)
        else:
            connection.close()

    def forget(self, connection: Connection) -> None:
        """An idle connection was closed by the other side."""
        if connection in self._idle:
            self._idle.remove(connection)

    def watch(self, leg: Timed) -> None:
        """`leg` has the whole deadline before it, from now."""
        # All deadlines are equally long, so the order of insertion is the order in which they come.
        self._due.pop(leg, None)
        self._due[leg] = when = self.loop.time() + self.deadline
        if self._timer is None:
            self._timer = self.loop.call_at(when, self._sweep)

    def unwatch(self, leg: Timed) -> None:
        """The clock of `leg` stands still."""
        self._due.pop(leg, None)

    def close(self) -> None:
        """Close all idle connections and keep none from now on; what is under way still has its deadline."""
        self._most_idle = 0
        while self._idle:
            self._idle.pop().close()
        if self._timer is not None and not self._due:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        now = self.loop.time()
        late = []
        for leg, when in self._due.items():
            if when > now:
                self._timer = self.loop.call_at(when, self._sweep)
                break
            late.append(leg)
        for leg in late:
            leg.give_up("timeout")


class Connection(asyncio.Protocol):
    """One connection; `leg` is the exchange it is serving now."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.leg: Timed | None = None
        self.reader = AnswerReader(pool.most_parts)
        self.paused = False
        self.transport: Any = None

    @property
    def closing(self) -> bool:
        """Whether it cannot be used any more."""
        return self.transport is None or self.transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's callback."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """asyncio's callback: bytes for the leg, or bytes that nobody asked for."""
        if self.leg is None:
            self.abort()
        else:
            self.leg.received(data)

    def eof_received(self) -> bool:
        """asyncio's callback: close our side too."""
        return False

    def pause_writing(self) -> None:
        """asyncio's callback."""
        if self.leg is not None:
            self.leg.pause_sending()

    def resume_writing(self) -> None:
        """asyncio's callback."""
        if self.leg is not None:
            self.leg.resume_sending()

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's callback."""
        self.pool.forget(self)
        if self.leg is not None:
            self.leg.lost(error)
        self.reader.close()

    def close(self) -> None:
        """Close in order."""
        self.transport.close()

    def abort(self) -> None:
        """Close at once."""
        self.leg = None
        self.transport.abort()
