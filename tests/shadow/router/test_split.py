"""Split mode on real sockets: the right users get the candidate, a fault of it is the primary's to answer, and every
eligible request leaves exactly one exposure."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow.accounting import RouterCounts, discrepancies, metrics_discrepancies
from shadow.processes import Stage
from shadow.router.config import Route, RouterConfig, Split
from shadow.router.pairlog import PairLog
from shadow.router.trial import Asked, SplitExchange, Trial
from shadow.units import BUCKETS
from tests.shadow.router import harness, test_accounting
from tests.shadow.router.faulty import (
    ARM_FAULTS,
    BUCKET_OF,
    COPY_BYTES,
    KINDS,
    PRIMARY_FAULTS,
    USERS,
    Account,
    Crowd,
    Faulty,
    Plan,
    mixed,
)
from tests.shadow.router.harness import Answer, Set, headers_of, reply, running, target_of, until

METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE")
ROUTES = tuple(Route(method=method, path="/recommend") for method in METHODS)
IN = [user for user in range(USERS) if BUCKET_OF[user] < BUCKETS // 2]
OUT = [user for user in range(USERS) if BUCKET_OF[user] >= BUCKETS // 2]


def saying(name: str) -> Answer:
    """Answers with its name and what it was asked."""

    async def answer(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        body = b"".join([part async for part in harness.body_parts(head, reader)])
        said = reply(json.dumps({"by": name, "target": target_of(head), "bytes": len(body)}))
        writer.write(said.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if head.startswith("HEAD") else said)
        return True

    return answer


def split(
    candidate: Answer | None = None, *, fraction: float = 0.5, config: Mapping[str, Any] | None = None, **more: Any
) -> AbstractAsyncContextManager[Set]:
    """A router in split mode; `candidate` is the upstream of its arm, `shadow`."""
    mode = {"mode": "split", "split": Split(arm="shadow", fraction=fraction), "routes": ROUTES} | dict(config or {})
    return running(saying("primary"), candidate or saying("candidate"), config=mode, **more)


async def asks(stage: Set, user: int, method: str = "GET", body: bytes = b"", headers: str = "") -> dict[str, Any]:
    """The answer's document; the status must be 200."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    head = f"{method} /recommend?user_id={user} HTTP/1.1\r\nHost: a\r\n{headers}{length}\r\n"
    status, _, answer = await stage.send(head.encode() + body)
    assert status == 200
    document: dict[str, Any] = json.loads(answer)
    assert document["bytes"] == len(body)
    return document


async def told(stage: Set) -> list[tuple[str, str, int, str]]:
    """(assigned, served, status, error) of all exposures, once nothing is under way; every account agrees."""
    await stage.settled()
    assert_accounts_agree(stage)
    return [(each["assigned"], each["served"], each["status"], each["error"]) for each in stage.collector.exposures]


def assert_accounts_agree(stage: Set) -> None:
    counts = msgspec.convert(stage.server.document(), RouterCounts)
    logged: dict[str, Counter[str]] = {}
    exposed: dict[str, Counter[str]] = {}
    for record in stage.collector.records:
        logged.setdefault(record["arm"], Counter())[record["outcome"]] += 1
    for each in stage.collector.exposures:
        exposed.setdefault(each["assigned"], Counter())[each["served"]] += 1
    assert discrepancies(stage.arm.received, counts, logged, exposed) == []
    lines = [frame["sequence"] for frame in stage.collector.frames if frame["record"] in ("pair", "exposure")]
    assert lines == list(range(counts.pair_log.numbered))
    assert not any(arm.balance for arm in stage.arms.values())


async def test_each_user_gets_one_arm_every_time_and_each_request_one_exposure() -> None:
    async with split() as stage:
        for user in [*IN[:10], *OUT[:10]] * 2:
            expected = "candidate" if user in IN else "primary"
            assert (await asks(stage, user))["by"] == expected
        found = await told(stage)
        assert found == ([("shadow", "shadow", 200, "")] * 10 + [("primary", "primary", 200, "")] * 10) * 2
        assert (stage.outcomes, stage.arm.not_sampled) == ({"exposed": 20}, 20)
        assert (len(stage.shadow.heads), len(stage.primary.heads), stage.collector.records) == (20, 20, [])
        each = stage.collector.exposures[0]
        assert (each["version"], each["bucket"], len(each["unit"])) == ("challenger:2", BUCKET_OF[IN[0]], 32)


