"""Bodies of any length in both directions: byte for byte, in bounded memory, at the pace of the slower side."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import socket
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from shadow.router.config import Route
from shadow.router.patience import lingered
from shadow.units import unit_of
from tests.shadow.router import harness
from tests.shadow.router.harness import digest, leave, read_answer, request, running, until

BIG = 20 << 20
BLOCK = random.Random(5).randbytes(1 << 20)
KERNEL_BYTES = 12 << 20
"""What two socket buffers of a connection may hold between them on Linux (tcp_wmem and tcp_rmem, at their most)."""


def routes() -> dict[str, Any]:
    """Settings under which `/recommend` is copied whatever the method."""
    return {"routes": tuple(Route(method=method, path="/recommend") for method in ("GET", "HEAD", "POST", "PUT"))}


def head_of(method: str, target: str, headers: str) -> bytes:
    return f"{method} {target} HTTP/1.1\r\nHost: reco\r\n{headers}\r\n".encode()


async def send_big(writer: asyncio.StreamWriter, chunked: bool) -> str:
    """20 MB of blocks that differ; the hash of what was sent."""
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {BIG}"
    writer.write(head_of("POST", "/recommend?user_id=1", framing + "\r\n"))
    sent = hashlib.sha256()
    for number in range(BIG // len(BLOCK)):
        block = number.to_bytes(4, "big") + BLOCK[4:]
        sent.update(block)
        writer.write(b"%x\r\n%b\r\n" % (len(block), block) if chunked else block)
        await writer.drain()
    if chunked:
        writer.write(b"0\r\n\r\n")
    return sent.hexdigest()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
async def test_a_body_of_20_mb_arrives_byte_for_byte_in_bounded_memory_and_its_size_is_recorded(chunked: bool) -> None:
    async with running(primary=digest, config=routes(), primary_ms=60_000) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        sent = await send_big(writer, chunked)
        async with asyncio.timeout(30):
            status, _, body = await read_answer(reader)
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        writer.close()
        got = json.loads(body)
        assert (status, got["bytes"], got["sha256"]) == (200, BIG, sent)
        # Client, router and primary together, in one process: blocks of 1 MB in the client's own buffer among them.
        assert peak < 8 << 20
        await stage.settled()
        assert stage.outcomes == {"dropped:too_large": 1}
        assert stage.shadow.heads == []
        assert stage.collector.records[0]["request_bytes"] == BIG


async def test_a_primary_that_does_not_read_pauses_the_client_and_little_is_held_for_it() -> None:
    reads = asyncio.Event()

    async def later(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await reads.wait()
        return await digest(head, reader, writer)

    async with running(primary=later, primary_ms=60_000) as stage:
        client = socket.create_connection(("127.0.0.1", stage.port))
        client.setblocking(False)
        client.send(head_of("POST", "/other", "Content-Length: 67108864\r\n"))
        sent = 0
        while True:
            try:
                sent += client.send(b"x" * 65_536)
            except BlockingIOError:
                [connection] = stage.server.clients
                if connection._paused:
                    break
            await asyncio.sleep(0)
        [leg] = stage.server.router.pool._due
        buffered = leg._connection.transport.get_write_buffer_size()
        assert buffered <= 64 * 1024 + 256 * 1024
        assert sent < 2 * KERNEL_BYTES + buffered
        with pytest.raises(BlockingIOError):
            client.send(b"x")
        reads.set()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            while sent < 67_108_864:
                part = b"x" * min(65_536, 67_108_864 - sent)
                await loop.sock_sendall(client, part)
                sent += len(part)
            answer = await loop.sock_recv(client, 65_536)
        assert b'"bytes": 67108864' in answer
        client.close()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
async def test_a_body_exactly_at_the_limit_is_copied_identically_to_every_arm(chunked: bool) -> None:
    arms = {f"arm{number}": {"answer": digest} for number in range(3)}
    async with running(primary=digest, shadow=digest, arms=arms, config=routes() | {"copy_bytes": 1 << 20}) as stage:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BLOCK), BLOCK) if chunked else BLOCK
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(BLOCK)}"
        await stage.send(head_of("POST", "/recommend?user_id=1", framing + "\r\n") + body)
        await stage.settled()
        target = f"/recommend?user_id={unit_of(b'1', harness.KEY)}"
        expected = {"target": target, "bytes": 1 << 20, "sha256": hashlib.sha256(BLOCK).hexdigest()}
        assert len(stage.collector.records) == 4
        for record in stage.collector.records:
            assert record["outcome"] == "paired"
            assert json.loads(record["primary"]["body"]) == json.loads(record["arm_answer"]["body"]) == expected
        assert all("content-length: 1048576" in upstream.heads[0] for upstream in stage.upstreams.values())


async def test_a_body_one_byte_over_the_limit_is_served_and_not_copied() -> None:
    async with running(primary=digest, shadow=digest, config=routes() | {"copy_bytes": 1_000}) as stage:
        answers = [
            await stage.send(head_of("PUT", "/recommend?user_id=1", f"Content-Length: {size}\r\n") + b"x" * size)
            for size in (1_000, 1_001)
        ]
        await stage.settled()
        assert [json.loads(body)["bytes"] for _, _, body in answers] == [1_000, 1_001]
        assert stage.outcomes == {"paired": 1, "dropped:too_large": 1}
        assert sorted(record["request_bytes"] for record in stage.collector.records) == [1_000, 1_001]
        assert len(stage.shadow.heads) == 1


async def test_a_get_with_a_body_and_a_post_without_one_are_served_and_copied_as_they_are() -> None:
    async with running(primary=digest, shadow=digest, config=routes()) as stage:
        _, _, first = await stage.send(head_of("GET", "/recommend?user_id=1", "Content-Length: 3\r\n") + b"abc")
        _, _, second = await stage.send(head_of("POST", "/recommend?user_id=2", "Content-Length: 0\r\n"))
        await stage.settled()
        assert [json.loads(body)["bytes"] for body in (first, second)] == [3, 0]
        pairs = [(record["primary"]["body"], record["arm_answer"]["body"]) for record in stage.collector.records]
        assert len(pairs) == 2
        assert all(primary == arm for primary, arm in pairs)
        assert "content-length: 0" in stage.primary.heads[1]


async def big_answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """20 MB in chunks."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for number in range(BIG // len(BLOCK)):
        block = number.to_bytes(4, "big") + BLOCK[4:]
        writer.write(b"%x\r\n%b\r\n" % (len(block), block))
        await writer.drain()
    writer.write(b"0\r\n\r\n")
    return True


