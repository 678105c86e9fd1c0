"""Records on their way to the shipper: numbered without gaps, framed, buffered within a bound, never waited for.

A record that does not fit is dropped *after* it got its number, so the reader sees the gap. The shipper may come and
go: this side connects again and says `Hello` first. Next module: `shadow.router.shipper`, the other end.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from typing import Any, Final

import msgspec

from shadow.contracts import Frame, Goodbye, Hello, PairRecord

BUFFER_BYTES: Final = 16 << 20
"""Most bytes that wait for the shipper."""
BACKOFF_SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses between attempts to connect; the last one repeats."""


class PairLog(asyncio.Protocol):
    """The pipe to the shipper at the unix socket `path`."""

    def __init__(self, path: str, hello: Hello) -> None:
        self._path = path
        self._hello = hello
        self._encoder = msgspec.json.Encoder()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._transport: Any = None
        self._paused = False
        self._scheduled = False
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._drained = asyncio.Event()
        self.numbered = 0
        self.written = 0
        self.dropped = 0
        self._connector = self._loop.create_task(self._connect())

    @property
    def queued_bytes(self) -> int:
        """Bytes that the shipper has not taken yet."""
        return self._waiting_bytes + (self._transport.get_write_buffer_size() if self._transport else 0)

    def write(self, record: PairRecord) -> None:
        """Number the record and send it; drop it, counted, when the buffer is full."""
        record = msgspec.structs.replace(record, sequence=self.numbered)
        self.numbered += 1
        frame = self._frame(record)
        if self.queued_bytes + len(frame) > BUFFER_BYTES:
            self.dropped += 1
            return
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        self._schedule()

    def document(self) -> dict[str, int]:
        """The pair log's part of `/counters`."""
        return {
            "numbered": self.numbered,
            "written": self.written,
            "dropped": self.dropped,
            "queued_bytes": self.queued_bytes,
        }

    async def close(self, seconds: float) -> None:
        """Send what waits and say goodbye, for at most `seconds`; what is left then is dropped, counted."""
        self._closing = True
        goodbye = Goodbye(incarnation=self._hello.incarnation, records=self.numbered, dropped=self.dropped)
        self._schedule()
        try:
            async with asyncio.timeout(seconds):
                while self._waiting or self._transport is None:
                    self._drained.clear()
                    await self._drained.wait()
                self._transport.write(self._frame(goodbye))
                self._transport.close()
                while self._transport is not None:
                    self._drained.clear()
                    await self._drained.wait()
        except TimeoutError:
            self.dropped += len(self._waiting)
        finally:
            self._connector.cancel()
            if self._transport is not None:
                self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's callback."""
        self._transport = transport
        self._paused = False
        self._transport.write(self._frame(self._hello))
        self._schedule()

    def pause_writing(self) -> None:
        """asyncio's callback: the shipper reads slowly."""
        self._paused = True

    def resume_writing(self) -> None:
        """asyncio's callback."""
        self._paused = False
        self._schedule()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """asyncio's callback: connect again, unless this is the end."""
        self._transport = None
        self._drained.set()
        if not self._closing or self._waiting:
            self._connector = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        attempt = 0
        while self._transport is None:
            try:
                await self._loop.create_unix_connection(lambda: self, self._path)
            except OSError:
                await asyncio.sleep(BACKOFF_SECONDS[min(attempt, len(BACKOFF_SECONDS) - 1)])
                attempt += 1

    def _schedule(self) -> None:
        """Write in one call what has come together within one turn of the loop."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._transport is not None and not self._paused and not self._transport.is_closing() and self._waiting:
            self._transport.write(b"".join(self._waiting))
            self.written += len(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
        if not self._waiting:
            self._drained.set()

    def _frame(self, frame: Frame) -> bytes:
        body = self._encoder.encode(frame)
        return struct.pack(">I", len(body)) + body
