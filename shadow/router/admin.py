"""The router's other port, on the loopback: is it alive, is it ready, what has it counted.

Small on purpose: one GET per connection, a deadline, no body. Next module: `shadow.router.cli`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from shadow.router.counters import RouterCollector

SECONDS: Final = 5.0
LINE_BYTES: Final = 8_192


class Admin:
    """`document` gives the counters, `ready` whether the router takes requests."""

    def __init__(self, document: Callable[[], dict[str, object]], ready: Callable[[], bool]) -> None:
        self._document = document
        self._ready = ready
        self._registry = CollectorRegistry()
        self._registry.register(RouterCollector(document))

    async def start(self, host: str, port: int) -> asyncio.Server:
        """Listen; `OSError` when the port is taken."""
        return await asyncio.start_server(self._serve, host, port, limit=LINE_BYTES)

    def answer(self, path: str) -> tuple[str, str, bytes]:
        """(status line, content type, body) of a GET."""
        plain = "text/plain; charset=utf-8"
        if path == "/counters":
            return "200 OK", "application/json", msgspec.json.encode(self._document())
        if path == "/metrics":
            return "200 OK", CONTENT_TYPE_LATEST, generate_latest(self._registry)
        if path == "/livez":
            return "200 OK", plain, b"alive\n"
        if path == "/readyz":
            return ("200 OK", plain, b"ready\n") if self._ready() else ("503 Service Unavailable", plain, b"draining\n")
        return "404 Not Found", plain, b"there are /counters, /metrics, /livez and /readyz\n"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(SECONDS):
                line = (await reader.readline()).decode("latin-1").split(" ")
                while (await reader.readline()).strip():
                    pass
                status, kind, body = self.answer(line[1]) if len(line) == 3 and line[0] == "GET" else _NOT_GET
                head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
                writer.write(head.encode() + b"connection: close\r\n\r\n" + body)
                await writer.drain()
        except (TimeoutError, OSError, ValueError):
            pass
        finally:
            writer.close()


_NOT_GET: Final = ("405 Method Not Allowed", "text/plain; charset=utf-8", b"only GET\n")
