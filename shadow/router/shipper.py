"""The shipper: a process of its own that turns the router's stream of records into shipped segments.

The router never waits for it: what this process cannot take, the router drops and counts. It alone will hold the
store's credentials. One unix socket, one connection per router, `Hello` first. Next module: `shadow.router.spool`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import struct
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from shadow.contracts import SCHEMA_VERSION, Frame, Goodbye, Hello
from shadow.router.spool import Destination, IncarnationLog

logger = logging.getLogger(__name__)

FRAME_BYTES: Final = 16 << 20
"""A longer frame is none: the stream is out of step, and the connection is closed."""
TICK_SECONDS: Final = 0.2
DRAIN_SECONDS: Final = 10.0
"""How long routers may take to say goodbye after SIGTERM, and the last segments to be shipped."""
BACKOFF_SECONDS: Final = (0.2, 1.0, 5.0)
"""Pauses after a failed upload; the last one repeats."""


class Head(msgspec.Struct, frozen=True):
    """What the shipper reads of a record; the reader checks the rest."""

    record: str
    sequence: int = -1
    event_time_us: int = 0


RECORDS: Final = frozenset({"pair", "exposure"})
"""The kinds of lines; other frames are between router and shipper alone."""
_HEAD = msgspec.json.Decoder(Head)
_FRAME = msgspec.json.Decoder(Frame)


class StreamError(Exception):
    """A router's stream that cannot be understood."""


class Stream(asyncio.Protocol):
    """One router's connection."""

    def __init__(self, shipper: Shipper) -> None:
        self._shipper = shipper
        self._buffer = bytearray()
        self._log: IncarnationLog | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's callback."""
        self._transport = transport
        self._shipper.streams.add(self)

    def data_received(self, data: bytes) -> None:
        """asyncio's callback: whole frames are taken, the rest waits for more."""
        self._buffer += data
        try:
            self._take_frames()
        except (StreamError, msgspec.DecodeError) as error:
            self._shipper.malformed += 1
            logger.error("a router's stream is closed: %s", error)
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """asyncio's callback."""
        self._shipper.streams.discard(self)

    def _take_frames(self) -> None:
        start, buffer = 0, self._buffer
        while len(buffer) - start >= 4:
            (length,) = struct.unpack_from(">I", buffer, start)
            if length > FRAME_BYTES:
                raise StreamError(f"a frame of {length} bytes (at most {FRAME_BYTES})")
            if len(buffer) - start - 4 < length:
                break
            self._take(bytes(buffer[start + 4 : start + 4 + length]))
            start += 4 + length
        del buffer[:start]

    def _take(self, body: bytes) -> None:
        head = _HEAD.decode(body)
        if head.record not in RECORDS:
            self._control(_FRAME.decode(body))
        elif self._log is None:
            raise StreamError("a record came before hello")
        elif b"\n" in body:
            raise StreamError(f"record {head.sequence} holds a line feed")
        else:
            self._log.append(body, head.sequence, head.event_time_us, time.monotonic())

    def _control(self, frame: Frame) -> None:
        if isinstance(frame, Hello):
            if frame.schema_version != SCHEMA_VERSION:
                raise StreamError(f"schema version {frame.schema_version}, this shipper writes {SCHEMA_VERSION}")
            self._log = self._shipper.log_of(frame)
        elif isinstance(frame, Goodbye) and self._log is not None:
            self._log.finish(frame)
            self._shipper.finished.append(self._log)
            self._log = None
        else:
            raise StreamError(f"{type(frame).__name__} came before hello")


