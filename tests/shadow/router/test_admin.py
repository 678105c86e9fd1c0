"""The admin port: counters, metrics, liveness, readiness, and nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from shadow.router import admin as module
from shadow.router.admin import Admin
from shadow.router.counters import Counters
from tests.shadow.router.harness import read_answer

LOG = {"numbered": 0, "written": 0, "dropped": 0, "queued_bytes": 0, "stopped": 0}


@asynccontextmanager
async def listening(ready: list[bool]) -> AsyncIterator[int]:
    counters = Counters.of(["shadow"])
    server = await Admin(
        lambda: {"experiment": "test", **counters.document(), "pair_log": LOG}, lambda: ready[0]
    ).start("127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def ask(port: int, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    try:
        return await read_answer(reader)
    finally:
        writer.close()
        await writer.wait_closed()


async def get(port: int, path: str) -> tuple[int, dict[str, str], bytes]:
    return await ask(port, f"GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n".encode())


async def test_counters_are_json_and_metrics_are_prometheus() -> None:
    async with listening([True]) as port:
        status, headers, body = await get(port, "/counters")
        document: dict[str, Any] = json.loads(body)
        assert (status, headers["content-type"]) == (200, "application/json")
        assert document["arms"]["shadow"]["balance"] == 0
        assert set(document["arms"]["shadow"]["outcomes"]) >= {"paired", "arm_timeout", "dropped:queue_full"}
        status, _, body = await get(port, "/metrics")
        assert status == 200
        assert b'understudy_requests_total{arm="shadow",place="received"} 0.0' in body


async def test_readiness_ends_with_the_drain_and_liveness_does_not() -> None:
    ready = [True]
    async with listening(ready) as port:
        assert (await get(port, "/readyz"))[0] == 200
        ready[0] = False
        assert (await get(port, "/readyz"))[0] == 503
        assert (await get(port, "/livez"))[0] == 200


async def test_other_paths_and_methods_are_refused() -> None:
    async with listening([True]) as port:
        assert (await get(port, "/"))[0] == 404
        assert (await ask(port, b"POST /counters HTTP/1.1\r\nHost: admin\r\n\r\n"))[0] == 405


async def test_one_who_asks_nothing_or_too_much_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.05)
    async with listening([True]) as port:
        for raw in (b"", b"GET /" + b"x" * 20_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(raw)
            with suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()
