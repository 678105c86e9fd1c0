"""One exchange with one upstream: pooled keep-alive connections, a deadline, and errors told apart.

A connection serves one exchange at a time. Whatever is doubtful about it afterwards (late bytes, extra bytes, a
deadline, a cancel) closes it, so an answer can never reach another request. The only retry is for a pooled connection
that turns out to have been closed before it said anything: the same request once more on a new one.
Next module: `shadow.router.mirror`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shadow.router.http1 import AnswerReader


@dataclass(slots=True)
class Exchanged:
    """The end of an exchange: a whole answer, or an error token (`refused`, `reset`, `timeout`, `short`, `garbage`,
    `too_large`, `cancelled`). Times in microseconds: connecting (0 on a pooled connection); first byte sent to last
    byte received."""

    answer: AnswerReader | None
    error: str
    connect_us: int
    upstream_us: int


class Pool:
    """The idle connections to one upstream, the most recently used first; at most `most_idle`."""

    def __init__(self, host: str, port: int, most_idle: int) -> None:
        self.host = host
        self.port = port
        self._most_idle = most_idle
        self._idle: deque[Connection] = deque()

    def take(self) -> Connection | None:
        """An idle connection that looks open, or None."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.closing:
                return connection
        return None

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

    def close(self) -> None:
        """Close all idle connections."""
        while self._idle:
            self._idle.pop().close()


class Connection(asyncio.Protocol):
    """One connection; `leg` is the exchange it is serving now."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.leg: Leg | None = None
        self._transport: Any = None

    @property
    def closing(self) -> bool:
        """Whether it cannot be used any more."""
        return self._transport is None or self._transport.is_closing()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's callback."""
        self._transport = transport

    def send(self, leg: Leg, payload: bytes) -> None:
        """Serve `leg`."""
        self.leg = leg
        self._transport.write(payload)

    def data_received(self, data: bytes) -> None:
        """asyncio's callback: bytes for the leg, or bytes that nobody asked for."""
        if self.leg is None:
            self.abort()
        else:
            self.leg.received(data)

    def eof_received(self) -> bool:
        """asyncio's callback: close our side too."""
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's callback."""
        self.pool.forget(self)
        if self.leg is not None:
            self.leg.lost(error)

    def close(self) -> None:
        """Close in order."""
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self.leg = None
        self._transport.abort()


class Leg:
    """One request on its way to one upstream and back; calls `on_done` exactly once."""

    def __init__(self, pool: Pool, payload: bytes, deadline: float, on_done: Callable[[Exchanged], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._pool = pool
        self._payload = payload
        self._on_done: Callable[[Exchanged], None] | None = on_done
        self._reader = AnswerReader()
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._connect_us = 0
        self._heard = False
        self._reused = False
        self._sent_at = self._loop.time()
        self._timer = self._loop.call_later(deadline, self._finish, "timeout")
        reused = pool.take()
        if reused is not None:
            self._reused = True
            self._send(reused)
        else:
            self._task = self._loop.create_task(self._connect())

    def cancel(self) -> None:
        """Give up; `on_done` gets "cancelled"."""
        self._finish("cancelled")

    def received(self, data: bytes) -> None:
        """Bytes of the answer."""
        self._heard = True
        self._reader.feed(data)
        if self._reader.done or self._reader.error:
            self._finish("" if self._reader.done else self._reader.error)

    def lost(self, error: Exception | None) -> None:
        """The connection was closed before the answer was whole."""
        self._connection = None
        if self._reused and not self._heard:
            self._reused = False
            self._task = self._loop.create_task(self._connect())
            return
        if error is not None or not self._heard:
            # Also when the body was to end with the connection: a reset is no orderly end.
            self._finish("reset")
            return
        self._reader.end()
        self._finish("" if self._reader.done else self._reader.error)

    async def _connect(self) -> None:
        started = self._loop.time()
        try:
            _, connection = await self._loop.create_connection(
                lambda: Connection(self._pool), self._pool.host, self._pool.port
            )
        except OSError:
            self._finish("refused")
            return
        self._connect_us = int((self._loop.time() - started) * 1e6)
        if self._on_done is None:
            connection.abort()
        else:
            self._send(connection)

    def _send(self, connection: Connection) -> None:
        self._connection = connection
        self._sent_at = self._loop.time()
        connection.send(self, self._payload)

    def _finish(self, error: str) -> None:
        if self._on_done is None:
            return
        on_done, self._on_done = self._on_done, None
        upstream_us = int((self._loop.time() - self._sent_at) * 1e6)
        self._timer.cancel()
        if self._task is not None and not self._task.done() and self._task is not asyncio.current_task():
            self._task.cancel()
        self._release(error)
        on_done(Exchanged(None if error else self._reader, error, self._connect_us, upstream_us))

    def _release(self, error: str) -> None:
        """Back to the pool after a whole answer that allows it; closed otherwise."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.leg = None
        if error or not self._reader.keep_alive or self._reader.error or connection.closing:
            connection.abort()
        else:
            self._pool.give(connection)
