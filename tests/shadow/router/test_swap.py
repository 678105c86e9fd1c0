"""A change of configuration while requests run: who goes on, who starts anew, and that every account still adds up."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import cycle
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow.contracts import DROPPED
from shadow.router import server as module
from shadow.router.config import Arm, Route, RouterConfig, Split, check
from shadow.router.mirror import DROPPED_AT_ONCE
from shadow.router.router import without_copies
from shadow.router.sampling import CounterSampler, HashSampler, sampler_of
from shadow.units import BUCKETS
from tests.shadow.router.faulty import ARM_FAULTS, COPY_BYTES, KINDS, USERS, Account, Crowd, Faulty, Plan
from tests.shadow.router.harness import Gate, Set, Upstream, echo, request, running, silent, until
from tests.shadow.router.test_accounting import checking

HOST = "127.0.0.1"


def with_arm(config: RouterConfig, **changes: Any) -> RouterConfig:
    """The configuration with its first arm changed."""
    first, *others = config.arms
    return msgspec.structs.replace(config, arms=(msgspec.structs.replace(first, **changes), *others))


def of(config: RouterConfig, **changes: Any) -> RouterConfig:
    return msgspec.structs.replace(config, **changes)


async def test_a_changed_share_is_in_force_with_the_next_request_and_nobody_is_disconnected() -> None:
    async with running(fraction=0.0) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.port)
        for fraction, taken in ((0.0, 0), (1.0, 1), (0.0, 1), (1.0, 2)):
            mirror = stage.server.router.arms[0]
            stage.server.adopt(with_arm(stage.server.config, fraction=fraction))
            writer.write(request("/recommend?user_id=1"))
            await reader.readuntil(b"}")
            await stage.settled()
            assert stage.server.router.arms[0] is mirror
            assert stage.arm.outcomes["paired"] == taken
        assert (stage.primary.connections, stage.shadow.connections, stage.server.retired) == (1, 1, [])
        writer.close()


async def test_an_arm_that_only_gets_another_share_keeps_its_queue_and_its_breaker() -> None:
    gate = Gate()
    async with running(shadow=gate, concurrency=1, breaker_failures=3) as stage:
        for number in range(4):
            await stage.get(f"/recommend?user_id={number}")
        stage.server.router.arms[0]._breaker.report(True, False)
        stage.server.adopt(with_arm(stage.server.config, fraction=0.5, sampling="counter"))
        assert stage.server.router.arms[0]._breaker._in_a_row == 1
        gate.open.set()
        await stage.settled()
        assert stage.outcomes == {"paired": 4}


async def test_what_waits_for_an_arm_that_is_removed_is_dropped_and_what_is_under_way_ends() -> None:
    gate = Gate()
    async with running(shadow=gate, concurrency=2) as stage:
        for number in range(5):
            await stage.get(f"/recommend?user_id={number}")
        before = stage.server.config
        stage.server.adopt(of(before, arms=()))
        assert stage.outcomes == {"dropped:shutdown": 3}
        await stage.get("/recommend?user_id=1")
        assert stage.arm.received == 5
        gate.open.set()
        await stage.settled()
        assert stage.outcomes == {"dropped:shutdown": 3, "paired": 2}
        # It comes back: its account goes on.
        stage.server.adopt(before)
        await stage.get("/recommend?user_id=1")
        await stage.settled()
        assert stage.outcomes == {"dropped:shutdown": 3, "paired": 3}
        assert stage.server.document()["arms"]["shadow"]["queue_bytes"] == 0
    assert stage.shadow.open == 0


async def test_a_request_that_began_before_its_arm_was_removed_has_its_outcome_all_the_same() -> None:
    gate = Gate()
    async with running(gate) as stage:
        asked = asyncio.create_task(stage.get("/recommend?user_id=1"))
        await until(lambda: stage.arm.in_flight)
        stage.server.adopt(of(stage.server.config, arms=()))
        gate.open.set()
        assert (await asked)[0] == 200
        await stage.settled()
        assert (stage.outcomes, stage.arm.balance) == ({"dropped:shutdown": 1}, 0)


async def test_a_copy_is_recorded_with_the_version_that_answered_it_whatever_is_in_force_by_then() -> None:
    gate = Gate()
    other = Upstream(echo)
    await other.start()
    async with running(shadow=gate) as stage:
        await stage.get("/recommend?user_id=1")
        await until(lambda: stage.shadow.heads)
        stage.server.adopt(with_arm(stage.server.config, url=f"http://{HOST}:{other.port}", version="challenger:3"))
        await stage.get("/recommend?user_id=2")
        await until(lambda: stage.arm.outcomes["paired"] == 1)
        gate.open.set()
        await stage.settled()
        versions = [record["arm_answer"]["version"] for record in stage.collector.records]
        assert versions == ["challenger:3", "challenger:2"]
        assert (len(stage.shadow.heads), len(other.heads)) == (1, 1)
        await until(lambda: not stage.shadow.open)
    await other.stop()


async def test_another_primary_gets_the_next_request_and_the_one_before_ends_the_requests_it_has() -> None:
    gate = Gate()
    other = Upstream(echo)
    await other.start()
    async with running(gate) as stage:
        asked = asyncio.create_task(stage.get("/recommend?user_id=1"))
        await until(lambda: stage.primary.heads)
        primary = msgspec.structs.replace(
            stage.server.config.primary, url=f"http://{HOST}:{other.port}", version="champion:2"
        )
        stage.server.adopt(of(stage.server.config, primary=primary))
        assert (await stage.get("/recommend?user_id=2"))[0] == 200
        assert len(other.heads) == 1
        gate.open.set()
        assert (await asked)[0] == 200
        await stage.settled()
        assert [each["primary"]["version"] for each in stage.collector.records] == ["champion:2", "champion:1"]
        await until(lambda: not stage.primary.open)
    await other.stop()


async def test_a_primary_that_never_answers_still_meets_its_deadline_after_it_was_replaced() -> None:
    other = Upstream(echo)
    await other.start()
    async with running(silent, primary_ms=200) as stage:
        asked = asyncio.create_task(stage.get("/recommend?user_id=1"))
        await until(lambda: stage.primary.heads)
        primary = msgspec.structs.replace(stage.server.config.primary, url=f"http://{HOST}:{other.port}")
        stage.server.adopt(of(stage.server.config, primary=primary))
        assert (await asked)[0] == 504
    await other.stop()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"experiment": "other"}, "experiment"),
        ({"listen": "127.0.0.1:1"}, "listen"),
        ({"admin": "127.0.0.1:1"}, "admin"),
        ({"shipper": "/elsewhere.sock"}, "shipper"),
        ({"unit_parameter": "visitor"}, "unit_parameter"),
        ({"arms": tuple(Arm(name=f"a{number}", url="http://h:1") for number in range(64))}, "arms"),
    ],
)
async def test_what_cannot_change_is_refused_by_its_name_and_nothing_changes(change: Any, field: str) -> None:
    async with running() as stage:
        before = stage.server.router
        with pytest.raises(ValueError, match=f"^{field}: .*start the router anew"):
            stage.server.adopt(of(stage.server.config, **change))
        assert stage.server.router is before
        assert set(stage.arms) == {"shadow"}


async def test_when_copying_ends_what_waits_is_dropped_and_what_is_under_way_is_called_back_soon(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "OFF_SECONDS", 0.05)
    gate = Gate()
    async with running(primary=echo, shadow=silent, concurrency=1, deadline_ms=60_000) as stage:
        await stage.get("/recommend?user_id=1")
        await stage.get("/recommend?user_id=2")
        await until(lambda: stage.shadow.heads)
        stage.primary.answer = gate
        late = asyncio.create_task(stage.get("/recommend?user_id=3"))
        await until(lambda: stage.arm.in_flight == 3)
        stage.server.adopt(without_copies(stage.server.config))
        assert stage.outcomes == {"dropped:shutdown": 1}
        await until(lambda: stage.outcomes == {"dropped:shutdown": 2})
        await until(lambda: not stage.shadow.open)
        # Chosen before copying ended, answered long after: it is not copied any more.
        gate.open.set()
        assert (await late)[0] == 200
        await stage.settled()
        assert (stage.outcomes, len(stage.shadow.heads)) == ({"dropped:shutdown": 3}, 1)
        assert all(record.get("arm_answer") is None for record in stage.collector.records)


async def test_what_is_called_back_tells_nothing_against_the_arm() -> None:
    async with running(shadow=silent, breaker_failures=1, deadline_ms=60_000) as stage:
        await stage.get("/recommend?user_id=1")
        await until(lambda: stage.shadow.heads)
        mirror = stage.server.router.arms[0]
        mirror.cut()
        await stage.settled()
        assert (stage.outcomes, mirror._breaker.open) == ({"dropped:shutdown": 1}, False)


async def test_a_user_who_waits_for_the_candidate_is_answered_by_the_primary_when_it_is_called_back() -> None:
    async with running(shadow=silent, deadline_ms=60_000) as stage:
        split = of(stage.server.config, mode="split", split=Split(arm="shadow", fraction=1.0))
        stage.server.adopt(split)
        asked = asyncio.create_task(stage.get("/recommend?user_id=1"))
        await until(lambda: stage.shadow.heads)
        stage.server.adopt(without_copies(split))
        stage.server.cut()
        assert (await asked)[0] == 200
        await stage.settled()
        assert stage.outcomes == {"exposed_error": 1}
        [exposure] = stage.collector.exposures
        assert (exposure["assigned"], exposure["served"]) == ("shadow", "primary")


async def test_a_split_request_ends_as_one_after_the_split_has_ended_and_the_other_way_round() -> None:
    gate = Gate()
    async with running(shadow=gate) as stage:
        mirrored = stage.server.config
        split = of(mirrored, mode="split", split=Split(arm="shadow", fraction=1.0))
        stage.server.adopt(split)
        asked = asyncio.create_task(stage.get("/recommend?user_id=1"))
        await until(lambda: stage.shadow.heads)
        stage.server.adopt(mirrored)
        await stage.get("/recommend?user_id=2")
        await until(lambda: len(stage.shadow.heads) == 2)
        stage.server.adopt(split)
        gate.open.set()
        assert (await asked)[0] == 200
        await stage.get("/recommend?user_id=3")
        await stage.settled()
        assert stage.outcomes == {"exposed": 2, "paired": 1}


async def test_a_long_queue_is_dropped_in_turns_and_all_of_it() -> None:
    async with running(shadow=silent, concurrency=1, deadline_ms=60_000) as stage:
        reader, writer = await asyncio.open_connection(HOST, stage.port)
        for _ in range(4):
            writer.write(request("/recommend?user_id=1") * 50)
            for _ in range(50):
                await reader.readuntil(b"}")
        await until(lambda: stage.arm.in_flight == 200)
        stage.server.adopt(of(stage.server.config, arms=()))
        assert stage.arm.outcomes["dropped:shutdown"] == DROPPED_AT_ONCE
        assert stage.server.document()["arms"]["shadow"]["queue_bytes"] > 0
        await until(lambda: stage.arm.outcomes["dropped:shutdown"] == 199)
        writer.close()


async def test_arms_of_the_past_are_bounded_and_the_oldest_are_called_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_RETIRED", 2)
    async with running(shadow=silent, deadline_ms=60_000) as stage:
        for number in range(5):
            await stage.get(f"/recommend?user_id={number}")
            await until(lambda number=number: len(stage.shadow.heads) == number + 1)
            stage.server.adopt(with_arm(stage.server.config, concurrency=20 + number))
        assert stage.outcomes == {"dropped:shutdown": 3}
        assert len(stage.server.retired) <= 3


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from((0.0, 0.1, 1 / 3, 0.5, 0.999999, 1.0)))))
def test_counted_shares_stay_exact_through_any_changes(steps: list[tuple[int, float]]) -> None:
    sampler, taken, owed = CounterSampler(0.0), 0, 0
    for requests, fraction in steps:
        sampler = sampler.at(fraction)
        taken += sum(sampler.takes(0) for _ in range(requests))
        owed += requests * round(fraction * BUCKETS)
        assert abs(taken - owed / BUCKETS) <= 0.5


@given(st.lists(st.floats(0, 1), min_size=1), st.integers(0, BUCKETS - 1))
def test_shares_by_user_stay_nested_through_any_changes(fractions: list[float], bucket: int) -> None:
    sampler: Any = None
    taken = []
    for fraction in fractions:
        sampler = sampler_of("hash", fraction, sampler)
        taken.append((fraction, sampler.takes(bucket)))
    assert [took for _, took in sorted(taken)] == sorted(took for _, took in taken)


def test_another_way_of_sampling_starts_anew() -> None:
    assert isinstance(sampler_of("hash", 0.5, CounterSampler(0.5)), HashSampler)
    assert sampler_of("counter", 0.5, HashSampler(0.5)).takes(0)


plans = st.builds(
    Plan,
    kind=st.sampled_from(KINDS) | st.just("plain"),
    user=st.integers(0, USERS - 1),
    arm=st.sampled_from(ARM_FAULTS) | st.just("ok"),
    body=st.sampled_from((0, 1, 100, COPY_BYTES)),
    chunked=st.booleans(),
)
shares = st.sampled_from((0.0, 0.2, 0.7, 1.0))
further = st.fixed_dictionaries(
    {"name": st.sampled_from(("one", "two", "three")), "fraction": shares},
    optional={
        "sampling": st.sampled_from(("hash", "counter")),
        "version": st.sampled_from(("v1", "v2")),
        "concurrency": st.integers(1, 3),
        "queue_bytes": st.sampled_from((6_000, 1 << 20)),
    },
)
changes = st.fixed_dictionaries(
    {
        "fraction": shares,
        "further": st.lists(further, max_size=3, unique_by=lambda arm: str(arm["name"])),
        "mode": st.sampled_from(("mirror", "mirror", "split", "off")),
        "share": shares,
        "cut": st.booleans(),
        "retained": st.integers(1, 12),
    },
    optional={"idle_connections": st.integers(0, 3)},
)


class Changing:
    """Puts one configuration after the other in force, each after so many answers."""

    def __init__(self, stage: Set, steps: list[dict[str, Any]]) -> None:
        self._stage = stage
        self._first = stage.server.config
        self._steps: Iterator[dict[str, Any]] = cycle(steps)
        self._answers = 0
        self._left = 1
        self.found: list[str] = []

    def __call__(self) -> None:
        self._left -= 1
        if not self._left:
            step = next(self._steps)
            self._left = step["retained"]
            with suppress(ValueError):  # another arm whose share lies within the split's
                check(config := self._config(step))
                self._stage.server.adopt(config)
            if step["cut"]:
                self._stage.server.cut()
        self.found += [name for name, arm in self._stage.arms.items() if arm.balance]

    def _config(self, step: dict[str, Any]) -> RouterConfig:
        [first] = self._first.arms
        arms = [msgspec.structs.replace(first, fraction=step["fraction"])]
        arms += [msgspec.structs.replace(first, **arm) for arm in step["further"]]
        primary = self._first.primary
        if "idle_connections" in step:
            primary = msgspec.structs.replace(primary, idle_connections=step["idle_connections"])
        split = Split(arm=arms[-1].name, fraction=step["share"]) if step["mode"] == "split" else None
        return of(self._first, arms=tuple(arms), primary=primary, mode=step["mode"], split=split)


@given(requests=st.lists(plans, min_size=20, max_size=120), steps=st.lists(changes, min_size=1, max_size=8))
@settings(max_examples=60)
async def test_every_account_agrees_through_any_changes_while_requests_run(
    requests: list[Plan], steps: list[dict[str, Any]]
) -> None:
    loop = asyncio.get_running_loop()
    upstreams = [await loop.create_server(lambda mark=mark: Faulty(mark), HOST, 0) for mark in (b"&p=", b"&s=")]
    urls = [f"http://{HOST}:{upstream.sockets[0].getsockname()[1]}" for upstream in upstreams]
    routes = tuple(Route(method=method, path="/recommend") for method in ("GET", "POST"))
    stages: list[Set] = []
    with checking(stages) as found:
        async with running(
            primary_url=urls[0],
            config={"routes": routes, "copy_bytes": COPY_BYTES},
            url=urls[1],
            deadline_ms=50,
            breaker_seconds=0.02,
            breaker_failures=3,
        ) as stage:
            stages.append(stage)
            account = Account(stage.server.config.arms)
            crowd = Crowd(stage.port, iter(requests), account, connections=6)
            crowd.tick = changing = Changing(stage, steps)
            await asyncio.wait_for(crowd.run(), 60)
            await until(lambda: not any(client._exchange for client in stage.server.clients))
            await stage.settled()
            document = stage.server.document()
    assert (found, changing.found, account.lost) == ([], [], [])
    # The first arm was there all the time: it has seen every request. Nobody got an error but who asked for it.
    assert document["arms"]["shadow"]["received"] == account.sent == len(requests)
    assert document["primary"]["errors"] == 0
    for arm in document["arms"].values():
        assert (arm["balance"], arm["in_flight"], arm["queue_bytes"]) == (0, 0, 0)
    logged = Counter((record["arm"], record["outcome"]) for record in stage.collector.records)
    exposed = Counter(each["assigned"] for each in stage.collector.exposures if each["assigned"] != "primary")
    counted = Counter(
        {
            (name, outcome): number
            for name, arm in document["arms"].items()
            for outcome, number in arm["outcomes"].items()
            if number and not outcome.startswith("exposed")
        }
    )
    assert logged == counted
    assert exposed == Counter(
        {
            name: number
            for name, arm in document["arms"].items()
            if (number := arm["outcomes"]["exposed"] + arm["outcomes"]["exposed_error"])
        }
    )
    sequences = sorted(each["sequence"] for each in (*stage.collector.records, *stage.collector.exposures))
    assert sequences == list(range(stage.server.log.numbered))
    assert not any(outcome.startswith(DROPPED + "log") for _, outcome in counted)
    for upstream in upstreams:
        upstream.close()
