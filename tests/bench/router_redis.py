"""A primary that reads Redis for every request: `python -m tests.bench.router_redis PORT REDIS`.

As little as possible beside the read: it shares a core with the load, and the proxy before it is what is measured.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import hiredis
import uvloop

from shadow.rehearsal import HOST
from tests.bench.router_stage import PEERS

KEY: Final = "understudy:bench:vector"
VALUE: Final = bytes(range(256))
"""As long as a vector of 64 dimensions."""


def answer(model: str) -> bytes:
    """What nginx's upstream of that model answers, in the bytes of a whole HTTP answer."""
    found = re.search(rf"return 200 '(.*?{model}.*?)'", (PEERS / "nginx-upstreams.conf").read_text())
    if found is None:
        raise ValueError(f"no upstream answers as {model}")
    body = found[1].encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


class RedisReads(asyncio.Protocol):
    """One connection to Redis; commands go out at once, replies come in their order. It ends with its process."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._waiting: deque[list[Any]] = deque()
        self._transport: Any = None
        self._get = hiredis.pack_command(("GET", KEY))

    @staticmethod
    async def connected(port: int) -> RedisReads:
        """To the Redis at `port` of the loopback, with the value there; `OSError` when there is none."""
        loop = asyncio.get_running_loop()
        _, reads = await loop.create_connection(RedisReads, HOST, port)
        stored = loop.create_future()
        reads.send(hiredis.pack_command(("SET", KEY, VALUE)), 1, lambda: stored.set_result(None))
        await stored
        return reads

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def read(self, times: int, done: Callable[[], object]) -> None:
        """Read the value so many times, then call `done`."""
        self.send(self._get * times, times, done)

    def send(self, commands: bytes, replies: int, done: Callable[[], object]) -> None:
        """Send, and call `done` after that many replies."""
        self._waiting.append([replies, done])
        self._transport.write(commands)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.ReplyError):
                raise reply
            first = self._waiting[0]
            first[0] -= 1
            if not first[0]:
                self._waiting.popleft()
                first[1]()


class Primary(asyncio.Protocol):
    """One connection of a proxy."""

    def __init__(self, redis: RedisReads, whole: bytes) -> None:
        self._redis = redis
        self._whole = whole
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        heads = (self._rest + data).split(b"\r\n\r\n")
        self._rest = heads.pop()
        for _ in heads:
            self._redis.read(1, self._answer)

    def _answer(self) -> None:
        if not self._transport.is_closing():
            self._transport.write(self._whole)


async def serve(port: int, redis_port: int) -> None:
    """Until killed."""
    redis, whole = await RedisReads.connected(redis_port), answer("hybrid-v3")
    loop = asyncio.get_running_loop()
    async with await loop.create_server(lambda: Primary(redis, whole), HOST, port, backlog=4096) as server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(*map(int, sys.argv[1:])))
