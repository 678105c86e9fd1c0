"""Clients' connections: how old, how many, how slow and how idle they may be, and what ten thousand of them cost."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from shadow.rehearsal import HOST
from shadow.router.answers import AnswerReader
from shadow.router.client import Client
from shadow.router.http1 import RequestReader
from shadow.router.limits import allow_files
from shadow.router.patience import BYTES_PER_SECOND, IDLE_SECONDS, REQUEST_SECONDS
from shadow.router.pool import Connection, Pool
from shadow.units import unit_of
from tests.shadow.router import harness
from tests.shadow.router.harness import leave, read_answer, request, running, until
from tests.shadow.router.test_process import router_process
from tests.shadow.router.test_streaming import Filling, head_of, routes, saying
from tests.shadow.router.test_upstream import Receiver, begin

IDLE_CONNECTIONS = 10_000
FEWEST_CONNECTIONS = 2_000
BYTES_PER_CONNECTION = 30_000


async def test_a_connection_past_its_age_ends_with_the_next_answer_which_says_so() -> None:
    async with running() as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.port)
        writer.write(request("/recommend?user_id=1"))
        assert "connection" not in (await read_answer(reader))[1]
        [connection] = stage.server.clients
        connection._opened_at -= 1.1 * stage.server.config.connection_seconds
        writer.write(request("/recommend?user_id=2") + request("/recommend?user_id=3"))
        assert (await read_answer(reader))[1]["connection"] == "close"
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
        await stage.settled()
        # The third was never begun: nobody answered it, and nobody counts it.
        assert (stage.arm.received, stage.outcomes) == (2, {"paired": 2})


async def test_ages_differ_by_up_to_a_tenth_so_that_connections_opened_together_do_not_end_together() -> None:
    async with running(config={"connection_seconds": 100}) as stage:
        writers = [(await asyncio.open_connection(HOST, stage.port))[1] for _ in range(20)]
        await until(lambda: len(stage.server.clients) == 20)
        ages = {client._lifetime for client in stage.server.clients}
        assert len(ages) > 10
        assert all(100 <= age <= 110 for age in ages)
        for writer in writers:
            writer.close()


async def test_one_connection_too_many_is_turned_away_and_counted_and_the_others_go_on() -> None:
    async with running(config={"connections": 2}) as stage:
        held = [await asyncio.open_connection(HOST, stage.port) for _ in range(2)]
        await until(lambda: len(stage.server.clients) == 2)
        reader, writer = await asyncio.open_connection(HOST, stage.port)
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
        assert stage.server.document()["turned_away"] == 1
        for reader, writer in held:
            writer.write(request("/recommend?user_id=1"))
            assert (await read_answer(reader))[0] == 200
        held[0][1].close()
        await until(lambda: len(stage.server.clients) == 1)
        assert (await stage.get("/recommend?user_id=1"))[0] == 200
        held[1][1].close()
        assert stage.arm.received == 3


async def test_a_head_that_drips_is_refused_after_15_seconds_and_a_second_more_for_every_500_bytes_of_it() -> None:
    async with running() as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.port)
        sent = b"GET /recommend?user_id=1 HTTP/1.1\r\nHost: reco\r\nX-Slow: " + b"x" * 5_000
        writer.write(sent)
        await until(lambda: any(client._arrival.bytes == len(sent) for client in stage.server.clients))
        [connection] = stage.server.clients
        over = connection._arrival.since + REQUEST_SECONDS + len(sent) / BYTES_PER_SECOND
        connection.sweep(over - 0.1)
        assert connection._refusal is None
        connection.sweep(over + 0.1)
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"]) == (408, "close")
        writer.close()
        assert (stage.arm.received, stage.arm.refused, stage.primary.heads) == (1, 1, [])


async def test_a_body_that_drips_is_refused_by_the_same_rule_and_the_primary_never_gets_it_whole() -> None:
    gone = asyncio.Event()

    async def waits(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(10_000)
        gone.set()
        return False

    async with running(primary=waits, primary_ms=60_000, config=routes()) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.port)
        sent = head_of("POST", "/recommend?user_id=1", "Content-Length: 10000\r\n") + b"x" * 2_500
        writer.write(sent)
        await until(lambda: any(client._arrival.bytes == len(sent) for client in stage.server.clients))
        await until(lambda: stage.primary.heads)
        [connection] = stage.server.clients
        over = connection._arrival.since + REQUEST_SECONDS + len(sent) / BYTES_PER_SECOND
        connection.sweep(over - 0.1)
        assert not gone.is_set()
        connection.sweep(over + 0.1)
        assert (await read_answer(reader))[0] == 408
        await asyncio.wait_for(gone.wait(), 60)
        writer.close()
        await stage.settled()
        assert stage.outcomes == {"client_cancelled": 1}


async def test_a_client_is_not_blamed_for_the_time_in_which_the_router_did_not_read() -> None:
    async def deaf(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await until(lambda: not stage.server.clients)
        return False

    async with running(primary=deaf, primary_ms=60_000) as stage:
        client = socket.create_connection((HOST, stage.port))
        client.setblocking(False)
        client.send(head_of("POST", "/other", "Content-Length: 100000000\r\n"))
        await until(lambda: stage.primary.heads)
        [connection] = stage.server.clients
        while not connection._paused:
            with suppress(BlockingIOError):
                client.send(b"x" * 65_536)
            await asyncio.sleep(0)
        connection.sweep(time.monotonic() + 2 * (REQUEST_SECONDS + connection._arrival.bytes / BYTES_PER_SECOND))
        assert connection._refusal is None
        assert not connection._transport.is_closing()
        client.close()
        connection.abort()
        await until(lambda: not stage.primary.open)


async def test_a_connection_without_a_request_is_closed_after_75_seconds_and_not_before() -> None:
    async with running() as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.port)
        writer.write(request("/recommend?user_id=1"))
        await read_answer(reader)
        [connection] = stage.server.clients
        connection.sweep(connection.active_at + IDLE_SECONDS - 0.1)
        assert not connection._transport.is_closing()
        connection.sweep(connection.active_at + IDLE_SECONDS + 0.1)
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()


async def test_a_client_that_does_not_take_its_answer_is_let_go_and_its_primary_connection_with_it() -> None:
    async def endless(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        with suppress(OSError):
            await harness.endless(head, reader, writer)
        left.set()
        return False

    left = asyncio.Event()
    async with running(primary=endless, primary_ms=60_000) as stage:
        client = socket.create_connection((HOST, stage.port))
        client.send(request("/recommend?user_id=1"))
        await until(lambda: any(each._full_since is not None for each in stage.server.clients))
        [connection] = stage.server.clients
        connection.sweep(connection._full_since + IDLE_SECONDS - 0.1)
        assert not connection._transport.is_closing()
        connection.sweep(connection._full_since + IDLE_SECONDS + 0.1)
        await asyncio.wait_for(left.wait(), 60)
        await stage.settled()
        assert stage.outcomes == {"client_cancelled": 1}
        client.close()


async def test_a_last_answer_that_nobody_takes_does_not_keep_its_connection_for_ever() -> None:
    primary = Filling()
    async with running(primary=primary) as stage:
        client = await primary.asked(stage, head_of("POST", "/other", "Content-Length: 100\r\n"))
        [connection] = stage.server.clients
        connection.sweep(time.monotonic() + IDLE_SECONDS + 0.1)
        await until(lambda: not stage.server.clients)
        client.close()


@pytest.mark.parametrize(
    ("method", "answer", "connections"),
    [
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", 1),
        ("GET", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: Close\r\n\r\n{}", 4),
        ("GET", b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}", 4),
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", 1),
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n", 4),
        ("HEAD", b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n", 4),
    ],
)
async def test_a_connection_to_an_upstream_is_used_again_only_if_its_answer_allows_it(
    method: str, answer: bytes, connections: int
) -> None:
    """Although the upstream itself leaves it open."""
    async with running(primary=saying(answer), shadow=saying(answer), config=routes()) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.port)
        for number in range(4):
            writer.write(head_of(method, f"/recommend?user_id={number}", ""))
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            assert b"connection" not in head  # what the primary says of its connection is not about the client's
            await reader.readexactly(2 if method == "GET" else 0)
            await stage.settled()
        writer.close()
        assert stage.outcomes == {"paired": 4}
        assert (stage.primary.connections, stage.shadow.connections) == (connections, connections)
        await until(lambda: stage.primary.open == stage.shadow.open == (connections == 1))


@pytest.mark.parametrize("ending", ["deadline", "client leaves"])
async def test_a_connection_with_half_an_answer_is_closed_and_never_used_again(ending: str) -> None:
    async with running(primary=harness.stuck, primary_ms=150 if ending == "deadline" else 60_000) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.port)
        writer.write(request("/recommend?user_id=1"))
        await asyncio.wait_for(reader.readuntil(b"only this"), 60)
        if ending == "deadline":
            assert await asyncio.wait_for(reader.read(), 60) == b""
        leave(writer)
        await stage.settled()
        await until(lambda: not stage.primary.open)
        stage.primary.answer = harness.echo
        for number in range(3):
            assert json.loads((await stage.get(f"/other?{number}"))[2]) == {"target": f"/other?{number}"}
        assert stage.primary.connections == 2


async def test_an_arms_connection_with_half_an_answer_is_closed_and_never_used_again() -> None:
    async with running(shadow=harness.stuck, deadline_ms=100) as stage:
        await stage.get("/recommend?user_id=1")
        await stage.settled()
        await until(lambda: not stage.shadow.open)
        stage.shadow.answer = harness.echo
        await stage.get("/recommend?user_id=2")
        await stage.settled()
        assert stage.outcomes == {"arm_timeout": 1, "paired": 1}
        answer = json.loads(stage.collector.records[1]["arm_answer"]["body"])
        assert answer == {"target": f"/recommend?user_id={unit_of(b'2', harness.KEY)}"}


async def test_an_exchange_given_up_while_it_connects_leaves_no_connection_behind() -> None:
    """Whether it is given up before, while or just after the connection is made."""
    upstream = harness.Upstream(harness.silent)
    await upstream.start()
    pool = Pool(HOST, upstream.port, most_idle=0, deadline=60)
    for number in range(60):
        receiver = Receiver()
        leg = begin(pool, receiver, f"/{number}")
        for _ in range(number % 6):
            await asyncio.sleep(0)
        leg.cancel()
        assert receiver.end.result().error == "cancelled"
    # One that is made after them is accepted after them.
    receiver = Receiver()
    leg = begin(pool, receiver, "/last")
    await until(lambda: any("/last" in head for head in upstream.heads))
    await until(lambda: upstream.open == 1)
    leg.cancel()
    await until(lambda: not upstream.open)
    await upstream.stop()


@pytest.fixture
def files() -> Iterator[tuple[int, int]]:
    """(soft, hard) limits of open files, put back afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_and_told(
    files: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    hard = files[1]
    lower = 512 if hard == resource.RLIM_INFINITY else min(512, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
    with caplog.at_level(logging.INFO):
        allow_files(1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] in (hard, lower)
    assert f"({lower} before)" in caplog.text or "stays at" in caplog.text


def test_more_connections_than_open_files_is_told_with_the_remedy(
    files: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    if files[1] == resource.RLIM_INFINITY:
        pytest.skip("the limit of open files is unlimited here")
    allow_files(files[1] + 1)
    assert "ulimit -n" in caplog.text


def connected(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), timeout=30)


async def asked(clients: list[socket.socket]) -> None:
    """One request on each, and its own answer; in a thread, so that the primary in this process can answer."""
    await asyncio.to_thread(_asked, clients)


def _asked(clients: list[socket.socket]) -> None:
    for number, client in enumerate(clients):
        client.sendall(request(f"/other?{number}"))
    for number, client in enumerate(clients):
        got = b""
        while not got.endswith(b"}"):
            part = client.recv(4_096)
            assert part, "the router closed an idle connection"
            got += part
        assert json.loads(got.partition(b"\r\n\r\n")[2]) == {"target": f"/other?{number}"}


async def test_ten_thousand_idle_connections_cost_little_and_a_request_beside_them_is_answered(
    tmp_path: Path, files: tuple[int, int], record_property: pytest.RecordProperty
) -> None:
    """Both ends are descriptors, so the router is a process of its own, which raises its limit itself."""
    hard = files[1] if files[1] != resource.RLIM_INFINITY else 1 << 20
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, files[1]))
    count = min(IDLE_CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 300)
    if count < FEWEST_CONNECTIONS:
        pytest.skip(f"only {count} open files are allowed here")
    primary, collector = harness.Upstream(harness.echo), harness.Collector()
    await primary.start()
    clients: list[socket.socket] = []
    async with router_process(tmp_path, primary, primary, collector) as (router, port):
        process = psutil.Process(router.process.pid)
        # What a first burst needs once (code, pools, buffers) is no cost of a connection.
        warm = [connected(port) for _ in range(250)]
        await asked(warm)
        for client in warm:
            client.close()
        before = process.memory_info().rss
        async with asyncio.timeout(120):
            while len(clients) < count:
                batch = [connected(port) for _ in range(min(250, count - len(clients)))]
                clients += batch
                await asked(batch)
            each = (process.memory_info().rss - before) / count
            record_property("bytes_per_idle_connection", round(each))
            print(f"{count} idle connections: {each:.0f} bytes each")
            assert process.num_fds() > count
            reader, writer = await asyncio.open_connection(HOST, port)
            writer.write(request("/recommend?user_id=1"))
            assert (await read_answer(reader))[0] == 200
            writer.close()
            assert 0 < each < BYTES_PER_CONNECTION
            await asked(clients[::40])
        for client in clients:
            client.close()
        router.process.terminate()
        assert await asyncio.to_thread(router.process.wait, 60) == 0
        await asyncio.wait_for(collector.ended.wait(), 60)
    await primary.stop()


@pytest.mark.parametrize("answer", [harness.echo, harness.reset, harness.short, harness.garbage, harness.chunked])
async def test_a_connection_that_ended_leaves_nothing_to_the_garbage_collector(answer: harness.Answer) -> None:
    """What it left would make the collector look, and the copies that wait behind a slow arm make that look long."""
    gc.collect()
    gc.disable()
    try:
        async with running(shadow=answer, concurrency=1) as stage:
            for number in range(3):
                await stage.get(f"/recommend?user_id={number}", "Connection: close\r\n")
            await until(lambda: not stage.server.clients and not stage.arm.in_flight)
        # By type, not isinstance: that asks every object for its class, and lazy ones of torch warn.
        kinds = (Client, Connection, RequestReader, AnswerReader)
        await until(lambda: not [each for each in gc.get_objects() if type(each) in kinds])
    finally:
        gc.enable()
