"""Constant load by a client that does not retry: kept connections and fresh ones in turn, every failure by its time."""

from __future__ import annotations

import asyncio
import json
import secrets
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import httptools

from shadow.replay.client import Reader

HOST: Final = "127.0.0.1"
DEADLINE_SECONDS: Final = 60.0
"""Long beyond the router's own: on a busy machine this process itself may be late."""
RPS: Final = 40.0
USERS: Final = 50
KEPT: Final = 8
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def pause(seconds: float) -> None:
    """Let load run for a while on what is there."""
    threading.Event().wait(seconds)


@dataclass
class Traffic:
    """GETs of `/recommend` at `RPS` from entering the block to leaving it; what is under way then is waited for."""

    port: int
    sent: int = 0
    failed: list[str] = field(default_factory=list)
    """What became of those that did not get 200: seconds since the start, the kind of connection, why."""
    sources: Counter[str] = field(default_factory=Counter)
    """By what the answers say of themselves: the rung that gave them."""
    newest: deque[str] = field(default_factory=lambda: deque(maxlen=USERS))
    """The sources of the answers that came last."""

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._idle: list[Connection] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join(DEADLINE_SECONDS + 5)
        assert not self._thread.is_alive(), "requests are still under way"

    def told(self) -> str:
        """How many failed, and the first of them."""
        return f"{len(self.failed)} of {self.sent} failed: {self.failed[:5]}"

    async def _run(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        number = 0
        while not self._stop.is_set():
            # What came late is not made up for: after a pause of this machine there is no burst.
            await asyncio.sleep(max(0.0, self._started + number / RPS - time.monotonic()))
            number = max(number + 1, int((time.monotonic() - self._started) * RPS))
            task = asyncio.create_task(self._one(number))
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)
        for _, writer in self._idle:
            writer.close()

    async def _one(self, number: int) -> None:
        fresh, began = number % 2 == 0, time.monotonic()
        self.sent += 1
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                answer = await self._ask(f"u{number % USERS:04d}", fresh)
                source = json.loads(answer.body)["source"] if answer.status == 200 else ""
        except (OSError, TimeoutError, ValueError, LookupError, httptools.HttpParserError) as error:
            source, why = "", repr(error)
        else:
            why = f"status {answer.status}"
            self.sources[source] += 1
            self.newest.append(source)
        if not source:
            kind = "fresh" if fresh else "kept"
            self.failed.append(f"{began - self._started:.2f} s, {kind}, after {time.monotonic() - began:.2f} s: {why}")

    async def _ask(self, user: str, fresh: bool) -> Reader:
        reader, writer = await self._connection(fresh)
        try:
            close = "Connection: close\r\n" if fresh else ""
            request = secrets.token_hex(8)
            head = f"GET /recommend?user_id={user}&k=5 HTTP/1.1\r\nHost: recommender\r\nX-Request-Id: {request}\r\n"
            writer.write(f"{head}{close}\r\n".encode())
            answer = Reader()
            while not answer.done:
                data = await reader.read(65_536)
                if not data:
                    raise ConnectionResetError("the connection ended before the answer did")
                answer.feed(data)
        except BaseException:
            writer.close()
            raise
        if fresh or not answer.keep_alive or len(self._idle) >= KEPT:
            writer.close()
        else:
            self._idle.append((reader, writer))
        return answer

    async def _connection(self, fresh: bool) -> Connection:
        while self._idle and not fresh:
            reader, writer = self._idle.pop()
            if not reader.at_eof():
                return reader, writer
            writer.close()
        return await asyncio.open_connection(HOST, self.port)
