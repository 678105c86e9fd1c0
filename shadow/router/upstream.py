"""One exchange with one upstream: a deadline, one retry, and errors told apart.

Whatever is doubtful about a connection afterwards (late bytes, extra bytes, a deadline, a cancel) closes it, so an
answer can never reach another request. The only retry is for a pooled connection that turns out to have been closed
before it said anything: an idempotent request once more on a new one. Next module: `shadow.router.mirror`.
"""

from __future__ import annotations

import asyncio
from time import monotonic  # not the loop's clock: uvloop's counts whole milliseconds
from typing import Final

from shadow.router.answers import AnswerReader
from shadow.router.http1 import IDEMPOTENT
from shadow.router.pool import Connection, Pool
from shadow.router.ways import NOBODY, Exchanged, Receiver

REPLAY_BYTES: Final = 256 << 10
"""A request that is longer is not sent a second time."""
PENDING_BYTES: Final = 64 << 10
"""What waits for a connection; beyond it the sender is asked to pause."""


class Leg:
    """One request on its way to one upstream and back; tells `receiver` of it and of its one end.

    `data` is the first of the request, with `whole` all of it; `send` takes the rest. The deadline counts from the
    last byte that was sent. Only a `method` that may be repeated has the one retry on a stale connection.
    """

    __slots__ = (
        "_connect_us",
        "_connection",
        "_ended",
        "_head_only",
        "_heard",
        "_pool",
        "_replay",
        "_reused",
        "_sent",
        "_sent_at",
        "_sent_bytes",
        "_task",
        "_whole",
        "receiver",
    )

    def __init__(self, pool: Pool, receiver: Receiver, method: bytes, data: bytes, whole: bool) -> None:
        self._pool = pool
        self.receiver = receiver
        self._sent = [data]
        self._sent_bytes = len(data)
        self._whole = whole
        self._head_only = method == b"HEAD"
        self._replay = method in IDEMPOTENT and len(data) <= REPLAY_BYTES
        self._connection: Connection | None = None
        self._task: asyncio.Task[None] | None = None
        self._connect_us = 0
        self._heard = self._ended = False
        self._sent_at = monotonic()
        pool.watch(self)
        reused = pool.take()
        self._reused = reused is not None
        if reused is not None:
            self._begin(reused)
        else:
            self._task = pool.loop.create_task(self._connect())

    def send(self, data: bytes, whole: bool) -> None:
        """More of the request; `whole` with the last of it."""
        if self._ended:
            return
        self._whole = whole
        self._pool.watch(self)
        if self._connection is not None and not (self._reused and self._replay):
            self._connection.transport.write(data)
            return
        self._sent.append(data)
        self._sent_bytes += len(data)
        if self._connection is not None:
            self._connection.transport.write(data)
            if self._sent_bytes > REPLAY_BYTES:
                self._replay = False
                self._sent = []
        elif self._sent_bytes > PENDING_BYTES:
            self.receiver.pause_sending()

    def cancel(self) -> None:
        """Give up; `ended` gets "cancelled"."""
        self._finish("cancelled")

    def give_up(self, error: str) -> None:
        """Cut it off as `error`: "timeout" when the deadline came, or what the receiver finds wrong."""
        self._finish(error)

    def pause(self) -> None:
        """Whom the answer is for does not take it for now: the upstream waits, and its clock stands still."""
        if self._connection is not None and not self._ended:
            self._connection.paused = True
            self._connection.transport.pause_reading()
            self._pool.unwatch(self)

    def resume(self) -> None:
        """It is taken again."""
        if self._connection is not None and not self._ended:
            self._connection.paused = False
            self._connection.transport.resume_reading()
            self._pool.watch(self)

    def pause_sending(self) -> None:
        """The upstream takes no more of the request for now."""
        self.receiver.pause_sending()

    def resume_sending(self) -> None:
        """It does again."""
        self.receiver.resume_sending()

    def received(self, data: bytes) -> None:
        """Bytes of the answer."""
        connection = self._connection
        if connection is None:
            return
        self._heard = True
        reader = connection.reader
        reader.feed(data)
        if reader.interim:
            self.receiver.interim(reader)
            reader.interim.clear()
        if reader.begun and not reader.error:
            self.receiver.received(reader, reader.take(), reader.done)
        if reader.done or reader.error:
            self._finish("" if reader.done else reader.error)

    def lost(self, error: Exception | None) -> None:
        """The connection was closed before the answer was whole."""
        connection, self._connection = self._connection, None
        if self._reused and not self._heard and self._replay:
            self._reused = False
            self._task = self._pool.loop.create_task(self._connect())
            return
        reader = connection.reader if connection is not None else None
        if error is not None or not self._heard or reader is None:
            # Also when the body was to end with the connection: a reset is no orderly end.
            self._finish("reset", reader)
            return
        reader.end()
        if reader.done:
            self.receiver.received(reader, b"", True)
        self._finish(reader.error, reader)

    async def _connect(self) -> None:
        started = monotonic()
        try:
            connection = await self._pool.connected()
        except OSError:
            self._finish("refused")
            return
        self._connect_us = int((monotonic() - started) * 1e6)
        # In this order: what has waited may be more than the new connection takes, and who hears of it may give up.
        self.receiver.resume_sending()
        if self._ended:
            connection.abort()
        else:
            self._begin(connection)

    def _begin(self, connection: Connection) -> None:
        self._connection = connection
        self._sent_at = monotonic()
        connection.leg = self
        connection.reader.expect(self._head_only)
        sent = self._sent
        connection.transport.write(sent[0] if len(sent) == 1 else b"".join(sent))
        if not (self._reused and self._replay):
            self._sent = []

    def _finish(self, error: str, reader: AnswerReader | None = None) -> None:
        if self._ended:
            return
        self._ended = True
        self._pool.unwatch(self)
        self._sent = []
        upstream_us = int((monotonic() - self._sent_at) * 1e6)
        if self._task is not None and not self._task.done() and self._task is not asyncio.current_task():
            self._task.cancel()
        if self._connection is not None:
            reader = self._connection.reader
        status = reader.status if reader is not None and self._heard else 0
        self._release(error)
        # No cycle stays behind: what is over is freed at once, without the collector.
        receiver, self.receiver = self.receiver, NOBODY
        receiver.ended(Exchanged(status, error, self._connect_us, upstream_us))

    def _release(self, error: str) -> None:
        """Back to the pool after a whole answer to a whole request, if it allows that; closed otherwise."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        connection.leg = None
        unsent = not error and connection.transport.get_write_buffer_size()
        if error or unsent or not self._whole or not connection.reader.keep_alive or connection.closing:
            connection.abort()
            return
        if connection.paused:
            connection.paused = False
            connection.transport.resume_reading()
        self._pool.give(connection)