def big_hash() -> str:
    found = hashlib.sha256()
    for number in range(BIG // len(BLOCK)):
        found.update(number.to_bytes(4, "big") + BLOCK[4:])
    return found.hexdigest()


async def chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """The chunks of an answer after its head."""
    while size := int(await reader.readline(), 16):
        yield await reader.readexactly(size)
        await reader.readexactly(2)
    await reader.readline()


async def test_an_answer_of_20_mb_to_a_slow_reader_pauses_the_primary_and_arrives_byte_for_byte() -> None:
    async with running(primary=big_answer, primary_ms=60_000) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port, limit=1 << 16)
        writer.write(request("/recommend?user_id=1"))
        # The client's StreamReader stops reading at twice its limit: the router fills up, and then the primary waits.
        await until(lambda: any(client._full_since is not None for client in stage.server.clients))
        [connection] = stage.server.clients
        exchange = connection._exchange
        assert exchange is not None
        assert exchange._leg._connection.paused
        assert exchange._leg not in stage.server.router.pool._due
        assert connection._transport.get_write_buffer_size() < 1 << 20
        await reader.readuntil(b"\r\n\r\n")
        found = hashlib.sha256()
        async with asyncio.timeout(60):
            async for part in chunks(reader):
                found.update(part)
                assert connection._transport.get_write_buffer_size() < 1 << 20
        assert found.hexdigest() == big_hash()
        await stage.settled()
        primary = stage.collector.records[0]["primary"]
        assert primary["truncated"]
        writer.close()


