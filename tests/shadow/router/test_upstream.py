"""One exchange with an upstream: reuse, one retry, and no byte that could reach another request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from shadow.router.upstream import Exchanged, Leg, Pool
from tests.ports import free_port
from tests.shadow.router import harness
from tests.shadow.router.harness import Answer, Upstream

Ask = Callable[[str], Awaitable[Exchanged]]


@asynccontextmanager
async def asking(answer: Answer, deadline: float = 5.0) -> AsyncIterator[tuple[Ask, Upstream, Pool]]:
    upstream = Upstream(answer)
    await upstream.start()
    pool = Pool("127.0.0.1", upstream.port, most_idle=2)

    async def ask(path: str) -> Exchanged:
        end: asyncio.Future[Exchanged] = asyncio.get_running_loop().create_future()
        Leg(pool, f"GET {path} HTTP/1.1\r\nhost: a\r\n\r\n".encode(), deadline, end.set_result)
        return await asyncio.wait_for(end, 10)

    yield ask, upstream, pool
    pool.close()
    await upstream.stop()


async def test_a_connection_is_used_again_and_costs_no_connecting_then() -> None:
    async with asking(harness.echo) as (ask, _, pool):
        ends = [await ask(f"/{number}") for number in range(3)]
        assert [end.answer and end.answer.body for end in ends] == [b'{"target": "/%d"}' % n for n in range(3)]
        assert ends[0].connect_us > 0
        assert (ends[1].connect_us, ends[2].connect_us, len(pool._idle)) == (0, 0, 1)


async def test_no_more_connections_are_kept_than_allowed() -> None:
    async with asking(harness.echo) as (ask, _, pool):
        await asyncio.gather(*(ask("/") for _ in range(6)))
        assert len(pool._idle) == 2


async def test_a_late_byte_on_an_idle_connection_closes_it() -> None:
    writers: list[asyncio.StreamWriter] = []

    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writers.append(writer)
        return await harness.echo(head, reader, writer)

    async with asking(answer) as (ask, _, pool):
        await ask("/1")
        writers[0].write(harness.reply('{"target": "/somebody-else"}'))
        async with asyncio.timeout(5):
            while pool._idle:
                await asyncio.sleep(0.001)
        end = await ask("/2")
        assert end.answer is not None
        assert end.answer.body == b'{"target": "/2"}'
        assert len(writers) == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (harness.reset, "reset"),
        (harness.short, "short"),
        (harness.garbage, "garbage"),
        (harness.endless, "too_large"),
        (harness.silent, "timeout"),
    ],
)
async def test_failures_are_told_apart_and_their_connection_is_not_kept(answer: Answer, error: str) -> None:
    async with asking(answer, deadline=0.2 if answer is harness.silent else 5.0) as (ask, _, pool):
        end = await ask("/")
        assert (end.answer, end.error, len(pool._idle)) == (None, error, 0)


async def test_a_head_that_never_ends_is_too_large() -> None:
    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nx: ")
        while not writer.is_closing():
            writer.write(b"x" * 4096)
            await writer.drain()
        return False

    async with asking(answer) as (ask, _, _):
        assert (await ask("/")).error == "too_large"


async def test_a_reset_is_no_end_of_a_body_that_ends_with_the_connection() -> None:
    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\nx: y\r\n\r\nhalf of")
        await writer.drain()
        await asyncio.sleep(0.02)  # a reset would overtake the bytes, and nothing would have come
        return await harness.reset(head, reader, writer)

    async with asking(answer) as (ask, _, _):
        assert (await ask("/")).error == "reset"


async def test_nobody_there_is_refused() -> None:
    port = free_port()
    end: asyncio.Future[Exchanged] = asyncio.get_running_loop().create_future()
    Leg(Pool("127.0.0.1", port, 1), b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 5.0, end.set_result)
    assert (await asyncio.wait_for(end, 10)).error == "refused"


async def test_a_stale_connection_is_replaced_once_and_a_second_failure_is_told() -> None:
    async with asking(harness.echo) as (ask, upstream, _):
        await ask("/1")

        async def gone(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            return False

        upstream.answer = gone
        end = await ask("/2")
        assert end.error == "reset"
        assert [harness.target_of(head) for head in upstream.heads] == ["/1", "/2", "/2"]


async def test_a_connection_that_said_something_is_not_tried_again() -> None:
    async with asking(harness.echo) as (ask, upstream, _):
        await ask("/1")
        upstream.answer = harness.short
        assert (await ask("/2")).error == "short"
        assert len(upstream.heads) == 2


async def test_cancelling_tells_once_and_closes() -> None:
    async with asking(harness.silent) as (_, upstream, pool):
        ends: list[Exchanged] = []
        leg = Leg(pool, b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 5.0, ends.append)
        async with asyncio.timeout(5):
            while not upstream.heads:
                await asyncio.sleep(0.001)
        leg.cancel()
        leg.cancel()
        assert [end.error for end in ends] == ["cancelled"]
        assert not pool._idle
