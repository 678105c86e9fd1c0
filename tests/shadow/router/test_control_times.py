"""How long a change takes, from the server's word or the abort's to the last copy that an arm gets; printed with -s."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from shadow.processes import Stage, answers
from shadow.rehearsal import HOST, command
from tests.ports import free_port
from tests.shadow.router import harness
from tests.shadow.router.config_server import ConfigServer
from tests.shadow.router.test_process import SECRETS, configuration, understudy

CHANGES = 15
USERS = 8
IN_FORCE_SECONDS = 1.0
ABORT_SECONDS = 2.0


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_change_is_in_force_within_a_second_and_no_copy_follows_an_abort_by_two(tmp_path: Path) -> None:
    primary, shadow, server = harness.Upstream(harness.echo), harness.Upstream(harness.echo), ConfigServer()
    collector, copied, failed = harness.Collector(), [0.0], []

    async def arm(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        copied.append(time.monotonic())
        return await harness.echo(head, reader, writer)

    shadow.answer = arm
    for each in (primary, shadow, server):
        await each.start()
    port = free_port((0, 1))
    admin = f"{HOST}:{port + 1}"
    line = command(
        "router", "--config-server", server.url, "--name", "r", "--admin", admin, "--state", tmp_path
    )  # fmt: skip
    ended = asyncio.Event()

    async def user() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        while not ended.is_set():
            writer.write(harness.request("/recommend?user_id=1"))
            status, _, _ = await harness.read_answer(reader)
            if status != 200:
                failed.append(status)
        writer.close()

    def config(fraction: float) -> dict[str, Any]:
        document = configuration(port, path, primary.port, shadow.port)
        document["arms"][0]["fraction"] = fraction
        return document

    with (
        tempfile.TemporaryDirectory(dir="/tmp") as sockets,
        Stage(tmp_path / "logs", os.environ | SECRETS) as stage,
    ):
        path = Path(sockets) / "shipper.sock"
        listener = await asyncio.start_unix_server(collector.serve, str(path))
        server.give(config(1.0))
        await asyncio.to_thread(stage.start, "router", line, lambda: answers(f"http://{admin}/readyz"))
        users = [asyncio.create_task(user()) for _ in range(USERS)]
        changes, aborts = [], []
        for _ in range(CHANGES):
            changes.append(await last_copy(copied, lambda: server.give(config(0.0))))
            server.give(config(1.0))
            await harness.until(lambda: time.monotonic() - copied[-1] < 0.05)
            aborts.append(await last_copy(copied, lambda: asyncio.to_thread(post, admin, "/abort")))
            await asyncio.to_thread(post, admin, "/resume")
            await harness.until(lambda: time.monotonic() - copied[-1] < 0.05)
        ended.set()
        await asyncio.gather(*users)
        assert (await understudy(port, "drain"))[0] == 0
        listener.close()
    for each in (primary, shadow, server):
        await each.stop()
    for name, seconds in (("a new share of 0", changes), ("an abort", aborts)):
        ranked = sorted(seconds)
        print(f"{name}: last copy after {ranked[len(ranked) // 2]:.3f} s (median), {ranked[-1]:.3f} s (longest)")
    print(f"{len(primary.heads):,} requests, {len(copied):,} copies, {len(failed)} users with an error")
    assert failed == []
    assert max(changes) <= IN_FORCE_SECONDS
    assert max(aborts) <= ABORT_SECONDS


async def last_copy(copied: list[float], act: Any) -> float:
    """Do it, and the seconds until the last copy after which none came for two more."""
    began = time.monotonic()
    done = act()
    if asyncio.iscoroutine(done):
        await done
    while time.monotonic() - max(copied[-1], began) < 2.0:
        await asyncio.sleep(0.05)
    return max(0.0, copied[-1] - began)


def post(admin: str, path: str) -> None:
    """Ask the admin port, with the token."""
    headers = {"authorization": f"Bearer {SECRETS['UNDERSTUDY_ADMIN_TOKEN']}"}
    with urllib.request.urlopen(urllib.request.Request(f"http://{admin}{path}", b"", headers), timeout=30):
        pass
