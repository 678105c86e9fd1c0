"""A router inside the test's loop, between programmable upstreams and a collecting shipper, all on real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
import struct
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from shadow.router.config import Arm, Primary, RouterConfig
from shadow.router.server import Server
from tests.ports import free_port

KEY = b"a key for tests only, 32 bytes.."
Answer = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bool]]
"""Answers one request (its head); returns whether the connection stays open."""


def reply(body: str, status: str = "200 OK", extra: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{extra}content-length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def target_of(head: str) -> str:
    return head.split(" ")[1]


async def echo(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """200 with the target in the body: every client can tell its own answer."""
    writer.write(reply(json.dumps({"target": target_of(head)})))
    return True


class Gate:
    """Echoes once the test says so."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await self.open.wait()
        return await echo(head, reader, writer)


async def error500(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(reply("{}", "500 Internal Server Error"))
    return True


async def silent(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Never answers; ends when the router gives up."""
    await reader.read(1)
    return False


def cut(transport: Any) -> None:
    """Close with a reset."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def leave(writer: asyncio.StreamWriter) -> None:
    """Go away by a reset; an orderly end could as well be a client that only has said all."""
    cut(writer.transport)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


async def closed(port: int) -> None:
    """Until nobody accepts at `port` any more."""
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        writer.close()
        await asyncio.sleep(0.001)


def in_pieces(data: bytes, sizes: Iterable[int], feed: Callable[[bytes], None]) -> None:
    """Feed pieces of these sizes, and then the rest."""
    start = 0
    for size in sizes:
        if start < len(data):
            feed(data[start : start + size])
            start += size
    if start < len(data):
        feed(data[start:])


async def reset(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    cut(writer.transport)
    return False


async def short(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this")
    return False


async def stuck(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Half an answer, and then nothing."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this")
    return await silent(head, reader, writer)


async def short_chunks(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    return False


async def garbage(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"\x00\x01\x02 no HTTP at all\r\n\r\n")
    return False


async def endless(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while not reader.at_eof() and not writer.is_closing():
        writer.write(b"x" * 65536)
        await writer.drain()
    return False


async def chunked(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    body = json.dumps({"target": target_of(head)})
    half = len(body) // 2
    parts = "".join(f"{len(part):x}\r\n{part}\r\n" for part in (body[:half], body[half:]))
    writer.write(f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{parts}0\r\n\r\n".encode())
    return True


async def extra(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """A whole answer, and another one that nobody asked for."""
    writer.write(reply(json.dumps({"target": target_of(head)})) + reply('{"target": "somebody else"}'))
    return True


async def crumbs(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """A byte in each chunk."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 3_000 + b"0\r\n\r\n")
    return True


async def body_parts(head: str, reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The parts of a request's body as they come, whichever way it is framed."""
    headers = headers_of(head)
    if "chunked" in headers.get("transfer-encoding", ""):
        while size := int(await reader.readline(), 16):
            yield await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readline()
        return
    left = int(headers.get("content-length", "0"))
    while left:
        part = await reader.read(min(left, 1 << 16))
        if not part:
            raise asyncio.IncompleteReadError(b"", left)
        left -= len(part)
        yield part


async def digest(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Reads the body and answers with its length and hash."""
    found, size = hashlib.sha256(), 0
    async for part in body_parts(head, reader):
        found.update(part)
        size += len(part)
    writer.write(reply(json.dumps({"target": target_of(head), "bytes": size, "sha256": found.hexdigest()})))
    return True


def headers_of(head: str) -> dict[str, str]:
    return dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)


class Upstream:
    """One fake upstream; `answer` may be changed while it runs."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.heads: list[str] = []
        self.connections = 0
        self.open = 0
        """Connections now."""
        self._server: Any = None
        self.port = 0

    async def start(self) -> None:
        # With a backlog of 100, the default, a burst waits a second for its SYNs to be sent again.
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                self.heads.append(head)
                if not await self.answer(head, reader, writer):
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()


class Collector:
    """A shipper that only keeps what it gets."""

    def __init__(self) -> None:
        self.raw = b""
        self.ended = asyncio.Event()
        self._routers: list[asyncio.StreamWriter] = []

    def say(self, word: bytes) -> None:
        """Tell the routers that are connected."""
        for writer in self._routers:
            writer.write(word)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._routers.append(writer)
        while data := await reader.read(1 << 16):
            self.raw += data
        writer.close()
        self.ended.set()

    @property
    def frames(self) -> list[dict[str, Any]]:
        found, start = [], 0
        while start < len(self.raw):
            (length,) = struct.unpack_from(">I", self.raw, start)
            if start + 4 + length > len(self.raw):
                break
            found.append(json.loads(self.raw[start + 4 : start + 4 + length]))
            start += 4 + length
        return found

    @property
    def exposures(self) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["record"] == "exposure"]

    @property
    def records(self) -> list[dict[str, Any]]:
        return [frame for frame in self.frames if frame["record"] == "pair"]


class Set:
    """A running router with everything around it."""

    def __init__(self, server: Server, port: int, primary: Upstream, shadow: Upstream, collector: Collector) -> None:
        self.server, self.port, self.primary, self.shadow, self.collector = server, port, primary, shadow, collector
        self.upstreams = {"shadow": shadow}
        """By arm."""

    @property
    def arm(self) -> Any:
        return self.arms["shadow"]

    @property
    def arms(self) -> dict[str, Any]:
        """The counters by arm."""
        return self.server.router.counters.arms

    @property
    def outcomes(self) -> dict[str, int]:
        return {name: number for name, number in self.arm.outcomes.items() if number}

    async def send(self, raw: bytes) -> tuple[int, dict[str, str], bytes]:
        """One connection, one request; (status, headers, body)."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(raw)
            return await read_answer(reader)
        finally:
            writer.close()

    async def get(self, target: str, headers: str = "") -> tuple[int, dict[str, str], bytes]:
        return await self.send(request(target, headers))

    async def settled(self) -> None:
        """Until nothing is in flight and the collector has every record."""
        log = self.server.log
        async with asyncio.timeout(60):
            while any(arm.in_flight for arm in self.arms.values()) or log.queued_bytes or self._missing():
                await asyncio.sleep(0.005)

    def _missing(self) -> bool:
        log = self.server.log
        return len(self.collector.records) + len(self.collector.exposures) < log.numbered - log.dropped


def request(target: str, headers: str = "") -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: reco\r\n{headers}\r\n".encode()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    async with asyncio.timeout(60):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(head[0].split(" ")[1]), headers, body


@asynccontextmanager
async def running(
    primary: Answer = echo,
    shadow: Answer = echo,
    *,
    shipper: bool = True,
    primary_ms: int = 60_000,
    control: bool = False,
    arms: Mapping[str, Mapping[str, Any]] | None = None,
    config: Mapping[str, Any] | None = None,
    port: int = 0,
    primary_url: str = "",
    admin_token: bytes = b"",
    **arm: Any,
) -> AsyncIterator[Set]:
    """A router on free ports with one arm, `shadow`; `arm` are further settings of it. Drained at the end.

    With `control` the shadow's upstream is a second arm too. `arms` are further ones by their names, each with an
    upstream of its own (`answer`, by default echo) and settings over those of `arm`; `config` are further settings of
    the router, `port` where it listens (0: a free one), `primary_url` another primary. Deadlines are long unless a test
    gives its own: on a busy machine no answer may be late that is to come.
    """
    arm = {"deadline_ms": 60_000, "queue_seconds": 60.0} | arm
    others = {name: Upstream(settings.get("answer", echo)) for name, settings in (arms or {}).items()}
    upstreams = Upstream(primary), Upstream(shadow)
    for each in (*upstreams, *others.values()):
        await each.start()
    collector = Collector()
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        path = Path(directory) / "shipper.sock"
        listener = await asyncio.start_unix_server(collector.serve, str(path)) if shipper else None
        port = port or free_port()
        names = ("shadow", "control") if control else ("shadow",)
        url = f"http://127.0.0.1:{upstreams[1].port}"
        further = tuple(
            Arm(**{"name": name, "url": f"http://127.0.0.1:{others[name].port}"} | arm | _settings(settings))
            for name, settings in (arms or {}).items()
        )
        whole = RouterConfig(
            experiment="test",
            admin="127.0.0.1:0",
            shipper=str(path),
            primary=Primary(
                url=primary_url or f"http://127.0.0.1:{upstreams[0].port}", version="champion:1", deadline_ms=primary_ms
            ),
            arms=tuple(Arm(**{"name": name, "url": url, "version": "challenger:2"} | arm) for name in names) + further,
            listen=f"127.0.0.1:{port}",
            **{"drain_seconds": 1} | dict(config or {}),
        )
        server = Server(whole, KEY, admin_token)
        await server.start()
        stage = Set(server, port, *upstreams, collector)
        stage.upstreams |= others
        try:
            yield stage
        finally:
            if shipper:
                if not server.draining:
                    await server.drain()
                await asyncio.wait_for(collector.ended.wait(), 60)
            else:
                await abandon(server)
            for each in (*upstreams, *others.values()):
                await each.stop()
            if listener is not None:
                listener.close()


def _settings(arm: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arm.items() if name != "answer"}


async def abandon(server: Server) -> None:
    """End a router whose shipper never came, without waiting for it."""
    for client in list(server.clients):
        client.abort()
    for mirror in server.mirrors:
        mirror.close()
    server.router.pool.close()
    for listener in server._listeners:
        listener.close()
    await server.log.close(0.01)
