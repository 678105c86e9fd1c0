"""A primary (or a shadow) that keeps every byte it gets, and a client that sends bytes as they are.

Both work on real sockets. The upstream's own parser is h11; what it kept is read again by
`tests.shadow.router.smuggling.readings`. Next module: `tests.shadow.router.smuggling.corpus`, what is sent.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import h11
import pytest
import uvloop

from tests.shadow.router import harness
from tests.shadow.router.smuggling.readings import HEAD_BYTES, Reading, requests_in

SECONDS = 60.0
"""Longest that anything here may take; a test that waits longer has failed."""
Result = TypeVar("Result")
Script = Callable[[h11.Request, bytes], Sequence[bytes]]
"""From a request and its body to the pieces of the answer; an empty piece at the end closes the connection."""


def echo(head: h11.Request, body: bytes) -> Sequence[bytes]:
    """200, saying whose answer it is."""
    said = json.dumps({"target": bytes(head.target).decode("latin-1"), "bytes": len(body)}).encode()
    return [b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(said) + (b"" if head.method == b"HEAD" else said)]


class Capture:
    """An upstream in the place of another: `connections` holds the bytes that each connection brought."""

    def __init__(self) -> None:
        self.connections: list[bytearray] = []
        self.script: Script = echo
        self.early = False
        """Answer when the head is there, not at the end of the body; then keep what comes, and answer no more."""
        self._server: asyncio.Server | None = None
        self._under_way: set[asyncio.Task[None]] = set()
        self._open: set[int] = set()
        """Which of `connections`, by `id`, have not ended."""

    async def start(self, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._under_way):
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    def requests(self) -> list[Reading]:
        """All requests so far, connection by connection, as both parsers read them."""
        return [reading for raw in self.connections for reading in requests_in(bytes(raw))]

    def forget(self) -> None:
        """Before the next example: connections that stay open are read on where they are, the others are gone."""
        self.connections = [raw for raw in self.connections if id(raw) in self._open]
        for raw in self.connections:
            raw.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        raw = bytearray()
        self.connections.append(raw)
        self._open.add(id(raw))
        try:
            await self._converse(raw, reader, writer)
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._open.discard(id(raw))
            self._under_way.discard(task)
            writer.close()

    async def _converse(self, raw: bytearray, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
        asked = _Asked(connection, lambda: self.early)
        while data := await reader.read(1 << 16):
            raw += data
            try:
                connection.receive_data(data)
                while asked.ready():
                    if not await self._answer(asked, writer):
                        return
                if connection.they_are_waiting_for_100_continue:
                    await send_apart(
                        writer, [connection.send(h11.InformationalResponse(status_code=100, headers=[])) or b""]
                    )
            except h11.RemoteProtocolError:
                return  # the bytes are kept; `requests` says what is wrong with them

    async def _answer(self, asked: _Asked, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays open."""
        assert asked.head is not None
        pieces = self.script(asked.head, asked.body)
        await send_apart(writer, [piece for piece in pieces if piece])
        return pieces[-1] != b"" and asked.next()


class _Asked:
    """The request under way on a connection."""

    def __init__(self, connection: h11.Connection, early: Callable[[], bool]) -> None:
        self._connection = connection
        self._early = early
        self._overtaken = False
        """Answered when its head was there. Asked for each request: the router's connection may be an older one."""
        self.head: h11.Request | None = None
        self.body = b""

    def ready(self) -> bool:
        """Read on; whether a request is to be answered."""
        while not self._overtaken:
            event = self._connection.next_event()
            if isinstance(event, h11.Request):
                self.head, self.body = event, b""
                self._overtaken = self._early()
                if self._overtaken:
                    return True
            elif isinstance(event, h11.Data):
                self.body += bytes(event.data)
            else:
                return isinstance(event, h11.EndOfMessage)
        return False

    def next(self) -> bool:
        """The request is answered: make ready for the next one; false when there can be none."""
        if self._overtaken:
            return True
        self._connection.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
        self._connection.send(h11.EndOfMessage())
        if self._connection.our_state is h11.MUST_CLOSE:
            return False
        self._connection.start_next_cycle()
        return True


