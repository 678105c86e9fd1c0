"""A TCP proxy before Redis that a test can make slow, silent or rude."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Self


class Proxy:
    """Forwards to `port`. `pause`: seconds before each piece; `silent`: swallow everything; counts connections."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.pause = 0.0
        self.silent = False
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self) -> None:
        """Close every connection that is open."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        there = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += (writer, there[1])
        await asyncio.gather(self._pass(reader, there[1]), self._pass(there[0], writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A connection that was silent once stays so, as when the other end is gone without a word.
        gone = False
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                gone = gone or self.silent
                await asyncio.sleep(self.pause)
                if not gone:
                    writer.write(data)
        writer.close()
