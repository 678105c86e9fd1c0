"""How long a change takes, from the word of whoever has the say to the last copy that an arm gets; printed with -s.

The word is a new generation of the server, a file and SIGHUP, PUT, or an abort: by the port, and by the command. Eight
users ask without a pause on one connection each, all the time. What router and test had to wait for a CPU during a
change is no time of the router's: it is told apart (Linux tells it; elsewhere nothing is taken off).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import statistics
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from shadow.processes import Running, Stage, answers
from shadow.rehearsal import HOST, command
from tests.ports import free_port
from tests.shadow.router import harness
from tests.shadow.router.config_server import ConfigServer
from tests.shadow.router.test_process import SECRETS, configuration, understudy

CHANGES = 15
COMMANDS = 5
USERS = 8
IN_FORCE_SECONDS = 1.0
ABORT_SECONDS = 2.0
QUIET_SECONDS = 2.0
"""After the last copy so long none must follow."""


class Took(NamedTuple):
    """How long a change took, and what of it router and test waited, ready to run, for a CPU."""

    seconds: float
    waited: float


def waited_for_a_cpu(*processes: int) -> float:
    """Seconds since their beginning that these processes were ready to run and had no CPU; 0 where nothing tells."""
    found = 0
    for path in (path for each in processes for path in Path(f"/proc/{each}/task").glob("*/schedstat")):
        with contextlib.suppress(OSError):  # that thread has just ended
            found += int(path.read_bytes().split()[1])
    return found / 1e9


@dataclass
class Load:
    """A router under load, and what its arm got."""

    port: int
    config: Callable[[float], dict[str, Any]]
    """With that share of the users."""
    router: Running
    file: Path
    copied: list[float]
    """When, on the monotonic clock."""
    waited: list[float]
    """What router and test had waited for a CPU by then."""
    failed: list[str] = field(default_factory=list)
    connections: int = 0

    async def user(self, ended: asyncio.Event) -> None:
        """One user; whoever loses a connection, or gets anything but 200, says so."""
        reader, writer = await asyncio.open_connection(HOST, self.port)
        self.connections += 1
        try:
            while not ended.is_set():
                writer.write(harness.request("/recommend?user_id=1"))
                status, headers, _ = await harness.read_answer(reader)
                if status != 200 or headers.get("connection") == "close":
                    self.failed.append(f"{status} {headers}")
        except (OSError, asyncio.IncompleteReadError) as error:
            self.failed.append(repr(error))
        writer.close()

    async def last_copy(self, act: Callable[[], Awaitable[Any]]) -> Took:
        """Do it; from its beginning until the last copy."""
        began, waited = time.monotonic(), self.waits()
        await act()
        while time.monotonic() - max(self.copied[-1], began) < QUIET_SECONDS:
            await asyncio.sleep(0.05)
        return Took(max(0.0, self.copied[-1] - began), max(0.0, self.waited[-1] - waited))

    async def first_copy(self, act: Callable[[], Awaitable[Any]]) -> Took:
        """Do it; from its beginning until the arm gets copies again."""
        began, waited, before = time.monotonic(), self.waits(), len(self.copied)
        await act()
        await harness.until(lambda: len(self.copied) > before)
        return Took(self.copied[before] - began, self.waited[before] - waited)

    def waits(self) -> float:
        """What router and test have waited for a CPU."""
        return waited_for_a_cpu(self.router.process.pid, os.getpid())


@asynccontextmanager
async def loaded(directory: Path, server: ConfigServer | None) -> AsyncIterator[Load]:
    """A router whose configuration is a file, or that `server` gives."""
    primary, shadow, collector = harness.Upstream(harness.echo), harness.Upstream(harness.echo), harness.Collector()
    copied, waited, routers = [0.0], [0.0], list[int]()

    async def arm(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        copied.append(time.monotonic())
        waited.append(waited_for_a_cpu(*routers, os.getpid()))
        return await harness.echo(head, reader, writer)

    shadow.answer = arm
    await primary.start()
    await shadow.start()
    port, file = free_port((0, 1)), directory / "router.json"
    with tempfile.TemporaryDirectory(dir="/tmp") as sockets, Stage(directory / "logs", os.environ | SECRETS) as stage:
        path = Path(sockets) / "shipper.sock"
        listener = await asyncio.start_unix_server(collector.serve, str(path))

        def config(fraction: float) -> dict[str, Any]:
            document = configuration(port, path, primary.port, shadow.port)
            document["arms"][0]["fraction"] = fraction
            return document

        file.write_bytes(msgspec.json.encode(config(1.0)))
        source: tuple[Any, ...] = ("--config", file)
        if server is not None:
            server.give(config(1.0))
            source = ("--config-server", server.url, "--name", "r", "--admin", f"{HOST}:{port + 1}")
        line = command("router", *source, "--state", directory)
        ready = f"http://{HOST}:{port + 1}/readyz"
        router = await asyncio.to_thread(stage.start, "router", line, lambda: answers(ready))
        routers.append(router.process.pid)
        load, ended = Load(port, config, router, file, copied, waited), asyncio.Event()
        users = [asyncio.create_task(load.user(ended)) for _ in range(USERS)]
        await harness.until(lambda: len(copied) > USERS)
        try:
            yield load
        finally:
            ended.set()
            await asyncio.gather(*users)
        assert (await understudy(port, "drain"))[0] == 0
        listener.close()
    for each in (primary, shadow):
        await each.stop()
    print(f"{len(primary.heads):,} requests, {len(copied):,} copies, {load.connections} connections: {load.failed}")
    assert (load.failed, load.connections) == ([], USERS)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_servers_change_is_in_force_within_a_second_and_no_copy_follows_an_abort_by_two(
    tmp_path: Path,
) -> None:
    server = ConfigServer()
    await server.start()
    ends, begins, aborts, by_command = list[Took](), list[Took](), list[Took](), list[Took]()
    async with loaded(tmp_path, server) as load:

        async def give(fraction: float) -> None:
            server.give(load.config(fraction))

        for _ in range(CHANGES):
            ends.append(await load.last_copy(lambda: give(0.0)))
            begins.append(await load.first_copy(lambda: give(1.0)))
            aborts.append(await load.last_copy(lambda: asyncio.to_thread(admin, load.port, "POST", "/abort")))
            await load.first_copy(lambda: asyncio.to_thread(admin, load.port, "POST", "/resume"))
        for _ in range(COMMANDS):
            by_command.append(await load.last_copy(lambda: understudy(load.port, "abort")))
            await load.first_copy(lambda: understudy(load.port, "resume"))
    await server.stop()
    tell(IN_FORCE_SECONDS, generation_to_last_copy=ends, generation_to_first_copy=begins)
    tell(ABORT_SECONDS, abort_to_last_copy=aborts, command_to_last_copy=by_command)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_file_with_sighup_and_a_put_are_in_force_within_a_second(tmp_path: Path) -> None:
    ends, begins, put_ends, put_begins = list[Took](), list[Took](), list[Took](), list[Took]()
    async with loaded(tmp_path, None) as load:

        async def hang_up(fraction: float) -> None:
            load.file.write_bytes(msgspec.json.encode(load.config(fraction)))
            load.router.process.send_signal(signal.SIGHUP)

        def put(fraction: float) -> None:
            admin(load.port, "PUT", "/config", msgspec.json.encode(load.config(fraction)))

        for _ in range(CHANGES):
            ends.append(await load.last_copy(lambda: hang_up(0.0)))
            begins.append(await load.first_copy(lambda: hang_up(1.0)))
            put_ends.append(await load.last_copy(lambda: asyncio.to_thread(put, 0.0)))
            put_begins.append(await load.first_copy(lambda: asyncio.to_thread(put, 1.0)))
    tell(
        IN_FORCE_SECONDS,
        sighup_to_last_copy=ends,
        sighup_to_first_copy=begins,
        put_to_last_copy=put_ends,
        put_to_first_copy=put_begins,
    )


def tell(bound: float, **times: list[Took]) -> None:
    """Print median and longest of each; each keeps the bound, less what was waited for a CPU at that very change."""
    for what, found in times.items():
        middle, longest = statistics.median(took.seconds for took in found), max(found)
        print(f"{what}: {middle:.3f} s (median), {longest.seconds:.3f} s (longest of {len(found)}), ", end="")
        print(f"of which {longest.waited:.3f} s without a CPU")
    late = {what: [took for took in found if took.seconds - took.waited > bound] for what, found in times.items()}
    assert not any(late.values()), f"longer than {bound} s: {late}"


def admin(port: int, method: str, path: str, body: bytes = b"") -> Any:
    """Ask the admin port, with the token."""
    headers = {"authorization": f"Bearer {SECRETS['UNDERSTUDY_ADMIN_TOKEN']}", "if-match": "*"}
    request = urllib.request.Request(f"http://{HOST}:{port + 1}{path}", body, headers, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)
