"""Records on their way to the shipper: numbered without gaps, framed, buffered within a bound, never waited for.

A record that does not fit is dropped *after* it got its number, so the reader sees the gap. The shipper may come and
go: this side connects again and says `Hello` first; what went with it unconfirmed is counted. Next module:
`shadow.router.shipper`, the other end.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from random import Random
from time import monotonic, time_ns
from typing import Any, Final

import msgspec

from shadow.contracts import STOP, Answer, Exposure, Frame, Goodbye, Heartbeat, Hello, PairRecord
from shadow.router.handover import Handover
from shadow.router.records import Draft, Shown
from shadow.router.undecided import Span, Undecided

logger = logging.getLogger(__name__)

BUFFER_BYTES: Final = 16 << 20
"""Most bytes that wait for the shipper."""
WRITE_BYTES: Final = 64 << 10
"""Bytes handed to the socket at once."""
BATCH_SECONDS: Final = 0.01
"""How long a record may wait for others, of the second that a kill may cost."""
BACKOFF_SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Pauses between attempts to connect, half of each by chance; the last one repeats."""
HEARTBEAT_SECONDS: Final = 1.0
"""How often the shipper is told what is decided and what was dropped."""
STEADY_SECONDS: Final = 1.0
"""A connection that broke sooner was a failed attempt: a shipper that takes and closes is not asked without a pause."""


