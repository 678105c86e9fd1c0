"""The accounting identity at every instant, and the four accounts that must agree: clients, counters, metrics, records.

received = refused + not_eligible + not_sampled + in_flight + Σ outcomes, per arm, whatever fails and whoever leaves.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadow.accounting import RouterCounts, discrepancies, metrics_discrepancies
from shadow.processes import Stage, answers
from shadow.rehearsal import HOST, command
from shadow.router.config import Arm, Primary, Route, RouterConfig
from shadow.router.pairlog import PairLog
from tests.ports import free_port
from tests.shadow.router.faulty import (
    ARM_FAULTS,
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
from tests.shadow.router.harness import KEY, Set, running, until

REQUESTS = int(os.environ.get("UNDERSTUDY_TEST_REQUESTS", "1000000"))
"""Of the long test."""
ROUTES = tuple(Route(method=method, path="/recommend") for method in ("GET", "POST"))

EXPECTED = (
    "paired",
    "arm_error",
    "arm_timeout",
    "client_cancelled",
    "primary_error",
    "dropped:queue_full",
    "dropped:too_large",
    "dropped:breaker_open",
    "dropped:loop",
    "dropped:incomplete",
)
"""What the mixed faults bring about in every run."""

plans = st.builds(
    Plan,
    kind=st.sampled_from(KINDS) | st.just("plain"),
    user=st.integers(0, USERS - 1),
    primary=st.sampled_from(PRIMARY_FAULTS) | st.just("ok"),
    arm=st.sampled_from(ARM_FAULTS) | st.just("ok"),
    body=st.sampled_from((0, 1, 100, COPY_BYTES - 1, COPY_BYTES)),
    chunked=st.booleans(),
)
bursts = st.lists(st.lists(plans, min_size=1, max_size=20), min_size=1, max_size=4)


@contextmanager
def checking(stages: list[Set]) -> Iterator[list[str]]:
    """What is out of balance in `stages` whenever a record is written."""
    found: list[str] = []
    write = PairLog.write

    def checked(log: PairLog, *record: Any) -> None:
        write(log, *record)
        if log.numbered != log.written + log.dropped + len(log._waiting):
            found.append(f"record {log.numbered}: the log is out of balance")
        for stage in stages:
            found.extend(f"record {log.numbered}: {name}" for name, arm in stage.arms.items() if arm.balance)

    with mock.patch.object(PairLog, "write", checked):
        yield found


@given(
    bursts=bursts, queue=st.sampled_from((6_000, 30_000, 1 << 20)), slots=st.integers(1, 4), failures=st.integers(1, 5)
)
@settings(max_examples=60)
async def test_every_account_agrees_after_any_bursts_of_faults_and_clients_that_leave(
    bursts: list[list[Plan]], queue: int, slots: int, failures: int
) -> None:
    loop = asyncio.get_running_loop()
    upstreams = [await loop.create_server(lambda mark=mark: Faulty(mark), HOST, 0) for mark in (b"&p=", b"&s=")]
    urls = [f"http://{HOST}:{upstream.sockets[0].getsockname()[1]}" for upstream in upstreams]
    arm = {"url": urls[1], "queue_bytes": queue, "concurrency": slots, "breaker_failures": failures}
    arms = {"sampled": {"fraction": 0.5}, "counted": {"fraction": 0.3, "sampling": "counter"}}
    stages: list[Set] = []
    with checking(stages) as found:
        async with running(
            primary_url=urls[0],
            arms=arms,
            config={"routes": ROUTES, "copy_bytes": COPY_BYTES},
            deadline_ms=50,
            breaker_seconds=0.02,
            **arm,
        ) as stage:
            stages.append(stage)
            account = Account(stage.server.config.arms)
            for burst in bursts:
                crowd = Crowd(stage.port, iter(burst), account, connections=6)
                crowd.tick = lambda: found.extend(name for name, arm in stage.arms.items() if arm.balance)
                await asyncio.wait_for(crowd.run(), 120)
            await until(lambda: not any(client._exchange for client in stage.server.clients))
            await stage.settled()
            document = stage.server.document()
    assert found == []
    assert account.disagreements(document["arms"]) == []
    logged = Counter((record["arm"], record["outcome"]) for record in stage.collector.records)
    counted = {
        (name, outcome): number
        for name, arm in document["arms"].items()
        for outcome, number in arm["outcomes"].items()
        if number
    }
    assert logged == counted
    assert [record["sequence"] for record in stage.collector.records] == list(range(sum(counted.values())))
    for upstream in upstreams:
        upstream.close()


async def test_an_account_that_is_wrong_is_told() -> None:
    """The check of the check: one request that the clients did not send."""
    async with running(config={"routes": ROUTES}) as stage:
        account = Account(stage.server.config.arms)
        await Crowd(stage.port, iter([Plan(kind="other"), Plan(kind="refused")]), account, 1).run()
        await stage.settled()
        assert account.disagreements(stage.server.document()["arms"]) == []
        await stage.get("/model")
        told = account.disagreements(stage.server.document()["arms"])
        assert told == [
            "shadow: the clients saw 1 × not_eligible, the router counted 2",
            "shadow: the clients sent 2, the router received 3",
        ]


class Household:
    """Router and shipper as processes, upstreams in this one."""

    def __init__(self, stage: Stage, directory: Path, sockets: Path) -> None:
        self.stage, self.directory = stage, directory
        self.socket = sockets / "shipper.sock"
        self.port = free_port((0, 1))

    async def start(self) -> RouterConfig:
        loop = asyncio.get_running_loop()
        self.servers = [await loop.create_server(lambda mark=mark: Faulty(mark), HOST, 0) for mark in (b"&p=", b"&s=")]
        urls = [f"http://{HOST}:{server.sockets[0].getsockname()[1]}" for server in self.servers]
        arm = {"url": urls[1], "version": "v2", "deadline_ms": 300, "breaker_seconds": 0.05}
        arms = (
            Arm(name="shadow", **arm),
            Arm(name="sampled", fraction=0.3, queue_bytes=20_000, concurrency=2, breaker_failures=3, **arm),
            Arm(name="counted", fraction=0.2, sampling="counter", **arm),
        )
        config = RouterConfig(
            experiment="long",
            listen=f"{HOST}:{self.port}",
            admin=f"{HOST}:{self.port + 1}",
            shipper=str(self.socket),
            primary=Primary(url=urls[0], version="v1", deadline_ms=10_000),
            arms=arms,
            routes=ROUTES,
            copy_bytes=COPY_BYTES,
        )
        spool = ("--spool", self.directory / "spool", "--destination", (self.directory / "pairs").as_uri())
        await self._run("shipper", command("shipper", "--socket", self.socket, *spool), self.socket.exists)
        file = self.directory / "router.json"
        file.write_bytes(msgspec.json.encode(config))
        await self._run("router", command("router", "--config", file), lambda: answers(self._admin("/readyz")))
        return config

    async def _run(self, name: str, line: list[str], ready: Any) -> None:
        await asyncio.to_thread(self.stage.start, name, line, ready)

    def _admin(self, path: str) -> str:
        return f"http://{HOST}:{self.port + 1}{path}"

    async def ask(self, path: str) -> bytes:
        def ask() -> bytes:
            with urllib.request.urlopen(self._admin(path), timeout=30) as response:
                return bytes(response.read())

        return await asyncio.to_thread(ask)

    async def counts(self) -> dict[str, Any]:
        """The router's counters at rest."""
        async with asyncio.timeout(60):
            while True:
                text = await self.ask("/counters")
                if msgspec.json.decode(text, type=RouterCounts).settled:
                    return json.loads(text)
                await asyncio.sleep(0.1)

    async def end(self) -> dict[str, Any]:
        """Router, then shipper; what `understudy pairs stats` says."""
        for name in ("router", "shipper"):
            assert await asyncio.to_thread(self.stage.stop, name) == 0
        for server in self.servers:
            server.close()
        line = command("pairs", "stats", self.directory / "pairs", "--json")
        done = await asyncio.to_thread(subprocess.run, line, capture_output=True, check=True)
        return json.loads(done.stdout)


