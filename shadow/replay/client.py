"""The replay's own HTTP client: a bounded number of keep-alive connections, a deadline per request, no retries.

httpx costs milliseconds of CPU a request (research note shadow §5), which on a laptop would be taken from the services
that are measured. Next module: `shadow.replay.progress`.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

import httptools
import msgspec

from shadow.replay.requests import Recorded
from shadow.replay.tally import Tally

DEADLINE_SECONDS: Final = 10.0
"""From the moment a request is sent until its answer is whole."""
Look = Callable[[Recorded, int, bytes], None]
"""Sees each answer: the request, its status and its body."""


class _Body(msgspec.Struct):
    items: list[Any]
    source: str = ""


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
    """One replay against `host`:`port`. `progress` is called as each request ends, `look` sees each answer."""

    def __init__(
        self, host: str, port: int, connections: int, progress: Callable[[], None], look: Look | None = None
    ) -> None:
        self._address = (host, port)
        self._authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._slots = asyncio.Semaphore(connections)
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._progress, self._look = progress, look
        self._under_way: set[asyncio.Task[None]] = set()
        self.tally = Tally()

    async def play(
        self, requests: Sequence[Recorded], due: Sequence[float], most: float, signals: Sequence[int]
    ) -> int:
        """Send every request when it is due, for at most `most` seconds; 0, or the signal that ended it.

        A signal ends the sending; what is under way still gets its answer, within the deadline, so that the counts add
        up.
        """
        loop = asyncio.get_running_loop()
        stopped: list[int] = []
        started, sent = loop.time(), self.tally.sent
        sender = loop.create_task(self._send_all(requests, due, started))

        def stop(number: int) -> None:
            stopped.append(number)
            sender.cancel()

        for number in signals:
            loop.add_signal_handler(number, stop, number)
        try:
            await asyncio.wait_for(sender, most)
        except TimeoutError:
            self.tally.errors["replay ran out of time"] += len(requests) - (self.tally.sent - sent)
        except asyncio.CancelledError:
            if not stopped:
                raise
        finally:
            await self._end()
            self.tally.seconds += loop.time() - started
        return stopped[0] if stopped else 0

    async def _send_all(self, requests: Sequence[Recorded], due: Sequence[float], started: float) -> None:
        loop = asyncio.get_running_loop()
        for request, offset in zip(requests, due, strict=True):
            if (early := started + offset - loop.time()) > 0:
                await asyncio.sleep(early)
            # Waiting here, not in the task, bounds the tasks; the latency counts from `offset` all the same.
            await self._slots.acquire()
            task = loop.create_task(self._one(request, started + offset))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        # Not gather: a signal that ends this wait must not end what is waited for.
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _end(self) -> None:
        """Let what is under way end, each by its deadline, and close what is open."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        for _, writer in self._idle:
            writer.close()

    async def _one(self, request: Recorded, due_at: float) -> None:
        loop = asyncio.get_running_loop()
        self.tally.sent += 1
        self.tally.events += request.is_event
        self.tally.late.append(loop.time() - due_at)
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
            if not request.is_event:
                self.tally.latencies.append(loop.time() - due_at)
            self._judge(request, reader)
        finally:
            self._slots.release()
            self._progress()

    async def _exchange(self, request: Recorded) -> Reader:
        streams = await self._connection()
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

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """One that waits, unless its server has closed it meanwhile, or a new one."""
        while self._idle:
            reader, writer = self._idle.pop()
            if not (reader.at_eof() or writer.is_closing()):
                return reader, writer
            writer.close()
        return await asyncio.open_connection(*self._address)

    def _serialise(self, request: Recorded) -> bytes:
        method, target, body = request.parts()
        lines = [
            f"{method} {target} HTTP/1.1",
            f"Host: {self._authority}",
            "User-Agent: understudy-replay",
            f"X-Request-Id: {request.request_id or uuid.uuid4().hex}",
            f"X-Understudy-Event-Time: {request.event_time_us}",
        ]
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body

    def _judge(self, request: Recorded, answer: Reader) -> None:
        self.tally.statuses[str(answer.status)] += 1
        if self._look is not None:
            self._look(request, answer.status, answer.body)
        # What a target of someone else's answers is theirs: only our own requests are known to be for lists.
        if answer.status != 200 or request.is_event or (request.target and not request.target.startswith("/recommend")):
            return
        try:
            body = msgspec.json.decode(answer.body, type=_Body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self.tally.errors["unreadable body"] += 1
            return
        self.tally.empty += not body.items
        self.tally.sources[body.source or "unnamed"] += 1
