"""The router as a process that is told to stop while copies are under way."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from shadow.processes import Running, Stage, answers
from shadow.rehearsal import HOST, command
from tests.ports import free_port
from tests.shadow.router import harness

REQUESTS = 24
CONCURRENCY = 16
"""Copies under way at once; the others wait in the queue when SIGTERM comes."""


def configuration(port: int, shipper: Path, primary: int, shadow: int) -> dict[str, Any]:
    arm = {"url": f"http://{HOST}:{shadow}", "version": "challenger:2", "deadline_ms": 8_000}
    return {
        "experiment": "stopped",
        "listen": f"{HOST}:{port}",
        "admin": f"{HOST}:{port + 1}",
        "shipper": str(shipper),
        "primary": {"url": f"http://{HOST}:{primary}", "version": "champion:1"},
        "arms": [arm | {"name": "shadow", "concurrency": CONCURRENCY}],
        "routes": [{"method": "GET", "path": "/recommend"}],
        "unit_parameter": "user_id",
        "drain_seconds": 8,
    }


@asynccontextmanager
async def router_process(
    directory: Path, primary: harness.Upstream, shadow: harness.Upstream, collector: harness.Collector
) -> AsyncIterator[tuple[Running, int]]:
    """A router as a process of its own, with its port; `collector` is its shipper."""
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as sockets,
        Stage(directory / "logs", os.environ | {"UNDERSTUDY_UNIT_KEY": "a key for tests only, 32 bytes.."}) as stage,
    ):
        path = Path(sockets) / "shipper.sock"
        listener = await asyncio.start_unix_server(collector.serve, str(path))
        port = free_port((0, 1))
        config = directory / "router.json"
        config.write_bytes(msgspec.json.encode(configuration(port, path, primary.port, shadow.port)))
        ready = f"http://{HOST}:{port + 1}/readyz"
        router = await asyncio.to_thread(
            stage.start, "router", command("router", "--config", config), lambda: answers(ready)
        )
        yield router, port
        listener.close()


async def test_sigterm_lets_the_copies_under_way_and_in_the_queue_end_and_logs_them(tmp_path: Path) -> None:
    released, asked = asyncio.Event(), asyncio.Semaphore(0)

    async def held(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        asked.release()
        await released.wait()
        return await harness.echo(head, reader, writer)

    primary, shadow, collector = harness.Upstream(harness.echo), harness.Upstream(held), harness.Collector()
    await primary.start()
    await shadow.start()
    async with router_process(tmp_path, primary, shadow, collector) as (router, port), asyncio.timeout(20):
        for number in range(REQUESTS):
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(harness.request(f"/recommend?user_id={number}"))
            status, _, _ = await harness.read_answer(reader)
            assert status == 200
            writer.close()
            if number < CONCURRENCY:
                await asked.acquire()
        router.process.terminate()
        await closed(port)
        assert router.process.poll() is None, router.tail()
        released.set()
        assert await asyncio.to_thread(router.process.wait, 10) == 0
        await collector.ended.wait()
    for upstream in (primary, shadow):
        await upstream.stop()
    assert [record["outcome"] for record in collector.records] == ["paired"] * REQUESTS
    assert collector.frames[-1]["record"] == "goodbye"
    assert collector.frames[-1]["records"] == REQUESTS


async def closed(port: int) -> None:
    """Until nobody accepts at `port` any more."""
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except ConnectionRefusedError:
            return
        writer.close()
        await asyncio.sleep(0.01)
