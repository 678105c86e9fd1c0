"""A configuration server as docs/control.md describes it, small enough to be read; what it is told it keeps."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from shadow.control_contract import Acknowledgement, Offer
from shadow.router.config import RouterConfig
from tests.shadow.router.harness import body_parts, headers_of, reply, target_of


class ConfigServer:
    """One router's configuration; `broken` answers what it says instead of what it should."""

    def __init__(self, lease_seconds: float = 60.0) -> None:
        self.lease_seconds = lease_seconds
        self.generation = 0
        self.config: Any = None
        self.asked: list[dict[str, str]] = []
        self.acknowledged: list[Acknowledgement] = []
        self.tokens: set[str] = set()
        self.broken: bytes | None = None
        self.ack_broken: bytes | None = None
        self.port = 0
        self._changed = asyncio.Event()
        self._server: Any = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/control"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Gone, with all connections."""
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()

    def give(self, config: RouterConfig | dict[str, Any]) -> int:
        """A new generation."""
        self.config = config
        self.generation += 1
        self._changed.set()
        self._changed = asyncio.Event()
        return self.generation

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                body = b"".join([part async for part in body_parts(head, reader)])
                self.tokens.add(headers_of(head).get("authorization", ""))
                writer.write(await self._answer(head, body))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):  # the test is over
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, head: str, body: bytes) -> bytes:
        parts = urlsplit(target_of(head))
        if parts.path == "/control/ack":
            if self.ack_broken is None:
                self.acknowledged.append(msgspec.json.decode(body, type=Acknowledgement))
            return self.ack_broken or b"HTTP/1.1 204 No Content\r\n\r\n"
        asked = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.asked.append(asked)
        if self.broken is not None:
            return self.broken
        if int(asked["generation"]) == self.generation:
            changed = self._changed
            try:
                await asyncio.wait_for(changed.wait(), float(asked["wait"]))
            except TimeoutError:
                return b"HTTP/1.1 204 No Content\r\n\r\n"
        raw = msgspec.Raw(msgspec.json.encode(self.config))
        offer = Offer(generation=self.generation, lease_seconds=self.lease_seconds, config=raw)
        return reply(json.dumps(json.loads(msgspec.json.encode(offer))))
