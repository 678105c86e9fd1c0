"""The router as users see it: the primary's answer whatever the shadow does, and every request accounted."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import time
from contextlib import suppress

import h11
import pytest

from shadow.contracts import GO, STOP
from shadow.router import pairlog
from shadow.router.http1 import HEAD_BYTES
from shadow.router.mirror import Copy, Mirror
from shadow.router.patience import IDLE_SECONDS, REQUEST_SECONDS
from shadow.units import key_id_of, unit_of
from tests.shadow.router import harness
from tests.shadow.router.harness import KEY, leave, read_answer, request, running, until
from tests.shadow.router.test_http1 import REFUSED


async def test_the_primarys_answer_comes_back_and_the_pair_is_logged() -> None:
    async with running() as stage:
        status, headers, body = await stage.get("/recommend?user_id=17&k=3", "X-Understudy-Event-Time: 42\r\n")
        assert status == 200
        assert json.loads(body) == {"target": "/recommend?user_id=17&k=3"}
        await stage.settled()
        assert stage.outcomes == {"paired": 1}
        record = stage.collector.records[0]
        assert record["request_id"] == headers["x-request-id"]
        assert record["event_time_us"] == 42
        assert record["primary"]["version"] == "champion:1"
        assert record["arm_answer"]["version"] == "challenger:2"
        target = f"/recommend?user_id={unit_of(b'17', KEY)}&k=3"
        assert json.loads(record["arm_answer"]["body"]) == {"target": target}
        assert record["target"] == target


@pytest.mark.parametrize(
    ("fault", "outcome", "error"),
    [
        (harness.silent, "arm_timeout", "timeout"),
        (harness.reset, "arm_error", "reset"),
        (harness.short, "arm_error", "short"),
        (harness.garbage, "arm_error", "garbage"),
        (harness.endless, "arm_error", "too_large"),
        (harness.crumbs, "arm_error", "garbage"),
        (harness.error500, "paired", ""),
        (harness.chunked, "paired", ""),
        (harness.extra, "paired", ""),
    ],
)
async def test_no_fault_of_the_shadow_reaches_the_client(fault: harness.Answer, outcome: str, error: str) -> None:
    async with running(shadow=fault, deadline_ms=200 if fault is harness.silent else 60_000) as stage:
        for number in range(3):
            status, _, body = await stage.get(f"/recommend?user_id={number}")
            assert status == 200
            assert json.loads(body) == {"target": f"/recommend?user_id={number}"}
        await stage.settled()
        assert stage.outcomes == {outcome: 3}
        assert stage.arm.balance == 0
        assert {record["arm_answer"].get("error", "") for record in stage.collector.records} == {error}


async def test_a_shadow_that_is_not_there_is_an_error_of_the_arm_until_the_breaker_opens() -> None:
    async with running(breaker_failures=3, breaker_seconds=60) as stage:
        await stage.shadow.stop()
        for _ in range(6):
            assert (await stage.get("/recommend?user_id=1"))[0] == 200
            await stage.settled()
        assert stage.outcomes == {"arm_error": 3, "dropped:breaker_open": 3}


async def test_what_waits_behind_a_dead_arm_is_dropped_when_the_breaker_opens() -> None:
    async with running(
        shadow=harness.silent, deadline_ms=200, concurrency=1, breaker_failures=1, breaker_seconds=60
    ) as stage:
        for _ in range(5):
            await stage.get("/recommend?user_id=1")
        await stage.settled()
        assert stage.outcomes == {"arm_timeout": 1, "dropped:breaker_open": 4}


async def test_the_breaker_closes_again_after_a_good_probe() -> None:
    async with running(shadow=harness.reset, breaker_failures=1, breaker_seconds=0.01) as stage:
        await stage.get("/recommend?user_id=1")
        await stage.settled()
        stage.shadow.answer = harness.echo
        await until(lambda: not stage.server.mirrors[0]._breaker.blocks)
        await stage.get("/recommend?user_id=1")
        await stage.settled()
        await stage.get("/recommend?user_id=1")
        await stage.settled()
        assert stage.outcomes == {"arm_error": 1, "paired": 2}


async def test_a_full_queue_drops_the_newest_and_counts_it() -> None:
    gate = harness.Gate()
    async with running(shadow=gate, concurrency=1, queue_bytes=7_000) as stage:
        for number in range(6):
            assert (await stage.get(f"/recommend?user_id={number}"))[0] == 200
        await until(lambda: stage.outcomes == {"dropped:queue_full": 4})
        gate.open.set()
        await stage.settled()
        assert stage.outcomes == {"dropped:queue_full": 4, "paired": 2}
        kept = [harness.target_of(head) for head in stage.shadow.heads]
        assert kept == ["/recommend?user_id=0", "/recommend?user_id=1"]
        assert stage.server.mirrors[0].queued_bytes == 0


@pytest.mark.parametrize(
    ("fault", "status", "error"),
    [
        (harness.silent, 504, "timeout"),
        (harness.reset, 502, "reset"),
        (harness.garbage, 502, "garbage"),
    ],
)
async def test_a_fault_of_the_primary_is_told_and_the_shadow_is_not_asked(
    fault: harness.Answer, status: int, error: str
) -> None:
    async with running(primary=fault, primary_ms=300) as stage:
        got, headers, body = await stage.get("/recommend?user_id=1")
        assert got == status
        assert headers["content-type"] == "application/problem+json"
        assert error in json.loads(body)["detail"]
        await stage.settled()
        assert stage.outcomes == {"primary_error": 1}
        assert stage.shadow.heads == []
        assert stage.collector.records[0]["primary"]["error"] == error


@pytest.mark.parametrize("fault", [harness.short, harness.stuck, harness.short_chunks])
async def test_an_answer_of_the_primary_that_breaks_off_is_seen_to_be_broken(fault: harness.Answer) -> None:
    async with running(primary=fault, primary_ms=200) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(request("/recommend?user_id=1"))
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method="GET", target="/", headers=[("host", "reco")]))
        connection.send(h11.EndOfMessage())
        connection.receive_data(await asyncio.wait_for(reader.read(), 60))
        connection.receive_data(b"")
        assert isinstance(connection.next_event(), h11.Response)
        with pytest.raises(h11.RemoteProtocolError):
            list(iter(connection.next_event, None))
        writer.close()
        await stage.settled()
        assert stage.outcomes == {"primary_error": 1}
        assert stage.shadow.heads == []


async def test_bytes_after_an_answer_never_reach_another_request() -> None:
    async with running(primary=harness.extra) as stage:
        for number in range(5):
            _, _, body = await stage.get(f"/recommend?user_id={number}")
            assert json.loads(body) == {"target": f"/recommend?user_id={number}"}


async def test_a_pooled_connection_that_went_stale_is_tried_once_more() -> None:
    async def once(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await harness.echo(head, reader, writer)
        await writer.drain()
        return False  # closes although it announced keep-alive

    async with running(primary=once) as stage:
        for number in range(5):
            status, _, body = await stage.get(f"/recommend?user_id={number}")
            assert (status, json.loads(body)) == (200, {"target": f"/recommend?user_id={number}"})


async def test_pipelined_requests_are_answered_in_order_and_a_refusal_comes_after_them() -> None:
    async with running() as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"".join(request(f"/recommend?user_id={n}") for n in range(20)) + b"NONSENSE\r\n\r\n")
        for number in range(20):
            assert json.loads((await read_answer(reader))[2]) == {"target": f"/recommend?user_id={number}"}
        assert (await read_answer(reader))[0] in (400, 501)
        assert await reader.read() == b""
        writer.close()
        await stage.settled()
        assert stage.arm.received == 21
        assert stage.arm.refused == 1


async def test_a_client_that_goes_away_is_told_apart() -> None:
    async with running(primary=harness.silent, primary_ms=2_000) as stage:
        _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(request("/recommend?user_id=1"))
        async with asyncio.timeout(60):
            while not stage.primary.heads:
                await asyncio.sleep(0.005)
        leave(writer)
        await stage.settled()
        assert stage.outcomes == {"client_cancelled": 1}


async def test_a_client_that_has_said_all_and_listens_still_gets_its_answers() -> None:
    async with running() as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(request("/recommend?user_id=1") + request("/recommend?user_id=2"))
        writer.write_eof()
        bodies = [json.loads((await read_answer(reader))[2])["target"] for _ in range(2)]
        assert bodies == ["/recommend?user_id=1", "/recommend?user_id=2"]
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.close()
        await stage.settled()
        assert stage.outcomes == {"paired": 2}


async def test_other_paths_are_served_and_not_copied() -> None:
    async with running() as stage:
        assert (await stage.get("/model"))[0] == 200
        assert (stage.arm.not_eligible, stage.arm.in_flight, stage.shadow.heads) == (1, 0, [])


@pytest.mark.parametrize(
    "target",
    [
        "/metrics",
        "/metrics/",
        "/%6Detrics?x=1",
        "//docs",
        "/docs/oauth2-redirect",
        "/openapi.json",
        "/readyz",
        "/metrics%0a",
    ],
)
async def test_what_is_for_operators_is_not_on_the_public_port(target: str) -> None:
    async with running() as stage:
        status, headers, body = await stage.get(target)
        assert (status, headers["content-type"]) == (404, "application/problem+json")
        assert json.loads(body)["status"] == 404
        assert (await stage.get("/metricsx"))[0] == 200
        assert [harness.target_of(head) for head in stage.primary.heads] == ["/metricsx"]
        assert stage.arm.refused == 1
        assert stage.arm.balance == 0


async def test_after_a_404_of_the_router_the_connection_goes_on() -> None:
    async with running() as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(request("/metrics") + request("/recommend?user_id=1") + request("/docs"))
        assert [(await read_answer(reader))[0] for _ in range(3)] == [404, 200, 404]
        writer.close()


async def test_a_404_to_a_request_that_still_comes_ends_the_connection_and_the_rest_is_no_request() -> None:
    async with running() as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        hidden = request("/recommend?user_id=1")
        head = f"POST /metrics HTTP/1.1\r\nHost: reco\r\nContent-Length: {len(hidden) + 1}\r\n\r\n"
        writer.write(head.encode() + hidden)
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"]) == (404, "close")
        assert await asyncio.wait_for(reader.read(), 60) == b""
        writer.write(b"x" + hidden)
        writer.close()
        await until(lambda: not stage.server.clients)
        assert (stage.primary.heads, stage.arm.received, stage.arm.refused) == ([], 1, 1)


async def test_a_fraction_of_zero_copies_nothing() -> None:
    async with running(fraction=0.0) as stage:
        await stage.get("/recommend?user_id=1")
        assert (stage.arm.not_sampled, stage.shadow.heads) == (1, [])


async def test_a_copy_that_reaches_a_router_again_is_served_and_not_copied_once_more() -> None:
    async with running() as stage:
        assert (await stage.get("/recommend?user_id=1", "X-Understudy-Hops: 1\r\n"))[0] == 200
        await stage.settled()
        assert stage.outcomes == {"dropped:loop": 1}


async def test_the_arm_gets_markers_but_no_credentials_and_the_primary_gets_no_markers() -> None:
    secrets = "Authorization: Bearer s3cret\r\nCookie: session=s3cret\r\nX-Api-Key: s3cret\r\n"
    forged = "X-Understudy-Arm: forged\r\nConnection: x-private\r\nX-Private: s3cret\r\n"
    async with running() as stage:
        await stage.get("/recommend?user_id=1", secrets + forged)
        await stage.settled()
        primary, shadow = stage.primary.heads[0].lower(), stage.shadow.heads[0].lower()
    assert "bearer s3cret" in primary
    assert "forged" not in primary
    assert "x-private" not in primary
    assert "x-forwarded-for: 127.0.0.1" in primary
    assert "s3cret" not in shadow
    assert "x-understudy-arm: shadow" in shadow
    assert "x-understudy-hops: 1" in shadow


async def test_the_raw_user_id_is_in_no_byte_that_leaves_for_the_log() -> None:
    async def plain(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(harness.reply("{}"))
        return True

    forms = ("?user_id=canary%40x", "?user_id=c%61nary%40x&user_id=canary@x", "?k=1&user_id=canary@x&again=canary%40x")
    async with running(primary=plain, shadow=plain) as stage:
        for form in forms:
            assert (await stage.get("/recommend" + form))[0] == 200
        await stage.settled()
    assert b"canary" not in stage.collector.raw.lower()
    assert b"c%61nary" not in stage.collector.raw.lower()
    units = {record["unit"] for record in stage.collector.records}
    assert units == {unit_of(b"canary@x", KEY)}


async def test_the_log_says_hello_numbers_without_gaps_and_says_goodbye() -> None:
    async with running() as stage:
        for number in range(7):
            await stage.get(f"/recommend?user_id={number}")
        await stage.settled()
    frames = stage.collector.frames
    assert [frame["record"] for frame in frames] == ["hello", *["pair"] * 7, "goodbye"]
    assert [frame["sequence"] for frame in frames[1:-1]] == list(range(7))
    assert frames[0]["key_id"] == key_id_of(KEY)
    assert (frames[-1]["records"], frames[-1]["dropped"]) == (7, 0)


async def test_without_a_shipper_traffic_goes_on_and_drops_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairlog, "BUFFER_BYTES", 2_000)
    async with running(shipper=False) as stage:
        for number in range(8):
            assert (await stage.get(f"/recommend?user_id={number}"))[0] == 200
        async with asyncio.timeout(60):
            while stage.arm.in_flight:
                await asyncio.sleep(0.005)
        log = stage.server.log
        assert log.numbered == 8
        assert log.dropped >= 1
        assert log.written == 0
        assert log.queued_bytes <= 2_000


async def test_the_identity_holds_at_every_sample_under_random_faults_and_clients_that_leave() -> None:
    rng = random.Random(11)
    faults = [harness.echo] * 4 + [harness.reset, harness.short, harness.garbage, harness.error500, harness.silent]

    def sometimes(choices: list[harness.Answer]) -> harness.Answer:
        async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            return await rng.choice(choices)(head, reader, writer)

        return answer

    async with running(
        primary=sometimes(faults),
        shadow=sometimes(faults),
        primary_ms=150,
        deadline_ms=100,
        queue_bytes=20_000,
        concurrency=2,
        breaker_failures=4,
        breaker_seconds=0.05,
        fraction=0.7,
    ) as stage:
        seen: list[tuple[int, str]] = []

        async def client(number: int) -> None:
            target = rng.choice(["/recommend", "/model"]) + f"?user_id={number}"
            reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
            writer.write(request(target))
            if rng.random() < 0.2:
                leave(writer)
                return
            with suppress(asyncio.IncompleteReadError):  # the primary's answer was short
                status, _, body = await read_answer(reader)
                if status == 200:
                    seen.append((number, json.loads(body)["target"]))
                    assert json.loads(body) == {"target": target}
            assert stage.arm.balance == 0
            writer.close()

        for start in range(0, 400, 20):
            await asyncio.gather(*(client(number) for number in range(start, start + 20)))
            assert stage.arm.balance == 0
        await stage.settled()
        assert stage.arm.balance == 0
        assert seen
        assert stage.server.log.numbered == sum(stage.outcomes.values())
        assert stage.arm.received <= 400
    assert len(stage.collector.records) == stage.server.log.numbered - stage.server.log.dropped


async def test_every_refused_form_is_answered_with_a_problem_and_a_closed_connection_and_counted() -> None:
    async with running() as stage:
        for raw, statuses in REFUSED:
            reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
            writer.write(raw)
            if raw.startswith(b"\x16"):
                writer.write_eof()
            status, headers, body = await read_answer(reader)
            assert status in statuses, raw
            assert headers["content-type"] == "application/problem+json"
            assert headers["connection"] == "close"
            assert json.loads(body)["status"] == status
            assert await asyncio.wait_for(reader.read(), 60) == b""
            writer.close()
        assert (stage.arm.received, stage.arm.refused, stage.arm.balance) == (len(REFUSED), len(REFUSED), 0)
        assert stage.primary.heads == []


async def test_a_refusal_is_heard_by_a_client_that_is_still_sending() -> None:
    async with running() as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * (HEAD_BYTES * 40))
        assert (await read_answer(reader))[0] == 431
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_request_that_comes_too_slowly_is_refused_and_an_idle_connection_is_closed() -> None:
    async with running() as stage:
        slow_reader, slow = await asyncio.open_connection("127.0.0.1", stage.port)
        idle_reader, idle = await asyncio.open_connection("127.0.0.1", stage.port)
        slow.write(b"GET / HTTP/1.1\r\nHo")
        await until(lambda: any(client._arrival.since for client in stage.server.clients))
        for client in list(stage.server.clients):
            client.sweep(time.monotonic() + REQUEST_SECONDS - 1)
        assert len(stage.server.clients) == 2
        for client in list(stage.server.clients):
            client.sweep(time.monotonic() + REQUEST_SECONDS + 1)
        assert (await read_answer(slow_reader))[0] == 408
        for client in list(stage.server.clients):
            client.sweep(time.monotonic() + IDLE_SECONDS + 1)
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(idle_reader.read(), 60) == b""
        assert stage.arm.refused == 1
        slow.close()
        idle.close()


async def test_the_whole_answer_has_left_before_a_copy_is_offered() -> None:
    async with running() as stage:
        client = socket.create_connection(("127.0.0.1", stage.port))
        client.setblocking(False)
        mirror, readable = stage.server.mirrors[0], []
        offer = mirror.offer

        def spy(copy: object) -> None:
            readable.append(client.recv(65_536))
            offer(copy)

        mirror.offer = spy
        client.send(request("/recommend?user_id=1"))
        await until(lambda: readable)
        assert readable[0].endswith(b'{"target": "/recommend?user_id=1"}')
        client.close()


async def test_the_arms_take_turns_at_being_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    offer = Mirror.offer

    def noted(mirror: Mirror, copy: Copy) -> None:
        asked.append(mirror.arm.name)
        offer(mirror, copy)

    monkeypatch.setattr(Mirror, "offer", noted)
    async with running(control=True) as stage:
        for number in range(40):
            await stage.get(f"/recommend?user_id={number}")
    assert sorted(asked) == ["control"] * 40 + ["shadow"] * 40
    assert asked[::2].count("shadow") == asked[::2].count("control") == 20


async def test_a_request_id_is_the_same_at_the_primary_the_arm_the_client_and_in_the_record() -> None:
    async with running() as stage:
        _, headers, _ = await stage.get("/recommend?user_id=1", "X-Request-Id: mine-1\r\n")
        await stage.settled()
        assert headers["x-request-id"] == "mine-1"
        assert "x-request-id: mine-1" in stage.primary.heads[0]
        assert "x-request-id: mine-1" in stage.shadow.heads[0]
        assert stage.collector.records[0]["request_id"] == "mine-1"


async def test_a_problem_of_the_primary_carries_the_request_id_too() -> None:
    async with running(primary=harness.reset) as stage:
        _, headers, _ = await stage.get("/recommend?user_id=1", "X-Request-Id: mine-2\r\n")
        assert headers["x-request-id"] == "mine-2"


async def test_a_primary_that_is_not_there_is_502_and_served_again_when_it_is_back() -> None:
    async with running() as stage:
        await stage.primary.stop()
        status, _, body = await stage.get("/recommend?user_id=1")
        assert (status, json.loads(body)["detail"]) == (502, "the primary did not answer (refused)")
        await stage.primary.start()
        assert (await stage.get("/recommend?user_id=1"))[0] == 200


async def test_a_drain_answers_what_is_under_way_lets_the_copies_end_and_takes_nothing_new() -> None:
    gates = asyncio.Event(), asyncio.Event()

    def behind(gate: asyncio.Event) -> harness.Answer:
        async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
            await gate.wait()
            return await harness.echo(head, reader, writer)

        return answer

    async with running(primary=behind(gates[0]), shadow=behind(gates[1])) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(request("/recommend?user_id=1"))
        await until(lambda: stage.primary.heads)
        drain = asyncio.create_task(stage.server.drain())
        # Its socket is closed some turns of the loop after the drain began.
        await asyncio.wait_for(harness.closed(stage.port), 60)
        gates[0].set()
        status, headers, _ = await read_answer(reader)
        assert (status, headers["connection"]) == (200, "close")
        assert await reader.read() == b""
        writer.close()
        await until(lambda: stage.shadow.heads)
        assert not drain.done()
        gates[1].set()
        await asyncio.wait_for(drain, 60)
        assert stage.outcomes == {"paired": 1}
        assert stage.collector.frames[-1]["record"] == "goodbye"
        assert stage.collector.frames[-1]["records"] == 1


async def test_a_primary_that_answers_before_it_has_taken_all_leaves_the_connection_usable() -> None:
    """The client was told to wait, the request had come whole, and the answer came: it must be read from again."""

    async def hasty(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if head.startswith("POST"):
            writer.write(harness.reply("{}"))
            await writer.drain()
            await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
            return True
        return await harness.echo(head, reader, writer)

    size = 8 << 20
    async with running(primary=hasty) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        head = b"POST /model HTTP/1.1\r\nHost: reco\r\nContent-Length: %d\r\n\r\n" % size
        writer.write(head + b"x" * size)
        status, headers, _ = await read_answer(reader)
        assert status == 200
        if headers.get("connection") != "close":
            writer.write(request("/model?after=1"))
            assert (await read_answer(reader))[0] == 200
        writer.close()
        assert (await stage.get("/model?other=1"))[0] == 200


async def test_while_the_shippers_spool_is_full_users_are_answered_and_nothing_is_copied() -> None:
    async with running() as stage:
        await until(lambda: stage.collector.frames)
        stage.collector.say(STOP)
        await until(lambda: stage.server.log.stopped)
        assert (await stage.get("/recommend?user_id=1"))[0] == 200
        await until(lambda: stage.outcomes == {"dropped:log_full": 1})
        assert (stage.arm.balance, stage.server.log.dropped, len(stage.shadow.heads)) == (0, 1, 0)
        stage.collector.say(GO)
        await until(lambda: not stage.server.log.stopped)
        assert (await stage.get("/recommend?user_id=1"))[0] == 200
        await stage.settled()
        assert [record["outcome"] for record in stage.collector.records] == ["paired"]


async def test_a_long_pipeline_that_the_router_answers_itself_does_not_become_a_deep_stack() -> None:
    async with running() as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n" * 3_000)
        for _ in range(3_000):
            assert (await read_answer(reader))[0] == 404
        writer.close()
        assert stage.arm.refused == 3_000