async def accounts_agree(count: int, directory: Path, seed: int) -> list[str]:
    """Run `count` requests with mixed faults through router and shipper; what the accounts disagree in, and figures."""
    environment = os.environ | {"UNDERSTUDY_UNIT_KEY": KEY.decode()}
    with (
        tempfile.TemporaryDirectory(dir="/tmp") as sockets,
        Stage(directory / "logs", environment) as stage,
    ):
        household = Household(stage, directory, Path(sockets))
        config = await household.start()
        account = Account(config.arms)
        crowd = Crowd(household.port, mixed(count, seed), account, connections=48)
        started = time.monotonic()
        running_router = psutil.Process(stage.running[-1].process.pid)
        await crowd.run()
        seconds = time.monotonic() - started
        counts = await household.counts()
        memory = running_router.memory_info().rss
        metrics = (await household.ask("/metrics")).decode()
        stats = await household.end()
    typed = msgspec.convert(counts, RouterCounts, strict=False)
    logged = {arm: values["outcomes"] for arm, values in stats["arms"].items()}
    wrong = account.disagreements(counts["arms"]) + discrepancies(count, typed, logged)
    wrong += metrics_discrepancies(typed, metrics) + stats["problems"]
    print(f"{count:,} requests in {seconds:.0f} s ({count / seconds:,.0f}/s), router {memory / 1e6:.0f} MB, {counts}")
    seen = {outcome for arm in counts["arms"].values() for outcome, number in arm["outcomes"].items() if number}
    return wrong + [f"no {outcome} in the whole run" for outcome in EXPECTED if outcome not in seen]


async def test_clients_counters_metrics_and_records_of_real_processes_agree(tmp_path: Path) -> None:
    assert await accounts_agree(4_000, tmp_path, seed=3) == []


@pytest.mark.long
@pytest.mark.timeout(7_200)
async def test_a_million_requests_with_mixed_faults_are_accounted_for_to_the_last_one(tmp_path: Path) -> None:
    assert await accounts_agree(REQUESTS, tmp_path, seed=7) == []