async def test_a_raised_fraction_keeps_those_who_were_in() -> None:
    got: list[set[int]] = []
    for fraction in (0.0, 0.2, 0.6, 1.0):
        async with split(fraction=fraction) as stage:
            got.append({user for user in range(40) if (await asks(stage, user))["by"] == "candidate"})
    assert got[0] <= got[1] <= got[2] <= got[3]
    assert got == [{u for u in range(40) if BUCKET_OF[u] < f * BUCKETS} for f in (0.0, 0.2, 0.6, 1.0)]


async def over(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(reply("x" * 1_001))
    return True


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (harness.error500, "status_5xx"),
        (harness.silent, "timeout"),
        (harness.stuck, "timeout"),
        (harness.reset, "reset"),
        (harness.short, "short"),
        (harness.short_chunks, "short"),
        (harness.garbage, "garbage"),
        (harness.endless, "too_large"),
        (over, "too_large"),
    ],
)
async def test_whatever_is_wrong_with_the_candidate_the_primary_answers(fault: Answer, error: str) -> None:
    async with split(fault, deadline_ms=200 if error == "timeout" else 60_000, answer_bytes=1_000) as stage:
        assert (await asks(stage, IN[0]))["by"] == "primary"
        assert await told(stage) == [("shadow", "primary", 200, error)]
        assert stage.outcomes == {"exposed_error": 1}
        assert stage.collector.exposures[0]["version"] == "champion:1"


async def test_the_primary_gets_the_whole_body_that_the_candidate_failed_on() -> None:
    async with split(harness.error500) as stage:
        chunks = b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
        head = f"PUT /recommend?user_id={IN[0]} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        _, _, body = await stage.send(head + chunks)
        assert (json.loads(body)["by"], json.loads(body)["bytes"]) == ("primary", 7)
        assert (await asks(stage, IN[0], "PUT", b"y" * 100_000))["by"] == "primary"
        assert await told(stage) == [("shadow", "primary", 200, "status_5xx")] * 2


async def test_a_candidate_that_is_not_there_is_refused_and_then_left_alone_by_its_breaker() -> None:
    async with split(breaker_failures=2, breaker_seconds=60) as stage:
        await stage.shadow.stop()
        for _ in range(4):
            assert (await asks(stage, IN[0]))["by"] == "primary"
        errors = [error for *_, error in await told(stage)]
        assert errors == ["refused", "refused", "breaker_open", "breaker_open"]
        assert stage.outcomes == {"exposed_error": 4}


async def test_a_probe_whose_user_leaves_does_not_keep_the_breaker_open() -> None:
    async with split(harness.error500, breaker_failures=1, breaker_seconds=0.05) as stage:
        assert (await asks(stage, IN[0]))["by"] == "primary"
        stage.shadow.answer = harness.silent
        await until(lambda: not stage.server.router.arms[0]._breaker.blocks)
        await leave(stage, lambda: len(stage.shadow.heads) == 2)
        stage.shadow.answer = saying("candidate")
        assert (await asks(stage, IN[0]))["by"] == "candidate"
        assert [error for *_, error in await told(stage)] == ["status_5xx", "client_cancelled", ""]


async def leave(stage: Set, when: Any) -> None:
    """Ask as an assigned user, and reset the connection."""
    _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(harness.request(f"/recommend?user_id={IN[0]}"))
    await until(when)
    harness.leave(writer)
    await until(lambda: not any(client._exchange for client in stage.server.clients))


