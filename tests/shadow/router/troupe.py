"""A real router and a real shipper as processes, users who never stop asking, and kill −9 for either at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from shadow.accounting import RouterCounts
from shadow.processes import Running, Stage, answers
from shadow.rehearsal import HOST, command
from tests.ports import free_port
from tests.shadow.router import harness
from tests.shadow.router.test_process import configuration

USERS: Final = 4
PAUSE_SECONDS: Final = 0.004
"""Between a user's answer and its next question: some hundreds of questions a second in all."""


@dataclass
class Life:
    """One router process, from the users' side."""

    number: int
    asked: set[str] = field(default_factory=set)
    answered: dict[str, float] = field(default_factory=dict)
    """When, on the monotonic clock, by request id."""
    failed: list[float] = field(default_factory=list)
    """Questions that got no answer, or none with 200."""
    died: float = 0.0
    """When it was killed or told to stop."""
    orderly: bool = False
    """It was told to stop, and said goodbye."""


@dataclass
class Troupe:
    """The processes, and what the users saw of each router."""

    stage: Stage
    directory: Path
    sockets: Path
    port: int
    shipping: tuple[str, ...]
    """The shipper's options."""
    file_limit: str = "unlimited"
    lives: list[Life] = field(default_factory=list)
    kills: list[float] = field(default_factory=list)
    lateness: list[tuple[float, float]] = field(default_factory=list)
    """(when, seconds) that a sleeper of this process woke too late: what this machine's scheduler adds to deadlines."""
    users: list[asyncio.Task[None]] = field(default_factory=list)
    _resting: bool = False

    @property
    def spool(self) -> Path:
        return self.directory / "spool"

    async def start_router(self) -> None:
        config = self.directory / "router.json"
        ready = f"http://{HOST}:{self.port + 1}/readyz"
        self.lives.append(Life(len(self.lives)))
        await self._start("router", command("router", "--config", config), ready)

    async def start_shipper(self) -> None:
        where = ("--socket", self.sockets / "s", "--spool", self.spool, *self.shipping)
        limited = ("bash", "-c", f'ulimit -f {self.file_limit} && exec "$@"', "-")
        await self._start("shipper", [*limited, *command("shipper", *where)], "")

    async def _start(self, name: str, line: Sequence[str | Path], url: str) -> None:
        """A router is waited for until it is ready; a shipper is not: a kill may come at any moment."""
        ready = (lambda: answers(url)) if url else (lambda: True)
        await asyncio.to_thread(self.stage.start, name, [str(word) for word in line], ready)

    async def kill(self, name: str) -> float:
        """kill −9; when."""
        running = self._named(name)
        self.stage.running.remove(running)
        if name == "router":
            self.lives[-1].died = time.monotonic()
        running.process.kill()
        await asyncio.to_thread(running.process.wait)
        self.kills.append(time.monotonic())
        return self.kills[-1]

    async def stop(self, name: str) -> int:
        """SIGTERM and an orderly end; the exit code."""
        if name == "router":
            self.lives[-1].died = time.monotonic()
        return await asyncio.to_thread(self.stage.stop, name)

    async def counts(self) -> RouterCounts:
        """The living router's counters."""
        reader, writer = await asyncio.open_connection(HOST, self.port + 1)
        writer.write(b"GET /counters HTTP/1.1\r\nhost: here\r\n\r\n")
        body = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()
        return msgspec.json.decode(body, type=RouterCounts)

    def _named(self, name: str) -> Running:
        return next(each for each in self.stage.running if each.name == name)

    # --- the users ---------------------------------------------------------------------------------------------------

    async def ask_for_ever(self, user: int) -> None:
        """One user: a question, its answer, the next; whoever answers."""
        number = 0
        while not self._resting:
            life = self.lives[-1]
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(HOST, self.port)
                try:
                    # Between the two lives it is nobody's connection.
                    while life is self.lives[-1] and not self._resting:
                        number += 1
                        await self._ask(life, f"{life.number}-{user}-{number}", reader, writer)
                        await asyncio.sleep(PAUSE_SECONDS)
                finally:
                    writer.close()
            await asyncio.sleep(0.02)

    async def _ask(self, life: Life, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        life.asked.add(name)
        try:
            user = "u" + name.partition("-")[2]  # not the id itself, which would be masked in the log
            writer.write(harness.request(f"/recommend?user_id={user}", f"x-request-id: {name}\r\n"))
            status, headers, _ = await harness.read_answer(reader)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            life.failed.append(time.monotonic())
            raise OSError("the router is gone") from None
        if status == 200:
            life.answered[name] = time.monotonic()
        else:
            life.failed.append(time.monotonic())
        if headers.get("connection") == "close":
            raise OSError("the router ends the connection")

    async def watch_the_clock(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.05)
            late = time.monotonic() - before - 0.05
            if late > 0.01:
                self.lateness.append((before, late))

    def late(self, moment: float) -> float:
        """How much the scheduler held back in the seconds around `moment`, in all."""
        return sum(late for when, late in self.lateness if moment - 2.5 <= when + late and when <= moment + 0.5)

    async def connected(self) -> None:
        """Until the living router has handed on records of now: a shipper is there, and nothing old waits."""
        before = (await self.counts()).pair_log.written
        async with asyncio.timeout(60):
            while (log := (await self.counts()).pair_log).queued_bytes or log.written == before:
                await asyncio.sleep(0.02)

    async def rest(self) -> None:
        """The users ask no more; until the living router has decided all, and the shipper taken the records."""
        self._resting = True
        await asyncio.gather(*self.users)
        async with asyncio.timeout(60):
            while not (await self.counts()).settled:
                await asyncio.sleep(0.02)


@asynccontextmanager
async def troupe(
    directory: Path,
    *shipping: str,
    file_limit: str = "unlimited",
    python_path: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Troupe]:
    """A router and a shipper at work, with users who ask from now on. `shipping` are the shipper's options;
    `python_path` is searched first by both, and both have `environment` besides."""
    upstream = harness.Upstream(harness.echo)
    await upstream.start()
    both = os.environ | {"UNDERSTUDY_UNIT_KEY": "a key for tests only, 32 bytes.."} | dict(environment or {})
    if python_path is not None:
        both["PYTHONPATH"] = os.pathsep.join(filter(None, [str(python_path), os.environ.get("PYTHONPATH", "")]))
    with tempfile.TemporaryDirectory(dir="/tmp") as sockets, Stage(directory / "logs", both) as stage:
        play = Troupe(stage, directory, Path(sockets), free_port((0, 1)), shipping, file_limit)
        config = configuration(play.port, play.sockets / "s", upstream.port, upstream.port)
        (directory / "router.json").write_bytes(msgspec.json.encode(config | {"experiment": "troubled"}))
        await play.start_shipper()
        await play.start_router()
        play.users = [asyncio.create_task(play.ask_for_ever(user)) for user in range(USERS)]
        tasks = [*play.users, asyncio.create_task(play.watch_the_clock())]
        try:
            yield play
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(lambda: [stage.stop(each.name) for each in list(stage.running)])
            await upstream.stop()
