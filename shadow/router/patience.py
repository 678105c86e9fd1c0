"""How long a client is waited for: while its request comes, while it takes its answer, and for a moment at the end.

A client that sends or reads too slowly is let go; one that was refused while it still sent hears of it first. Next
module: `shadow.router.client`, which keeps to this.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any, Final

IDLE_SECONDS: Final = 75.0
"""A connection without a request under way, or with an answer that is not read, is closed after this time."""
REQUEST_SECONDS: Final = 15.0
"""A request may take so long to come, and a second more for every `BYTES_PER_SECOND` of it that came; then 408."""
BYTES_PER_SECOND: Final = 500
SWEEP_SECONDS: Final = 5.0
"""Between looks at all connections: one may be let go so much later than its time."""
LINGER_SECONDS: Final = 1.0
"""After a refusal the connection is read on for so long, or its reset could overtake the answer."""


class Arrival:
    """The time that a request takes to come, from its first byte to its last; nothing while none is coming."""

    __slots__ = ("bytes", "since")

    def __init__(self) -> None:
        self.since: float | None = None
        self.bytes = 0

    def came(self, idle: bool, now: float, received: int) -> None:
        """So many bytes came; `idle` when they end with a whole request."""
        if idle:
            self.since = None
        elif self.since is None:
            self.since, self.bytes = now, received
        else:
            self.bytes += received

    def late(self, now: float, paused: bool) -> bool:
        """Whether the request takes too long. It does not while it is we who do not read."""
        if self.since is None:
            return False
        if paused:
            self.since = now
        return now - self.since > REQUEST_SECONDS + self.bytes / BYTES_PER_SECOND


def linger(transport: Any) -> None:
    """End once the client has had its time, and had the whole answer; `Client.sweep` bounds how long that may take."""
    asyncio.get_running_loop().call_later(LINGER_SECONDS, lingered, transport)


def lingered(transport: Any) -> None:
    """The time is over."""
    if transport.get_write_buffer_size():
        linger(transport)
    else:
        transport.abort()


def reset(transport: Any) -> None:
    """End by a reset: asyncio's abort ends the stream in order unless bytes wait."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