async def test_no_user_waits_for_a_slot_of_the_candidate() -> None:
    release = asyncio.Event()

    async def slow(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await release.wait()
        return await saying("candidate")(head, reader, writer)

    async with split(slow, concurrency=1) as stage:
        first = asyncio.create_task(asks(stage, IN[0]))
        await until(lambda: stage.shadow.heads)
        assert (await asks(stage, IN[1]))["by"] == "primary"
        release.set()
        assert (await first)["by"] == "candidate"
        assert [error for *_, error in await told(stage)] == ["busy", ""]


async def test_what_may_not_be_repeated_and_what_came_through_a_router_is_the_primarys() -> None:
    async with split(fraction=1.0) as stage:
        assert (await asks(stage, 1, "POST", b"body"))["by"] == "primary"
        assert (await asks(stage, 1, headers="X-Understudy-Hops: 1\r\n"))["by"] == "primary"
        assert await told(stage) == [("primary", "primary", 200, "")] * 2
        assert (stage.outcomes, stage.arm.not_sampled, stage.shadow.heads) == ({}, 2, [])


async def test_a_body_goes_to_the_candidate_whole_and_one_that_is_too_long_to_the_primary() -> None:
    async with split(fraction=1.0, config={"copy_bytes": 10_000}) as stage:
        for size, by in ((1, "candidate"), (10_000, "candidate"), (10_001, "primary"), (300_000, "primary")):
            assert (await asks(stage, 1, "PUT", b"z" * size))["by"] == by
        for size, by in ((10_000, "candidate"), (10_001, "primary")):
            chunks = b"%x\r\n%b\r\n" % (size, b"z" * size)
            head = b"PUT /recommend?user_id=1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            _, _, body = await stage.send(head + chunks + b"0\r\n\r\n")
            assert (json.loads(body)["by"], json.loads(body)["bytes"]) == (by, size)
        assert Counter(await told(stage)) == {
            ("shadow", "shadow", 200, ""): 3,
            ("shadow", "primary", 200, "too_large"): 3,
        }


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked() -> None:
    async with split(fraction=1.0) as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(b"PUT /recommend HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        _, _, body = await harness.read_answer(reader)
        assert json.loads(body)["by"] == "candidate"
        writer.close()


async def test_the_candidate_gets_no_credentials_and_a_marker() -> None:
    async with split(fraction=1.0) as stage:
        await asks(stage, 1, headers="Authorization: Bearer x\r\nCookie: a=b\r\nAccept: a/b\r\n")
        headers = headers_of(stage.shadow.heads[0])
        assert not {"authorization", "cookie", "x-forwarded-for"} & set(headers)
        assert (headers["accept"], headers["x-understudy-arm"], headers["x-understudy-hops"]) == ("a/b", "shadow", "1")


async def test_head_requests_and_pipelines_are_answered_in_order_by_either_arm() -> None:
    async with split() as stage:
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        users = [IN[0], OUT[0], IN[1], OUT[1]]
        writer.write(b"".join(harness.request(f"/recommend?user_id={user}") for user in users))
        answers = [json.loads((await harness.read_answer(reader))[2]) for _ in users]
        assert [each["target"] for each in answers] == [f"/recommend?user_id={user}" for user in users]
        assert [each["by"] for each in answers] == ["candidate", "primary"] * 2
        writer.write(f"HEAD /recommend?user_id={IN[0]} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        head = await asyncio.wait_for(reader.read(), 60)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert head.endswith(b"\r\n\r\n")
        writer.close()
        assert len(await told(stage)) == 5


async def test_other_arms_copy_what_the_primary_answered_and_tell_what_it_did_not() -> None:
    async with split(arms={"control": {}, "half": {"fraction": 0.5}}) as stage:
        for user in (IN[0], OUT[0], OUT[1]):
            await asks(stage, user)
        stage.shadow.answer = harness.error500
        assert (await asks(stage, IN[1]))["by"] == "primary"
        await told(stage)
        outcomes = {name: {key: n for key, n in arm.outcomes.items() if n} for name, arm in stage.arms.items()}
        assert outcomes["control"] == {"paired": 3, "dropped:split": 1}
        assert outcomes["half"] == {"paired": 1, "dropped:split": 1}
        assert stage.arms["half"].not_sampled == 2
        [record] = [each for each in stage.collector.records if each["outcome"] == "dropped:split"][:1]
        assert (record["primary"], record["arm_answer"]) == (None, None)


async def test_a_primary_that_fails_too_is_told_with_the_candidates_reason() -> None:
    async with split(harness.error500) as stage:
        await stage.primary.stop()
        status, _, _ = await stage.get(f"/recommend?user_id={IN[0]}")
        assert status == 502
        status, _, _ = await stage.get(f"/recommend?user_id={OUT[0]}")
        assert status == 502
        assert await told(stage) == [("shadow", "", 0, "status_5xx"), ("primary", "", 0, "refused")]


async def test_a_client_that_leaves_is_exposed_to_nothing() -> None:
    async with split(harness.silent) as stage:
        await leave(stage, lambda: stage.shadow.heads)
        _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(f"PUT /recommend?user_id={IN[0]} HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf".encode())
        await until(lambda: stage.arm.in_flight)
        harness.leave(writer)
        assert await told(stage) == [("shadow", "", 0, "client_cancelled")] * 2
        assert (stage.primary.heads, stage.server.router.arms[0].busy) == ([], False)


async def test_a_body_that_turns_out_to_be_none_is_refused_and_reaches_neither_arm() -> None:
    async with split(fraction=1.0) as stage:
        head = b"PUT /recommend HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
        writer.write(head + b"2\r\nab\r\n")
        await until(lambda: stage.arm.in_flight)
        writer.write(b"no chunk\r\n")
        status, _, _ = await harness.read_answer(reader)
        writer.close()
        assert (status, stage.primary.heads, stage.shadow.heads) == (400, [], [])
        assert await told(stage) == [("shadow", "", 0, "client_cancelled")]


async def test_a_drain_lets_the_candidate_answer_and_cuts_off_what_takes_too_long() -> None:
    release = asyncio.Event()

    async def slow(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await release.wait()
        return await saying("candidate")(head, reader, writer)

    async with split(slow, deadline_ms=60_000, config={"drain_seconds": 60}) as stage:
        one = asyncio.create_task(asks(stage, IN[0]))
        await until(lambda: stage.shadow.heads)
        draining = asyncio.create_task(stage.server.drain())
        await until(lambda: stage.server.draining)
        release.set()
        assert (await one)["by"] == "candidate"
        await draining
        assert [(each["served"], each["error"]) for each in stage.collector.exposures] == [("shadow", "")]
    async with split(harness.silent, deadline_ms=60_000, config={"drain_seconds": 0.1}) as stage:
        one = asyncio.create_task(asks(stage, IN[0]))
        await until(lambda: stage.shadow.heads)
        await stage.server.drain()
        await asyncio.wait_for(stage.collector.ended.wait(), 60)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await one
        assert [(each["served"], each["error"]) for each in stage.collector.exposures] == [("", "client_cancelled")]
        assert stage.outcomes == {"exposed_error": 1}


async def test_an_exchange_of_a_split_leaves_nothing_to_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        async with split(deadline_ms=100, answer_bytes=1_000) as stage:
            for fault in (saying("candidate"), harness.error500, harness.silent, harness.reset, harness.endless):
                stage.shadow.answer = fault
                await asks(stage, IN[0])
                await asks(stage, OUT[0])
            stage.shadow.answer = harness.silent
            await leave(stage, lambda: len(stage.shadow.heads) == 6)
            await told(stage)
            await until(
                # By type, not isinstance: that asks every object for its class, and lazy ones of torch warn.
                lambda: not [each for each in gc.get_objects() if type(each) in (SplitExchange, Trial, Asked)]
            )
    finally:
        gc.enable()


async def test_in_mode_off_nothing_is_copied_and_nothing_recorded() -> None:
    async with running(config={"mode": "off"}, arms={"counted": {"sampling": "counter"}}) as stage:
        for user in range(5):
            assert (await stage.get(f"/recommend?user_id={user}"))[0] == 200
        assert [arm.not_sampled for arm in stage.arms.values()] == [5, 5]
        assert (stage.shadow.heads, stage.server.log.numbered) == ([], 0)


plans = st.builds(
    Plan,
    kind=st.sampled_from(KINDS) | st.just("plain"),
    user=st.integers(0, USERS - 1),
    primary=st.sampled_from(PRIMARY_FAULTS) | st.just("ok"),
    arm=st.sampled_from(ARM_FAULTS) | st.just("ok"),
    body=st.sampled_from((0, 0, 1, COPY_BYTES)),
    chunked=st.booleans(),
)


@contextlib.contextmanager
def checking(stages: list[Set]) -> Iterator[list[str]]:
    """What is out of balance in `stages` whenever a line is written."""
    found: list[str] = []
    put = PairLog._put

    def checked(log: PairLog, record: Any, span: Any) -> None:
        put(log, record, span)
        found.extend(f"line {log.numbered}: {name}" for stage in stages for name, a in stage.arms.items() if a.balance)

    with mock.patch.object(PairLog, "_put", checked):
        yield found


class Witness(Account):
    """An account that remembers what the clients saw of eligible requests."""

    def saw(self, plan: Plan, end: str) -> None:
        super().saw(plan, end)
        if plan.kind not in ("refused", "private", "other"):
            self.ends = [*getattr(self, "ends", []), (plan.kind, end)]


@given(plans=st.lists(plans, min_size=1, max_size=40), slots=st.integers(1, 4), failures=st.integers(1, 5))
@settings(max_examples=40)
async def test_every_account_agrees_after_any_faults(plans: list[Plan], slots: int, failures: int) -> None:
    loop = asyncio.get_running_loop()
    upstreams = [await loop.create_server(lambda mark=mark: Faulty(mark), "127.0.0.1", 0) for mark in (b"&p=", b"&s=")]
    urls = [f"http://127.0.0.1:{upstream.sockets[0].getsockname()[1]}" for upstream in upstreams]
    stages: list[Set] = []
    with checking(stages) as found:
        async with split(
            primary_url=urls[0],
            url=urls[1],
            arms={"control": {"url": urls[1], "fraction": 0.7}},
            config={"copy_bytes": COPY_BYTES},
            deadline_ms=50,
            breaker_seconds=0.02,
            concurrency=slots,
            breaker_failures=failures,
        ) as stage:
            stages.append(stage)
            account = Witness(())
            crowd = Crowd(stage.port, iter(plans), account, connections=6)
            crowd.tick = lambda: found.extend(name for name, arm in stage.arms.items() if arm.balance)
            await asyncio.wait_for(crowd.run(), 120)
            await until(lambda: not any(client._exchange for client in stage.server.clients))
            exposures = await told(stage)
    assert found == []
    ends = getattr(account, "ends", [])
    assert len(exposures) == len(ends)
    served = sum(bool(arm) for _, arm, _, _ in exposures)
    certain = sum(end == "answered" for _, end in ends)
    # Whether one that left had its answer before only the router knows.
    assert certain <= served <= certain + sum(kind == "leave" for kind, _ in ends)
    for upstream in upstreams:
        upstream.close()


async def test_clients_counters_metrics_and_lines_of_real_processes_agree(tmp_path: Path) -> None:
    requests = 3_000
    mode = partial(RouterConfig, mode="split", split=Split(arm="shadow", fraction=0.4))
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as sockets,
        Stage(tmp_path / "logs", os.environ | {"UNDERSTUDY_UNIT_KEY": harness.KEY.decode()}) as stage,
    ):
        household = test_accounting.Household(stage, tmp_path, Path(sockets))
        with mock.patch.object(test_accounting, "RouterConfig", mode):
            await household.start()
        await Crowd(household.port, mixed(requests, seed=5), Account(()), connections=24).run()
        counts = msgspec.convert(await household.counts(), RouterCounts, strict=False)
        metrics = (await household.ask("/metrics")).decode()
        stats = await household.end()
    logged = {arm: values["outcomes"] for arm, values in stats["arms"].items()}
    assert discrepancies(requests, counts, logged, stats["exposures"]) == []
    assert metrics_discrepancies(counts, metrics) + stats["problems"] == []
    outcomes = counts.arms["shadow"].outcomes
    assert outcomes["exposed"] > outcomes["exposed_error"] > 0
    assert counts.arms["sampled"].outcomes["dropped:split"] > 0
    assert sum(sum(row.values()) for row in stats["exposures"].values()) == requests - counts.arms["shadow"].refused - (
        counts.arms["shadow"].not_eligible
    )
