"""One router's connection to the shipper: frames in; out, how many are safe, and whether to stop mirroring.

Next module: `shadow.router.shipper`, which keeps the logs that the records go to.
"""

from __future__ import annotations

import asyncio
import logging
import os
import struct
from time import monotonic
from typing import Any, Final, Protocol

import msgspec

from shadow.contracts import CONFIRMED, GO, HEARS, SCHEMA_VERSION, STOP, Frame, Goodbye, Heartbeat, Hello
from shadow.router.spool import IncarnationLog
from shadow.segment_recovery import Stamp

logger = logging.getLogger(__name__)

FRAME_BYTES: Final = 16 << 20
"""A longer frame is none: the stream is out of step, and the connection is closed."""
FRESH_SECONDS: Final = 1.0
"""So long after its hello, what a router sends is on disk at once: it may have held it while no shipper was there, and
a second kill must not cost that again."""
RECORDS: Final = frozenset({"pair", "exposure"})
"""The kinds of lines; other frames are between router and shipper alone."""


class Head(Stamp, frozen=True, kw_only=True):
    """What the shipper reads of a record; the reader checks the rest."""

    record: str


_HEAD = msgspec.json.Decoder(Head)
_FRAME = msgspec.json.Decoder(Frame)


class StreamError(Exception):
    """A router's stream that cannot be understood."""


class Owner(Protocol):
    """What a stream needs of its shipper."""

    streams: set[Stream]

    @property
    def stopped(self) -> bool:
        """Whether routers are to mirror no more."""

    def log_of(self, hello: Hello) -> IncarnationLog:
        """The log of a router; `StreamError` when it cannot have one."""

    def malformed(self, error: Exception) -> None:
        """A stream made no sense."""


class Stream(asyncio.Protocol):
    """One router's connection."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._buffer = bytearray()
        self._log: IncarnationLog | None = None
        self._hello_at = 0.0
        self._taken = 0
        """Records of this connection."""
        self._confirmed = -1
        self._word = GO
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's callback."""
        self._transport = transport
        self._owner.streams.add(self)

    def data_received(self, data: bytes) -> None:
        """asyncio's callback: whole frames are taken, the rest waits for more."""
        self._buffer += data
        try:
            self._take_frames()
        except (StreamError, msgspec.DecodeError) as error:
            self._owner.malformed(error)
            self._transport.abort()
        if self._log is not None and monotonic() - self._hello_at < FRESH_SECONDS:
            self._log.flush()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """asyncio's callback."""
        self._owner.streams.discard(self)
        self._leave()

    def report(self) -> None:
        """Tell the router what became of its records, and to stop or to go on, if that changed; a router that does not
        read is told later."""
        log, word = self._log, STOP if self._owner.stopped else GO
        safe = self._taken - (log.pending if log is not None else 0)
        if safe == self._confirmed and word == self._word:
            return
        hears = HEARS if self._confirmed < 0 else b""
        count = CONFIRMED + safe.to_bytes(8, "big") if safe > self._confirmed else b""
        try:
            # Past the transport, which would close at once when the router has gone, and what is unread would be lost.
            os.write(self._transport.get_extra_info("socket").fileno(), hears + count + word)
        except OSError:
            return
        self._confirmed, self._word = max(safe, self._confirmed), word

    @property
    def greeted(self) -> bool:
        """Whether its router has said who it is."""
        return self._log is not None

    def close(self) -> None:
        """End the connection; its router hears first that what came is safe."""
        if self._log is not None:
            self._log.flush()
            self.report()
        self._transport.abort()

    def _take_frames(self) -> None:
        start, buffer, now = 0, self._buffer, monotonic()
        while len(buffer) - start >= 4:
            (length,) = struct.unpack_from(">I", buffer, start)
            if length > FRAME_BYTES:
                raise StreamError(f"a frame of {length} bytes (at most {FRAME_BYTES})")
            end = start + 4 + length
            if len(buffer) < end:
                break
            self._take(bytes(memoryview(buffer)[start + 4 : end]), now)
            start = end
        del buffer[:start]

    def _take(self, body: bytes, now: float) -> None:
        head = _HEAD.decode(body)
        if head.record not in RECORDS:
            self._control(_FRAME.decode(body))
        elif self._log is None:
            raise StreamError("a record came before hello")
        elif b"\n" in body:
            raise StreamError(f"record {head.sequence} holds a line feed")
        else:
            self._taken += 1
            self._log.append(body, head.sequence, head.event_time_us, now, head.arrival_us)

    def _control(self, frame: Frame) -> None:
        if isinstance(frame, Hello):
            if frame.schema_version != SCHEMA_VERSION:
                raise StreamError(f"schema version {frame.schema_version}, this shipper writes {SCHEMA_VERSION}")
            self._leave()
            self._log = self._owner.log_of(frame)
            self._log.streams += 1
            self._hello_at = monotonic()
            self.report()
        elif isinstance(frame, Heartbeat) and self._log is not None:
            # While another connection of the router stands, something that was sent before may still come by that.
            if self._log.streams == 1:
                self._log.hear(frame)
        elif isinstance(frame, Goodbye) and self._log is not None:
            self._log.finish(frame)
            self.report()
            self._leave()
        else:
            raise StreamError(f"{type(frame).__name__} came before hello")

    def _leave(self) -> None:
        if self._log is not None:
            self._log.streams -= 1
            self._log.quiet_since = monotonic()
            self._log = None
