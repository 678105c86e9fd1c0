"""The replay's own HTTP client: a bounded number of keep-alive connections, a deadline per request, no retries.

httpx costs milliseconds of CPU a request (research note shadow §5), which on a laptop would be taken from the services
that are measured.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote_from_bytes

import httptools
import msgspec

DEADLINE_SECONDS: Final = 10.0
"""From the moment a request is sent until its answer is whole."""


class Recorded(msgspec.Struct, frozen=True):
    """One request of a requests file."""

    event_time_us: int
    user_id: str
    k: int = 10


class _Body(msgspec.Struct):
    items: list[Any]
    source: str = ""


class Tally:
    """What came back."""

    def __init__(self) -> None:
        self.sent = 0
        self.statuses: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.empty = 0
        self.latencies: list[float] = []
        self.late: list[float] = []
        """How long after its time each request was sent: the client's own share of its latency."""
        self.seconds = 0.0

    def document(self) -> dict[str, Any]:
        """As `--json-out` writes it. Latencies in milliseconds from the moment a request was due."""
        return {
            "requests": self.sent,
            "answered": sum(self.statuses.values()),
            "statuses": dict(self.statuses),
            "errors": dict(self.errors),
            "empty": self.empty,
            "sources": dict(self.sources),
            "latency_ms": quantiles_ms(self.latencies),
            "late_ms": quantiles_ms(self.late),
            "seconds": round(self.seconds, 3),
        }


def quantiles_ms(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95, p99 and max in milliseconds; zeros of nothing."""
    ordered = sorted(seconds) or [0.0]
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    last = len(ordered) - 1
    return {name: round(ordered[min(last, int(share * len(ordered)))] * 1e3, 3) for name, share in shares.items()}


class Reader:
    """Reads one answer."""

    def __init__(self) -> None:
        self.done = False
        self.body = b""
        self.status = 0
        self.keep_alive = True
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, data: bytes) -> None:
        """Take bytes; `httptools.HttpParserError` when they are no answer."""
        self._parser.feed_data(data)

    def on_headers_complete(self) -> None:  # noqa: D102 - httptools' callbacks
        self.status = self._parser.get_status_code()
        self.keep_alive = self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:  # noqa: D102
        self.body += body

    def on_message_complete(self) -> None:  # noqa: D102
        self.done = True


class Replay:
    """One replay against `host`:`port`."""

    def __init__(self, host: str, port: int, connections: int, progress: Callable[[], None]) -> None:
        self._address = (host, port)
        self._authority = f"{host}:{port}"
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._progress = progress
        self.tally = Tally()

    async def play(
        self, requests: Sequence[Recorded], due: Sequence[float], most: float, signals: Sequence[int]
    ) -> int:
        """Send every request when it is due, for at most `most` seconds; 0, or the signal that ended it."""
        loop = asyncio.get_running_loop()
        stopped: list[int] = []
        sender = loop.create_task(self._send_all(requests, due))

        def stop(number: int) -> None:
            stopped.append(number)
            sender.cancel()

        for number in signals:
            loop.add_signal_handler(number, stop, number)
        started = loop.time()
        try:
            await asyncio.wait_for(sender, most)
        except TimeoutError:
            self.tally.errors["replay ran out of time"] += len(requests) - self.tally.sent
        except asyncio.CancelledError:
            if not stopped:
                raise
        self.tally.seconds = loop.time() - started
        for _, writer in self._idle:
            writer.close()
        return stopped[0] if stopped else 0

    async def _send_all(self, requests: Sequence[Recorded], due: Sequence[float]) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        async with asyncio.TaskGroup() as group:
            for request, offset in zip(requests, due, strict=True):
                await asyncio.sleep(max(0.0, started + offset - loop.time()))
                # Waiting here, not in the task, bounds the tasks; the latency counts from `offset` all the same.
                await self._slots.acquire()
                group.create_task(self._one(request, started + offset))

    async def _one(self, request: Recorded, due_at: float) -> None:
        self.tally.sent += 1
        self.tally.late.append(asyncio.get_running_loop().time() - due_at)
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                reader = await self._exchange(request)
        except TimeoutError:
            self.tally.errors["timeout"] += 1
        except (OSError, EOFError) as error:
            self.tally.errors[type(error).__name__] += 1
        except httptools.HttpParserError:
            self.tally.errors["garbage"] += 1
        else:
            self.tally.latencies.append(asyncio.get_running_loop().time() - due_at)
            self._judge(reader)
        finally:
            self._slots.release()
            self._progress()

    async def _exchange(self, request: Recorded) -> Reader:
        streams = self._idle.pop() if self._idle else await asyncio.open_connection(*self._address)
        whole = False
        try:
            streams[1].write(self._serialise(request))
            answer = Reader()
            while not answer.done:
                data = await streams[0].read(1 << 16)
                if not data:
                    raise EOFError
                answer.feed(data)
            whole = answer.keep_alive
            return answer
        finally:
            if whole:
                self._idle.append(streams)
            else:
                streams[1].close()

    def _serialise(self, request: Recorded) -> bytes:
        user = quote_from_bytes(request.user_id.encode(), safe="")
        lines = (
            f"GET /recommend?user_id={user}&k={request.k} HTTP/1.1",
            f"Host: {self._authority}",
            "User-Agent: understudy-replay",
            f"X-Request-Id: {uuid.uuid4().hex}",
            f"X-Understudy-Event-Time: {request.event_time_us}",
        )
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def _judge(self, answer: Reader) -> None:
        self.tally.statuses[str(answer.status)] += 1
        if answer.status != 200:
            return
        try:
            body = msgspec.json.decode(answer.body, type=_Body)
        except msgspec.DecodeError:
            self.tally.errors["unreadable body"] += 1
            return
        self.tally.empty += not body.items
        self.tally.sources[body.source or "unnamed"] += 1
