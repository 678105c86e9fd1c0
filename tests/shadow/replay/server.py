"""A server on this machine that answers every request, in a thread of its own; it keeps what it was asked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

BODY = b'{"items":[{}],"source":"hybrid"}'


def http(body: bytes = BODY, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def server(respond: Callable[[int], bytes] = lambda number: http()) -> Iterator[tuple[int, list[tuple[str, bytes]]]]:
    """(port, (head, body) of each request); `respond` gives the answer to the n-th, b"" for none."""
    asked: list[tuple[str, bytes]] = []
    loop, started = asyncio.new_event_loop(), threading.Event()
    stopped, ports = asyncio.Event(), list[int]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                _, mark, length = head.lower().partition("content-length: ")
                body = await reader.readexactly(int(length.split("\r\n")[0])) if mark else b""
                asked.append((head, body))
                if answer := respond(len(asked) - 1):
                    writer.write(answer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def run() -> None:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
            ports.append(listening.sockets[0].getsockname()[1])
            started.set()
            await stopped.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    assert started.wait(10)
    try:
        yield ports[0], asked
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(10)
        loop.close()


def until_true(condition: Callable[[], object], seconds: float = 30) -> None:
    """Return as soon as `condition` holds; `TimeoutError` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(condition)
        time.sleep(0.01)
