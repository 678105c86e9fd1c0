"""The end of a router: nobody who is sent there sees it."""

from __future__ import annotations

import asyncio
from collections import Counter

from tests.shadow.router.harness import read_answer, request, running, target_of, until


async def test_a_drain_takes_new_connections_until_nobody_is_sent_here_any_more_and_no_client_sees_an_error() -> None:
    async with running(config={"deregister_seconds": 60}) as stage:
        sent, told = Counter[str](), Counter[str]()
        removed = asyncio.Event()

        async def user(number: int) -> None:
            while not removed.is_set():
                reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
                last = False
                while not last and not removed.is_set():
                    phase = "draining" if stage.server.draining else "before"
                    writer.write(request(f"/recommend?user_id={number}"))
                    status, headers, _ = await read_answer(reader)
                    last = headers.get("connection") == "close"
                    sent[phase] += 1
                    told[f"{phase} {status} {last}"] += 1
                writer.close()

        users = [asyncio.create_task(user(number)) for number in range(8)]
        await until(lambda: sent["before"] > 50)
        drain = asyncio.create_task(stage.server.drain())
        await until(lambda: sent["draining"] > 50)
        removed.set()  # the balancer has heard of it
        await asyncio.gather(*users)
        stage.server.stop()
        stage.server.stop()
        await drain
        assert set(told) <= {"before 200 False", "before 200 True", "draining 200 True"}
        assert stage.server.router.counters.answered == sum(sent.values())


async def test_an_answer_that_did_not_say_it_was_the_last_is_followed_by_one_that_does() -> None:
    gate = asyncio.Event()

    async def slow(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{")
        await gate.wait()
        writer.write(b"}")
        return True

    async with running(slow, config={"deregister_seconds": 60}) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(request("/recommend?user_id=1"))
        assert b"connection: close" not in await reader.readuntil(b"{")
        drain = asyncio.create_task(stage.server.drain())
        await until(lambda: stage.server.draining)
        gate.set()
        assert await reader.readexactly(1) == b"}"
        writer.write(request("/recommend?user_id=1"))
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"], await reader.read()) == (200, "close", b"")
        for _ in range(2):
            stage.server.stop()
        await drain
        writer.close()


async def test_while_it_closes_a_connection_ends_with_its_answer_although_others_are_still_under_way() -> None:
    gates = {"/first": asyncio.Event(), "/second": asyncio.Event()}

    async def slow(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{")
        await gates[target_of(head)].wait()
        writer.write(b"}")
        return True

    async with running(slow, config={"drain_seconds": 60}) as stage:
        users = {target: await asyncio.open_connection("127.0.0.1", stage.port) for target in gates}
        for target, (reader, writer) in users.items():
            writer.write(request(target))
            assert b"connection: close" not in await asyncio.wait_for(reader.readuntil(b"{"), 60)
        drain = asyncio.create_task(stage.server.drain())
        await until(lambda: stage.server.closing)
        for target, (reader, writer) in users.items():
            assert not drain.done()
            gates[target].set()
            assert await asyncio.wait_for(reader.read(), 60) == b"}"
            writer.close()
        await asyncio.wait_for(drain, 60)