async def test_an_answer_of_20_mb_does_not_stay_in_memory() -> None:
    async with running(primary=big_answer, primary_ms=60_000) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        writer.write(request("/other"))
        await reader.readuntil(b"\r\n\r\n")
        async with asyncio.timeout(60):
            async for _ in chunks(reader):
                pass
        peak = tracemalloc.get_traced_memory()[1] - before
        tracemalloc.stop()
        assert peak < 8 << 20
        writer.close()


def saying(answer: bytes, stays: bool = True) -> harness.Answer:
    async def said(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer)
        return stays

    return said


@pytest.mark.parametrize(
    ("method", "answer", "status", "length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n", 200, "12345"),
        ("HEAD", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 200, None),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, None),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 12345\r\netag: x\r\n\r\n", 304, "12345"),
    ],
)
async def test_answers_without_a_body_end_with_their_head_and_both_connections_go_on(
    method: str, answer: bytes, status: int, length: str | None
) -> None:
    async with running(primary=saying(answer), shadow=saying(answer), config=routes()) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        for number in range(3):
            writer.write(head_of(method, f"/recommend?user_id={number}", ""))
            async with asyncio.timeout(60):
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            assert int(lines[0].split(" ")[1]) == status
            assert harness.headers_of("\r\n".join(lines)).get("content-length") == length
            assert "transfer-encoding" not in "".join(lines)
        await stage.settled()
        assert stage.outcomes == {"paired": 3}
        assert stage.primary.connections == 1
        assert {record["arm_answer"]["status"] for record in stage.collector.records} == {status}
        writer.close()


async def test_interim_answers_are_passed_on_in_order_before_the_answer() -> None:
    hints = (
        b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </two.css>\r\n\r\n"
    )
    async with running(primary=saying(hints + harness.reply("{}"))) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(request("/recommend?user_id=1"))
        heads = [await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60) for _ in range(3)]
        assert [head.split(b" ")[1] for head in heads] == [b"103", b"103", b"200"]
        assert b"link: </style.css>" in heads[0]
        assert b"link: </two.css>" in heads[1]
        writer.close()
        await stage.settled()
        assert stage.collector.records[0]["primary"]["status"] == 200


async def test_interim_answers_do_not_reach_a_client_of_http_1_0_whose_answer_ends_with_the_connection() -> None:
    async def hinted(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")
        return await harness.chunked(head, reader, writer)

    async with running(primary=hinted) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"GET /recommend?user_id=1 HTTP/1.0\r\nHost: reco\r\nConnection: keep-alive\r\n\r\n")
        whole = await asyncio.wait_for(reader.read(), 60)
        head, _, body = whole.partition(b"\r\n\r\n")
        assert b" 200 " in head.split(b"\r\n")[0]
        assert b"connection: close" in head
        assert b"chunked" not in head
        assert json.loads(body) == {"target": "/recommend?user_id=1"}
        writer.close()


