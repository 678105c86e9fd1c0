"""A shadow that is ill on command: what a proxy sees of each fault."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.bench.router_fault_server import NoNames, Shadow
from tests.bench.router_ill import BLACKOUT, FAULTS, GARBAGE, REACTIONS
from tests.bench.router_redis import answer
from tests.ports import free_port

REQUEST = b"GET /recommend?user_id=1 HTTP/1.1\r\nHost: reco\r\n\r\n"
WELL = answer("hybrid-v4")
NOTHING_SECONDS = 0.2
"""So long without a byte is nothing."""


@asynccontextmanager
async def asked(fault: str, before: str = "none") -> AsyncIterator[tuple[Shadow, asyncio.StreamReader]]:
    """A shadow, and a connection from its better days that has asked once."""
    port = free_port()
    shadow = Shadow(port, None)
    await shadow.be(before)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    assert await reader.readexactly(len(WELL)) == WELL
    await shadow.be(fault)
    writer.write(REQUEST)
    try:
        yield shadow, reader
    finally:
        writer.transport.abort()
        await shadow.close()


async def all_of(reader: asyncio.StreamReader) -> bytes:
    """What comes until the end, or until nothing comes."""
    found = b""
    try:
        while data := await asyncio.wait_for(reader.read(1 << 16), NOTHING_SECONDS):
            found += data
    except TimeoutError:
        pass
    return found


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("none", WELL),
        ("slow-0.5", b""),
        ("slow-5", b""),
        ("slow-30", b""),
        ("never-reads", b""),
        (BLACKOUT, b""),
        ("dns", WELL),
        ("5xx", b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
        ("garbage", GARBAGE),
    ],
)
async def test_what_comes_on_a_connection_that_stays(fault: str, seen: bytes) -> None:
    async with asked(fault) as (shadow, reader):
        assert await all_of(reader) == seen
        assert not reader.at_eof()
        assert shadow.seen()["connections"] == 1


async def test_a_slow_answer_comes_at_its_time() -> None:
    async with asked("slow-0.5") as (_, reader):
        started = asyncio.get_running_loop().time()
        assert await reader.readexactly(len(WELL)) == WELL
        assert asyncio.get_running_loop().time() - started > 0.45


@pytest.mark.parametrize("fault", ["reset", "refused", "restarts"])
async def test_a_connection_is_reset(fault: str) -> None:
    async with asked(fault) as (_, reader):
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.readexactly(len(WELL) + 1), 2)


async def test_a_refusing_shadow_refuses_new_connections_until_it_is_well() -> None:
    async with asked("refused") as (shadow, _):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", shadow.port)
        await shadow.be("none")
        _, writer = await asyncio.open_connection("127.0.0.1", shadow.port)
        writer.close()


async def test_in_a_blackout_no_connection_is_made() -> None:
    async def connects(port: int) -> asyncio.StreamWriter | None:
        try:
            return (await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), NOTHING_SECONDS))[1]
        except TimeoutError:
            return None

    async with asked(BLACKOUT) as (shadow, _):
        made = [await connects(shadow.port) for _ in range(4)]
        # The kernel accepts the first ones itself; nobody takes them from it.
        assert made[-2:] == [None, None]
        for writer in made:
            if writer is not None:
                writer.transport.abort()


async def test_an_endless_body_has_no_end() -> None:
    async with asked("endless") as (_, reader):
        assert len(await reader.readexactly(1 << 24)) == 1 << 24


async def test_a_dripping_body_comes_byte_by_byte() -> None:
    async with asked("drip") as (_, reader):
        assert re.fullmatch(rb"HTTP/1.1 200 OK\r\n.*\r\n\r\n ", await all_of(reader), re.DOTALL)
        assert await asyncio.wait_for(reader.read(10), 2) == b" "


async def test_a_flood_needs_a_connection_for_each_answer() -> None:
    async with asked("flood") as (_, reader):
        found = await asyncio.wait_for(reader.read(-1), 2)
        assert b"\r\nConnection: close\r\n" in found
        assert reader.at_eof()


async def test_a_fault_that_is_none_is_told() -> None:
    shadow = Shadow(free_port(), None)
    with pytest.raises(ValueError, match="no fault is called 'tired'"):
        await shadow.be("tired")


def test_every_fault_has_its_reaction_or_is_of_the_server() -> None:
    assert {*FAULTS, BLACKOUT} - set(REACTIONS) == {"none", "refused", "dns", "restarts"}


def test_the_name_server_knows_no_name() -> None:
    class Transport:
        sent: bytes = b""

        def sendto(self, data: bytes, addr: tuple[str, int]) -> None:
            self.sent = data

    server, transport = NoNames(), Transport()
    server.connection_made(transport)  # type: ignore[arg-type]
    question = b"\x06shadow\x07invalid\x00\x00\x01\x00\x01"
    server.datagram_received(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + question, ("127.0.0.1", 1))
    # The same id and question; an answer (QR) that no such name is there (RCODE 3), with no records.
    assert transport.sent == b"\x12\x34\x81\x83\x00\x01\x00\x00\x00\x00\x00\x00" + question
