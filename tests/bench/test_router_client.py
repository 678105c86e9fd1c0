"""The open loop of the router's bench: what it counts, and from when."""

from __future__ import annotations

import asyncio
import select
from typing import Any

import pytest

from tests.bench.router_client import CONNECTIONS, OpenLoop
from tests.bench.router_redis import answer

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="Linux only, as the bench is")
PRIMARY = answer("hybrid-v3")


class Server(asyncio.Protocol):
    """Answers each request with `parts`, one after the other as they come due; None closes."""

    def __init__(self, parts: list[tuple[float, bytes | None]]) -> None:
        self._parts = parts

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        assert data.endswith(b"\r\n\r\n")
        for after, part in self._parts:
            asyncio.get_running_loop().call_later(after, self._do, part)

    def _do(self, part: bytes | None) -> None:
        if part is None:
            self._transport.close()
        else:
            self._transport.write(part)


async def played(
    *parts: tuple[float, bytes | None], rate: float = 200, seconds: float = 0.25, deadline: float = 5
) -> dict[str, Any]:
    server = await asyncio.get_running_loop().create_server(lambda: Server(list(parts)), "127.0.0.1", 0)
    async with server:
        loop = OpenLoop(server.sockets[0].getsockname()[1], rate, seconds, b"hybrid-v3", deadline)
        await asyncio.to_thread(loop.run)
        loop.close()
    return loop.document()


async def test_every_request_is_answered_over_few_connections() -> None:
    found = await played((0, PRIMARY))
    assert (found["sent"], found["answered"], found["errors"]) == (50, 50, {})
    assert found["connections"] <= 50
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["max"]


async def test_an_answer_in_pieces_is_one_answer() -> None:
    found = await played((0, PRIMARY[:10]), (0.01, PRIMARY[10:100]), (0.02, PRIMARY[100:]))
    assert (found["answered"], found["errors"]) == (50, {})
    assert found["latency_ms"]["p50"] >= 19


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ([(0, PRIMARY.replace(b"200 OK", b"502 Bad Gateway"))], "status 502"),
        ([(0, answer("hybrid-v4"))], "not the primary's answer"),
        ([(0, PRIMARY + b"x")], "more than an answer"),
        ([(0, b"HTTP/1.1 200 OK\r\n\r\n")], "an answer without a length"),
        ([(0, PRIMARY[:-1]), (0, None)], "closed"),
    ],
)
async def test_what_is_no_answer_of_the_primarys_is_an_error_of_its_kind(
    parts: list[tuple[float, bytes | None]], kind: str
) -> None:
    found = await played(*parts)
    assert (found["answered"], found["errors"]) == (0, {kind: 50})


async def test_a_silent_server_is_a_timeout_for_each_request() -> None:
    found = await played(deadline=0.1)
    assert (found["answered"], found["errors"]) == (0, {"timeout": 50})


async def test_requests_that_had_to_wait_for_a_connection_are_counted_too() -> None:
    found = await played(rate=4_000, seconds=0.1, deadline=0.3)
    assert found["answered"] == 0
    assert sum(found["errors"].values()) == 400 > CONNECTIONS


async def test_a_port_where_nobody_listens_is_refused() -> None:
    server = await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    loop = OpenLoop(port, 200, 0.25, b"")
    await asyncio.to_thread(loop.run)
    loop.close()
    assert loop.document()["errors"] == {"refused": 50}


async def test_latency_counts_from_when_a_request_was_due() -> None:
    """Answers take 0.1 s and 256 connections carry 2,560 a second: at 4,000 the wait for a connection is in it."""
    found = await played((0.1, PRIMARY), rate=4_000, seconds=0.5)
    assert found["answered"] == 2_000
    assert found["latency_ms"]["max"] > 250
    assert found["late_ms"]["max"] > 150