async def test_a_client_that_expects_100_sends_its_body_only_after_the_primary_agreed() -> None:
    async def agrees(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        assert "expect: 100-continue" in head.lower()
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return await digest(head, reader, writer)

    async with running(primary=agrees, shadow=digest, config=routes()) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(head_of("POST", "/recommend?user_id=1", "Content-Length: 5\r\nExpect: 100-continue\r\n"))
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        status, headers, body = await read_answer(reader)
        assert (status, json.loads(body)["bytes"]) == (200, 5)
        assert headers.get("connection") != "close"
        await stage.settled()
        assert stage.outcomes == {"paired": 1}
        assert "expect" not in stage.shadow.heads[0].lower()
        writer.close()


@pytest.mark.parametrize("status", ["417 Expectation Failed", "413 Content Too Large"])
async def test_a_refused_expectation_is_told_before_the_body_and_the_connection_ends(status: str) -> None:
    async with running(primary=saying(harness.reply('{"no": 1}', status)), config=routes()) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(head_of("POST", "/recommend?user_id=1", "Content-Length: 5\r\nExpect: 100-continue\r\n"))
        told, headers, body = await read_answer(reader)
        assert (told, headers["connection"], body) == (int(status[:3]), "close", b'{"no": 1}')
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
        await stage.settled()
        assert stage.outcomes == {"dropped:incomplete": 1}
        assert stage.shadow.heads == []
        assert not stage.server.router.pool._idle


async def test_an_early_answer_reaches_a_client_that_is_still_sending_and_ends_the_connection() -> None:
    async def early(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(harness.reply('{"enough": true}', "413 Content Too Large"))
        await writer.drain()
        async for _ in harness.body_parts(head, reader):
            pass
        return True

    async with running(primary=early, config=routes()) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(head_of("POST", "/recommend?user_id=1", f"Content-Length: {BIG}\r\n") + b"x" * 3_000)
        status, headers, body = await read_answer(reader)
        assert (status, headers["connection"], json.loads(body)) == (413, "close", {"enough": True})
        writer.close()
        await stage.settled()
        assert stage.outcomes == {"dropped:incomplete": 1}


async def test_an_answer_that_ends_with_the_primarys_connection_has_its_last_chunk_and_the_client_may_go_on() -> None:
    async with running(primary=saying(b"HTTP/1.1 200 OK\r\n\r\nall of it", stays=False)) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        for number in range(2):
            writer.write(request(f"/recommend?user_id={number}"))
            async with asyncio.timeout(60):
                assert b"connection: close" not in await reader.readuntil(b"\r\n\r\n")
                assert b"".join([part async for part in chunks(reader)]) == b"all of it"
        writer.close()
        await stage.settled()
        assert stage.outcomes == {"paired": 2}
        assert [record["primary"]["body"] for record in stage.collector.records] == ["all of it"] * 2


async def test_an_answer_of_the_primary_in_many_small_chunks_is_passed_on_whole() -> None:
    async with running(primary=harness.crumbs) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(harness.request("/model"))
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        parts = [part async for part in harness.body_parts(head, reader)]
        assert b"".join(parts) == b"x" * 3_000
        writer.close()


async def test_a_primary_that_fails_while_its_request_still_comes_is_told_and_the_connection_ends() -> None:
    """What comes of the body later must not be taken for a request."""
    async with running(primary=harness.reset, config=routes()) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(head_of("POST", "/recommend?user_id=1", "Content-Length: 100\r\n") + b"x" * 10)
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"]) == (502, "close")
        writer.write(b"x" * 90)
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
        await stage.settled()
        assert (stage.outcomes, stage.arm.received) == ({"primary_error": 1}, 1)


async def test_no_request_is_begun_behind_answers_that_the_client_does_not_take() -> None:
    waiting: list[int] = []

    async def large(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        waiting.extend(client._transport.get_write_buffer_size() for client in stage.server.clients)
        writer.write(harness.reply("x" * (1 << 20)))
        return True

    async with running(primary=large) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(harness.request("/model") * 40)
        await until(lambda: any(client._full_since is not None for client in stage.server.clients))
        for _ in range(40):
            assert (await read_answer(reader))[0] == 200
        assert len(waiting) == 40
        assert max(waiting) <= 64 << 10
        writer.close()


async def test_a_primary_that_answers_early_and_hangs_up_is_one_end_and_one_place_in_the_account() -> None:
    """Its reset may overtake its answer (RFC 9112 §9.6 asks it to linger): 413 or 502, and no client that waits."""

    async def rude(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(harness.reply("{}", "413 Content Too Large", "connection: close\r\n"))
        return False

    async def send(writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            for _ in range(BIG >> 16):
                writer.write(BLOCK[: 1 << 16])
                await writer.drain()

    ends: Counter[int] = Counter()
    async with running(primary=rude, config=routes()) as stage:
        for _ in range(10):
            reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
            writer.write(head_of("POST", "/recommend?user_id=1", f"Content-Length: {BIG}\r\n"))
            sending = asyncio.create_task(send(writer))
            status, headers, _ = await read_answer(reader)
            assert headers["connection"] == "close"
            ends[status] += 1
            sending.cancel()
            leave(writer)
        await stage.settled()
        counted = stage.outcomes
        assert set(ends) <= {413, 502}
        assert counted.get("primary_error", 0) == ends[502]
        assert counted.get("dropped:incomplete", 0) + counted.get("dropped:too_large", 0) == ends[413]
        assert stage.shadow.connections == 0


async def test_an_answer_to_a_body_that_came_whole_but_was_not_read_leaves_the_client_free_to_ask_again() -> None:
    """The end of the body still sits in the router's buffer towards the primary when the answer comes."""
    answered, released = asyncio.Event(), asyncio.Event()

    async def unread(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if "chunked" not in head:
            return await harness.echo(head, reader, writer)
        await answered.wait()
        writer.write(harness.reply('{"read": 0}'))
        await released.wait()
        return False

    async with running(primary=unread, primary_ms=20_000) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(head_of("POST", "/other", "Transfer-Encoding: chunked\r\n"))
        await until(lambda: stage.primary.heads)
        [leg] = stage.server.router.pool._due
        towards = leg._connection.transport
        while not towards.get_write_buffer_size():
            writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            await asyncio.sleep(0)
        writer.write(b"20000\r\n" + b"x" * 0x20000 + b"\r\n0\r\n\r\n")
        await until(lambda: leg._whole)
        assert towards.get_write_buffer_size()
        answered.set()
        _, headers, body = await read_answer(reader)
        assert (json.loads(body), headers.get("connection")) == ({"read": 0}, None)
        assert not stage.server.router.pool._idle  # nobody else's request may wait behind that rest
        writer.write(request("/again"))
        assert json.loads((await read_answer(reader))[2]) == {"target": "/again"}
        assert stage.primary.connections == 2
        released.set()
        writer.close()


async def test_a_client_that_ends_its_side_within_its_body_is_told_and_the_primary_never_gets_a_whole_request() -> None:
    ended = asyncio.Event()

    async def waits(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readexactly(100)
        ended.set()
        return False

    async with running(primary=waits, config=routes()) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(head_of("POST", "/recommend?user_id=1", "Content-Length: 100\r\n") + b"x" * 50)
        await until(lambda: stage.primary.heads)
        writer.write_eof()
        assert (await read_answer(reader))[0] == 400
        await asyncio.wait_for(ended.wait(), 60)
        writer.close()
        await stage.settled()
        assert stage.outcomes == {"client_cancelled": 1}


async def test_a_client_that_leaves_within_its_body_is_cancelled_and_its_primary_connection_is_reset() -> None:
    seen: list[Exception | bytes] = []

    async def waits(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        try:
            seen.append(await reader.readexactly(100))
        except (OSError, asyncio.IncompleteReadError) as error:
            seen.append(error)
        return False

    async with running(primary=waits, config=routes()) as stage:
        _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(head_of("POST", "/recommend?user_id=1", "Content-Length: 100\r\n") + b"x" * 50)
        await until(lambda: stage.primary.heads)
        leave(writer)
        await until(lambda: seen)
        assert isinstance(seen[0], (OSError, asyncio.IncompleteReadError))
        await stage.settled()
        assert stage.outcomes == {"client_cancelled": 1}
        assert stage.collector.records[0]["request_bytes"] == 50
        assert not stage.server.router.pool._idle
        stage.primary.answer = harness.echo
        assert (await stage.get("/recommend?user_id=2"))[0] == 200
        assert stage.primary.connections == 2


async def test_pipelined_requests_of_mixed_methods_and_framings_are_answered_in_order() -> None:
    def text(number: int) -> bytes:
        target, body = f"/recommend?user_id={number}", f"body {number}".encode()
        method = ("GET", "POST", "HEAD", "PUT")[number % 4]
        if method in ("GET", "HEAD"):
            return head_of(method, target, "")
        if method == "POST":
            return head_of(method, target, f"Content-Length: {len(body)}\r\n") + body
        return head_of(method, target, "Transfer-Encoding: chunked\r\n") + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        body = b"".join([part async for part in harness.body_parts(head, reader)])
        whole = harness.reply(json.dumps({"target": target_of(head), "body": body.decode()}))
        writer.write(whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if head.startswith("HEAD") else whole)
        return True

    target_of = harness.target_of
    async with running(primary=answer, shadow=answer, config=routes()) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"".join(map(text, range(40))))
        for number in range(40):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            length = int(harness.headers_of(head.decode())["content-length"])
            if number % 4 == 2:
                continue
            body = json.loads(await reader.readexactly(length))
            assert body["target"] == f"/recommend?user_id={number}"
            assert body["body"] == (f"body {number}" if number % 2 else "")
        writer.close()
        await stage.settled()
        assert stage.outcomes == {"paired": 40}
        for record in stage.collector.records:
            assert record["primary"].get("body") == record["arm_answer"].get("body")


async def test_a_primary_that_is_slow_after_half_its_answer_is_broken_off_and_seen_to_be() -> None:
    async with running(primary=harness.stuck, primary_ms=200) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(request("/recommend?user_id=1"))
        whole = await asyncio.wait_for(reader.read(), 60)
        assert b"content-length: 100" in whole
        assert whole.endswith(b"\r\n\r\nonly this")
        writer.close()
        await stage.settled()
        assert stage.outcomes == {"primary_error": 1}
        assert stage.collector.records[0]["primary"]["error"] == "timeout"


async def test_an_answer_that_ends_with_the_clients_connection_is_broken_off_by_a_reset() -> None:
    """An end in order would be that of a whole answer."""
    broken = asyncio.Event()

    async def half(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n")
        await broken.wait()
        return False

    async with running(primary=half) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"GET /recommend?user_id=1 HTTP/1.0\r\nHost: a\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"half"), 60)
        assert not {b"content-length", b"transfer-encoding"} & set(re.findall(rb"(\S+): ", head))
        broken.set()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 60)
        writer.close()
        await stage.settled()
        assert stage.outcomes == {"primary_error": 1}


class Filling:
    """Answers until the client's connection at the router holds bytes that the client has not taken, and then ends."""

    def __init__(self) -> None:
        self.stage: Any = None
        self.sent = 0

    async def __call__(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        [connection] = self.stage.server.clients
        while not connection._transport.get_write_buffer_size():
            writer.write(b"4000\r\n" + b"z" * 0x4000 + b"\r\n")
            self.sent += 0x4000
            await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")
        return True

    async def asked(self, stage: harness.Set, raw: bytes) -> socket.socket:
        """A client that sent `raw` and whose answer is whole but not taken."""
        self.stage = stage
        client = socket.create_connection(("127.0.0.1", stage.port))
        client.setblocking(False)
        client.send(raw)
        await until(lambda: stage.server.router.counters.answered)
        [connection] = stage.server.clients
        assert connection._transport.get_write_buffer_size()
        return client

    async def taken(self, client: socket.socket) -> None:
        """The client takes all of it."""
        got = bytearray()
        async with asyncio.timeout(30):
            while part := await asyncio.get_running_loop().sock_recv(client, 65_536):
                got += part
        client.close()
        assert got.count(b"z") == self.sent
        assert got.endswith(b"\r\n0\r\n\r\n")


async def test_a_drain_lets_a_slow_reader_have_the_whole_answer() -> None:
    """The last part has left the exchange and sits in the connection's buffer: it still counts as under way."""
    primary = Filling()
    async with running(primary=primary, config={"drain_seconds": 20}) as stage:
        client = await primary.asked(stage, request("/other"))
        drain = asyncio.create_task(stage.server.drain())
        await until(lambda: stage.server.draining)
        await primary.taken(client)
        await drain


async def test_a_slow_reader_has_the_whole_of_an_early_answer_although_its_request_is_not_read_on() -> None:
    """The connection ends with an early answer, but not before the client has taken it."""
    primary = Filling()
    async with running(primary=primary) as stage:
        client = await primary.asked(stage, head_of("POST", "/other", "Content-Length: 100\r\n"))
        [connection] = stage.server.clients
        lingered(connection._transport)  # the time is over
        await primary.taken(client)