class Shipper:
    """The logs of all routers that are connected or were, and the way to the destination."""

    def __init__(self, spool: Path, destination: Destination, segment_bytes: int, segment_seconds: float) -> None:
        self._spool = spool
        self._destination = destination
        self._segment = (segment_bytes, segment_seconds)
        self.streams: set[Stream] = set()
        self.logs: dict[tuple[str, str], IncarnationLog] = {}
        self.finished: list[IncarnationLog] = []
        self.malformed = 0
        self._stopping = False
        for log in IncarnationLog.left_over(spool):
            logger.warning("%s: left over by an earlier shipper, %d segments to ship", log.name, len(log.waiting))
            log.segment_bytes, log.segment_seconds = self._segment
            # Its router may still live and go on where it was.
            self.logs[(log.manifest.experiment, log.manifest.incarnation)] = log

    def log_of(self, hello: Hello) -> IncarnationLog:
        """The log of a router: a new one, or the one it wrote to before it lost the connection."""
        key = (hello.experiment, hello.incarnation)
        if key not in self.logs:
            try:
                self.logs[key] = IncarnationLog.open(self._spool, hello, *self._segment)
            except OSError as error:
                raise StreamError(f"the spool cannot be written: {error}") from error
        return self.logs[key]

    async def run(self, socket: Path) -> int:
        """Serve until SIGTERM or SIGINT; 0 when all was shipped, 1 when something stays in the spool."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        server = await loop.create_unix_server(lambda: Stream(self), str(socket))
        logger.info("shipper ready at %s", socket)
        ticker = loop.create_task(self._tick_until_stopped())
        await stop.wait()
        deadline = loop.time() + DRAIN_SECONDS
        while self.streams and loop.time() < deadline:
            await asyncio.sleep(0.05)
        server.close()
        # Not cancelled: the thread of an upload goes on, and would race with the uploads below.
        self._stopping = True
        await asyncio.wait((ticker,), timeout=max(2 * TICK_SECONDS, deadline - loop.time()))
        return await self._finish(deadline)

    async def _finish(self, deadline: float) -> int:
        """Close and ship everything, retrying until `deadline`."""
        loop = asyncio.get_running_loop()
        for log in self.logs.values():
            log.close_segment()
        while not await self._ship_all() and loop.time() < deadline:
            await asyncio.sleep(BACKOFF_SECONDS[0])
        left = [log for log in self.logs.values() if not log.shipped]
        for log in self.logs.values():
            if log.shipped:
                _forget(log)
        for log in left:
            logger.error("%s: %d segments stay in the spool; the next shipper takes them", log.name, len(log.waiting))
        return 1 if left else 0

    async def _tick_until_stopped(self) -> None:
        failures, ship_at = 0, 0.0
        while not self._stopping:
            await asyncio.sleep(TICK_SECONDS)
            now = time.monotonic()
            self._tick(now)
            if now >= ship_at:
                shipped = await self._ship_all()
                failures = 0 if shipped else failures + 1
                ship_at = now + (BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS)) - 1] if failures else 0)

    def _tick(self, now: float) -> None:
        for log in self.logs.values():
            try:
                log.tick(now)
            except Exception:
                # One router's trouble must not stop the flushing of all others'.
                logger.exception("%s: not flushed", log.name)

    async def _ship_all(self) -> bool:
        """Ship what is closed; whether nothing is left over."""
        whole = True
        for log in list(self.logs.values()):
            if log.shipped:
                continue
            try:
                await asyncio.to_thread(log.ship, self._destination)
            except Exception as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]  # obstore adds a page of its insides
                logger.error("%s: not shipped, will be tried again (%s)", log.name, reason)
                whole = False
        for log in [log for log in self.finished if log.shipped]:
            self.finished.remove(log)
            self.logs.pop((log.manifest.experiment, log.manifest.incarnation), None)
            _forget(log)
        return whole


def _forget(log: IncarnationLog) -> None:
    """Clear the spool of it; what stays by a fault holds nothing of the log any more."""
    try:
        log.forget()
    except OSError as error:
        logger.warning("%s: shipped, but the spool was not cleared (%s)", log.name, error)


def run_shipper(socket: Path, spool: Path, destination: str, segment_bytes: int, segment_seconds: float) -> int:
    """Run a shipper to its end; returns its exit code. `ValueError` for a destination that cannot be used."""
    spool.mkdir(parents=True, exist_ok=True)
    shipper = Shipper(spool, Destination(destination), segment_bytes, segment_seconds)
    socket.unlink(missing_ok=True)
    before = os.umask(0o077)
    try:
        return asyncio.run(shipper.run(socket))
    finally:
        os.umask(before)
        socket.unlink(missing_ok=True)
