"""A shadow that is ill on command: `python -m tests.bench.router_fault_server PORT CONTROL DNS [REDIS]`.

A line with a fault's name to the port CONTROL makes it so, an empty one nothing; the answer is what was seen so far, as
JSON. On the UDP port DNS it is a name server that knows no name. It runs only while nothing else wants its core: in a
cluster a shadow has machines of its own, and here its work must not slow the primary down.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from typing import Any, Final

from shadow.rehearsal import HOST
from tests.bench.router_ill import BLACKOUT, FAULTS, SILENT, Connection
from tests.bench.router_redis import RedisReads

ABSENT: Final = ("refused", BLACKOUT)


class NoNames(asyncio.DatagramProtocol):
    """NXDOMAIN to every question."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data[:2] + b"\x81\x83" + data[4:6] + bytes(6) + data[12:], addr)


class Shadow:
    """The server and the fault that is on."""

    def __init__(self, port: int, redis: RedisReads | None) -> None:
        self.fault = "none"
        self.requests = self.connections = 0
        self.open: set[Connection] = set()
        self.port = port
        self._redis = redis
        self._listener: asyncio.Server | None = None
        self._dead: socket.socket | None = None
        self._restarting: asyncio.Task[None] | None = None

    def redis(self) -> RedisReads:
        """The shared Redis; `ValueError` when there is none."""
        if self._redis is None:
            raise ValueError("started without a Redis")
        return self._redis

    async def be(self, fault: str) -> dict[str, int]:
        """Have that fault; what was seen so far. `ValueError` for a name that is none."""
        if fault not in FAULTS and fault != BLACKOUT:
            raise ValueError(f"no fault is called {fault!r}")
        if self._restarting is not None:
            self._restarting.cancel()
        self.fault = fault
        await self._listen(fault not in ABSENT)
        if fault == "refused":
            self._reset_all()
        if fault in SILENT:
            for each in self.open:
                each.silence()
        self._restarting = asyncio.create_task(self._restart()) if fault == "restarts" else None
        return self.seen()

    def seen(self) -> dict[str, int]:
        """The counts."""
        return {"requests": self.requests, "connections": self.connections, "open": len(self.open)}

    async def close(self) -> None:
        """Listen no more, and reset what is open."""
        if self._restarting is not None:
            self._restarting.cancel()
        self.fault = "none"
        await self._listen(False)
        self._reset_all()

    async def _listen(self, wanted: bool) -> None:
        if self._dead is not None:
            self._dead.close()
            self._dead = None
        if wanted and self._listener is None:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(lambda: Connection(self), HOST, self.port, backlog=4096)
        elif not wanted and self._listener is not None:
            self._listener.close()
            self._listener = None
        if self.fault == BLACKOUT:
            # Nobody accepts, so after the first ones the kernel drops the packets that would open a connection.
            self._dead = socket.create_server((HOST, self.port), backlog=0)

    def _reset_all(self) -> None:
        for each in list(self.open):
            each.reset()

    async def _restart(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            await self._listen(False)
            self._reset_all()
            await asyncio.sleep(0.5)
            await self._listen(True)


async def serve(port: int, control: int, dns: int, redis: int) -> None:
    """Until killed."""
    loop = asyncio.get_running_loop()
    shadow = Shadow(port, await RedisReads.connected(redis) if redis else None)
    await shadow.be("none")
    await loop.create_datagram_endpoint(NoNames, (HOST, dns))

    async def told(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = (await reader.readline()).decode().strip()
        writer.write(json.dumps(await shadow.be(fault) if fault else shadow.seen()).encode())
        writer.close()

    async with await asyncio.start_server(told, HOST, control) as server:
        await server.serve_forever()


if __name__ == "__main__":
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    ports = [int(each) for each in sys.argv[1:]]
    asyncio.run(serve(ports[0], ports[1], ports[2], ports[3] if len(ports) > 3 else 0))