class PairLog(asyncio.Protocol):
    """The pipe to the shipper at the unix socket `path`.

    At every instant numbered = written + dropped + waiting, and of what was written: confirmed (the shipper knows its
    fate), unconfirmed (handed to a connection that broke before; it may be in the log or not), and the rest is with the
    shipper now.
    """

    def __init__(self, path: str, hello: Hello) -> None:
        self._path = path
        self._hello = hello
        self._encoder = msgspec.json.Encoder()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._handover = Handover()
        self._failures = 0
        self._connected_at = 0.0
        self._random = Random()
        self._transport: Any = None
        self._paused = False
        self._scheduled = False
        self._ended = False
        self.stopped = False
        """The shipper's spool is full, and its policy is that nothing more is mirrored. Without it nobody says so."""
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self.numbered = 0
        self.written = 0
        self.dropped = 0
        self.confirmed = 0
        self.unconfirmed = 0
        self._undecided = Undecided()
        self._connector = self._loop.create_task(self._connect())
        self._heart = self._loop.call_later(HEARTBEAT_SECONDS, self._pulse)

    @property
    def queued_bytes(self) -> int:
        """Bytes that the shipper has not taken yet."""
        return self._waiting_bytes + (self._transport.get_write_buffer_size() if self._transport else 0)

    def begin(self, arrival_us: int, records: int) -> Span:
        """A request that arrived then will leave so many records; its drafts bear the span."""
        return self._undecided.begin(arrival_us, records)

    def write(self, draft: Draft, arm: str, outcome: str, answer: Answer | None) -> None:
        """Number a pair and send it; drop it, counted, when the buffer is full."""
        self._put(draft.record(self.numbered, arm, outcome, answer), draft.span)

    def expose(self, draft: Draft, shown: Shown) -> None:
        """The same for an exposure; pairs and exposures share the numbers."""
        self._put(draft.exposure(self.numbered, shown), draft.span)

    def _put(self, record: PairRecord | Exposure, span: Span | None) -> None:
        self.numbered += 1
        if span is not None:
            span.owed -= 1
        if self.stopped:
            self.dropped += 1
            return
        frame = self._frame(record)
        if self.queued_bytes + len(frame) > BUFFER_BYTES:
            self.dropped += 1
            return
        self._waiting.append(frame)
        self._waiting_bytes += len(frame)
        if self._waiting_bytes >= WRITE_BYTES:
            self._flush()
        elif not self._scheduled:
            # What comes together within this time is written in one call: a call for each record costs 8 µs.
            self._scheduled = True
            self._loop.call_later(BATCH_SECONDS, self._flush)

    def promise(self, undecided_us: int) -> None:
        """From now on a record may come so late after its request; the shipper is told when that is later than ever."""
        if undecided_us > self._hello.undecided_us:
            self._hello = msgspec.structs.replace(self._hello, undecided_us=undecided_us)
            if self._transport is not None:
                self._transport.write(self._frame(self._hello))

    def document(self) -> dict[str, int]:
        """The pair log's part of `/counters`."""
        return {
            "numbered": self.numbered,
            "written": self.written,
            "dropped": self.dropped,
            "confirmed": self.confirmed,
            "unconfirmed": self.unconfirmed,
            "queued_bytes": self.queued_bytes,
            "stopped": int(self.stopped),
        }

    async def close(self, seconds: float) -> None:
        """Send what waits and say goodbye, for at most `seconds`; what is left then is dropped, counted."""
        self._flush()
        try:
            async with asyncio.timeout(seconds):
                await self._until(lambda: not self._waiting and self._transport is not None and not self._paused)
                self._ended = True
                incarnation = self._hello.incarnation
                goodbye = Goodbye(incarnation=incarnation, records=self.numbered, dropped=self.dropped)
                self._transport.write(self._frame(goodbye))
                await self._until(
                    lambda: self._transport is None or not (self._handover.confirms and self._handover.open)
                )
                if self._transport is not None:
                    self._transport.close()
                await self._until(lambda: self._transport is None)
        except TimeoutError:
            logger.warning(
                "no shipper took the last %d records at %s: dropped; %d more were not confirmed",
                len(self._waiting),
                self._path,
                self._handover.open,
            )
            self.dropped += len(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
        finally:
            self._ended = True
            self._connector.cancel()
            self._heart.cancel()
            if self._transport is not None:
                self._transport.abort()
            self._part()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's callback."""
        self._transport = transport
        # Paused means: not all that was written has left. Little is then lost with a connection, and it is known.
        self._transport.set_write_buffer_limits(high=0)
        self._paused = False
        self._connected_at = monotonic()
        self._transport.write(self._frame(self._hello))
        self._flush()

    def data_received(self, data: bytes) -> None:
        """asyncio's callback: the shipper says how many records are safe, and stop or go (`shadow.contracts`)."""
        before = self._handover.confirmed
        word = self._handover.hear(data)
        self.confirmed += self._handover.confirmed - before
        self._changed.set()
        if word:
            self._obey(word == STOP)

    def _obey(self, stopped: bool) -> None:
        if stopped != self.stopped:
            logger.warning("the shipper's spool %s", "is full: nothing is copied" if stopped else "has room again")
        self.stopped = stopped

    def pause_writing(self) -> None:
        """asyncio's callback: the shipper reads slowly."""
        self._paused = True

    def resume_writing(self) -> None:
        """asyncio's callback: all that was written has left."""
        self._paused = False
        self._flush()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """asyncio's callback: what was not confirmed may be lost; connect again, unless this is the end."""
        self._transport = None
        self.stopped = self._paused = False
        self._part()
        steady = monotonic() - self._connected_at >= STEADY_SECONDS
        self._failures = 0 if steady else self._failures + 1
        self._changed.set()
        if not self._ended:
            self._connector = self._loop.create_task(self._connect())

    def _part(self) -> None:
        """The connection is over, and with it all knowledge of what was handed to it."""
        self.unconfirmed += self._handover.open
        self._handover = Handover()

    def _pulse(self) -> None:
        self.beat(time_ns() // 1000)
        self._heart = self._loop.call_later(HEARTBEAT_SECONDS, self._pulse)

    def beat(self, now_us: int) -> None:
        """Tell a shipper that listens what is decided by now; not while something waits, which must come before it."""
        decided_us = self._undecided.since(now_us)
        self._flush()
        if self._waiting or self._paused or self._ended or not self._handover.hears or self._transport.is_closing():
            return
        heartbeat = Heartbeat(
            incarnation=self._hello.incarnation,
            sent_us=now_us,
            decided_us=decided_us,
            numbered=self.numbered,
            dropped=self.dropped,
        )
        self._transport.write(self._frame(heartbeat))

    async def _connect(self) -> None:
        while self._transport is None:
            if self._failures:
                pause = BACKOFF_SECONDS[min(self._failures, len(BACKOFF_SECONDS)) - 1]
                await asyncio.sleep(pause * (1 + self._random.random()) / 2)
            try:
                await self._loop.create_unix_connection(lambda: self, self._path)
            except OSError:
                self._failures += 1

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    def _flush(self) -> None:
        self._scheduled = False
        while self._waiting and self._transport is not None and not self._paused and not self._transport.is_closing():
            self._send(WRITE_BYTES)
        self._changed.set()

    def _send(self, most_bytes: int) -> None:
        """Write frames of about `most_bytes` in one call."""
        frames, size = [], 0
        while self._waiting and size < most_bytes:
            frames.append(self._waiting.popleft())
            size += len(frames[-1])
        self._waiting_bytes -= size
        self.written += len(frames)
        self._handover.handed += len(frames)
        self._transport.write(b"".join(frames))

    def _frame(self, frame: Frame) -> bytes:
        body = self._encoder.encode(frame)
        return len(body).to_bytes(4, "big") + body
