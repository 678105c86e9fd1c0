"""What each fault of a shadow does with a connection, and with a request. Next: `tests.bench.router_fault_server`.

Faults that are of the whole server (it refuses, it restarts, its host is gone) are there.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, Protocol

from tests.bench.router_redis import RedisReads, answer

FAULTS: Final = {
    "none": "no fault",
    "slow-0.5": "answers after 0.5 s",
    "slow-5": "answers after 5 s",
    "slow-30": "answers after 30 s",
    "never-reads": "accepts and never reads",
    "reset": "resets in the middle of its answer",
    "refused": "refuses connections",
    "dns": "its name is gone",
    "5xx": "answers 503",
    "garbage": "answers what is no HTTP",
    "endless": "a body without end, as fast as it is read",
    "drip": "a byte of body a second",
    "flood": "every answer after 0.25 s, closing: a connection each",
    "restarts": "half a second there, half a second gone",
    "redis": "reads the shared Redis 50 times for each copy",
}
"""What the matrix holds, in its order."""
BLACKOUT: Final = "blackout"
"""The host is gone: nothing is answered, not even a connection's first packet."""
HAMMER_READS: Final = 50
SILENT: Final = ("never-reads", BLACKOUT)
ANSWER: Final = answer("hybrid-v4")
UNAVAILABLE: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
CLOSING: Final = ANSWER.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
GARBAGE: Final = random.Random(7).randbytes(512)
ENDLESS: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNK: Final = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
DRIP: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n"


class Shadow(Protocol):
    """What a connection needs of its server."""

    fault: str
    requests: int
    connections: int
    open: set[Connection]

    def redis(self) -> RedisReads:
        """The shared Redis."""


class Connection(asyncio.Protocol):
    """One connection; what it does with a request is the fault that is on."""

    def __init__(self, shadow: Shadow) -> None:
        self._shadow = shadow
        self._rest = b""
        self._paused = False
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._shadow.connections += 1
        self._shadow.open.add(self)
        if self._shadow.fault in SILENT:
            self.silence()

    def connection_lost(self, error: Exception | None) -> None:
        self._shadow.open.discard(self)

    def data_received(self, data: bytes) -> None:
        heads = (self._rest + data).split(b"\r\n\r\n")
        self._rest = heads.pop()
        for _ in heads:
            self._shadow.requests += 1
            REACTIONS.get(self._shadow.fault, Connection.write)(self)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pour()

    def silence(self) -> None:
        """Never read again."""
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def reset(self) -> None:
        """Close with RST."""
        linger = struct.pack("ii", 1, 0)
        with contextlib.suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()

    def write(self, data: bytes = ANSWER) -> None:
        """Answer, if the other side is still there."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def reset_midway(self) -> None:
        """Half of the answer, then RST."""
        self.write(ANSWER[: len(ANSWER) // 2])
        self.reset()

    def write_and_close(self) -> None:
        """The last answer of the connection."""
        self.write(CLOSING)
        self.transport.close()

    def endless(self) -> None:
        """Chunks as fast as they are read."""
        self.write(ENDLESS)
        self._pour()

    def _pour(self) -> None:
        # A chunk at a turn of the loop: one connection must not have all the time.
        if not self._paused and not self.transport.is_closing():
            self.transport.write(CHUNK)
            asyncio.get_running_loop().call_soon(self._pour)

    def drip(self) -> None:
        """A byte a second."""
        self.write(DRIP)
        self._drop()

    def _drop(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(b" ")
            asyncio.get_running_loop().call_later(1, self._drop)

    def hammer(self) -> None:
        """Answer when Redis has."""
        self._shadow.redis().read(HAMMER_READS, self.write)

    def later(self, seconds: float, reaction: Callable[[Connection], None]) -> None:
        """React after a time."""
        asyncio.get_running_loop().call_later(seconds, reaction, self)


REACTIONS: Final[dict[str, Callable[[Connection], None]]] = {
    "slow-0.5": lambda connection: connection.later(0.5, Connection.write),
    "slow-5": lambda connection: connection.later(5, Connection.write),
    "slow-30": lambda connection: connection.later(30, Connection.write),
    "never-reads": lambda connection: None,
    BLACKOUT: lambda connection: None,
    "reset": Connection.reset_midway,
    "5xx": lambda connection: connection.write(UNAVAILABLE),
    "garbage": lambda connection: connection.write(GARBAGE),
    "endless": Connection.endless,
    "drip": Connection.drip,
    "flood": lambda connection: connection.later(0.25, Connection.write_and_close),
    "redis": Connection.hammer,
}