async def send_apart(writer: asyncio.StreamWriter, pieces: Sequence[bytes]) -> None:
    """Write the pieces so that a reader in the same loop gets each of them alone."""
    for piece in pieces:
        if writer.transport.is_closing():
            return  # by a reset; uvloop raises at a write behind it
        writer.write(piece)
        # Two turns of the loop: what was written to a loopback socket is there in the next, and read in it.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@dataclass
class Rig:
    """A running router whose primary and shadow keep every byte."""

    stage: harness.Set
    primary: Capture = field(default_factory=Capture)
    shadow: Capture = field(default_factory=Capture)
    errors: list[str] = field(default_factory=list)
    """What the loop or the log called an error."""
    was_reset: bool = False
    """Whether the last connection of `send` ended by a reset."""

    async def send(self, pieces: Sequence[bytes], end: str = "") -> bytes:
        """One connection: all `pieces`, one by one, then the `end` of the stream if it has one; what came back.

        The end is "eof", the last byte of the client, or "reset", behind which nothing is read.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", self.stage.port)
        try:
            async with asyncio.timeout(SECONDS):
                await send_apart(writer, pieces)
                if end == "reset":
                    writer.transport.abort()
                elif end and not writer.is_closing():
                    writer.write_eof()
                return await self._all_of(reader)
        finally:
            writer.close()

    async def _all_of(self, reader: asyncio.StreamReader) -> bytes:
        """Everything up to the end of the connection."""
        got, self.was_reset = b"", False
        try:
            while data := await reader.read(1 << 16):
                got += data
        except ConnectionError:
            self.was_reset = True
        return got

    async def settled(self) -> None:
        """Until no request is in flight in any arm, and the upstreams have read what left for them."""
        async with asyncio.timeout(SECONDS):
            while self.stage.arm.in_flight:
                await asyncio.sleep(0.001)
            for _ in range(8):
                await asyncio.sleep(0)


@asynccontextmanager
async def rig(**settings: Any) -> AsyncIterator[Rig]:
    """A router as `harness.running` makes it; `Capture`s take the ports of its two upstreams."""
    async with harness.running(**settings) as stage:
        built = Rig(stage)
        for place, capture in ((stage.primary, built.primary), (stage.shadow, built.shadow)):
            await place.stop()
            await capture.start(place.port)
        try:
            with no_errors() as built.errors:
                yield built
        finally:
            for capture in (built.primary, built.shadow):
                await capture.stop()


class Standing:
    """A router for a whole module, and its loop: it has to stay in order over thousands of connections, too."""

    def __init__(self, runner: asyncio.Runner, built: Rig) -> None:
        self.runner, self.rig = runner, built

    def run(self, doing: Coroutine[Any, Any, Result]) -> Result:
        """Do it in the router's loop."""
        return self.runner.run(doing)


@contextmanager
def standing(**settings: Any) -> Iterator[Standing]:
    """`rig` for tests that are no coroutines: hypothesis runs many examples in one of them."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        stack = AsyncExitStack()
        built = runner.run(stack.enter_async_context(rig(**settings)))
        try:
            yield Standing(runner, built)
        finally:
            runner.run(stack.aclose())


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


@contextmanager
def no_errors() -> Iterator[list[str]]:
    """Fail if the loop meets an exception that nobody handles, or anything is logged as an error."""
    loop, errors = asyncio.get_running_loop(), _Errors()
    loop.set_exception_handler(lambda _, context: errors.said.append(repr(context)))
    logging.getLogger().addHandler(errors)
    try:
        yield errors.said
    finally:
        logging.getLogger().removeHandler(errors)
        loop.set_exception_handler(None)
    if errors.said:
        pytest.fail("\n".join(errors.said))
