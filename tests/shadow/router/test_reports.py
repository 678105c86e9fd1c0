"""What a router tells its server of itself: pairs by version, what bentos say of their features, the last counts."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from shadow.control_contract import MOST_TOLD, Report
from shadow.router.counters import MOST_VERSIONS, ArmCounters
from shadow.router.last_good import Keeper
from shadow.router.polling import Caller, Poller
from shadow.router.reports import Reporter, features_of
from tests.shadow.router.config_server import ConfigServer
from tests.shadow.router.harness import Set, Upstream, reply, running, target_of

MODEL = {"name": "m", "version": "1", "bento": "reco:1", "registry": {"state": "off"}}


class Bento:
    """Answers; `/model` with what it is told, None: not at all."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.asked = 0

    async def __call__(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if target_of(head) != "/model":
            writer.write(reply("{}"))
            return True
        self.asked += 1
        if self.model is None:
            writer.write(reply("{}", "404 Not Found"))
        else:
            writer.write(reply(self.model if isinstance(self.model, str) else json.dumps(self.model)))
        return True


def pairs(report: Report) -> dict[tuple[str, str], int]:
    return {(arm.arm, arm.version): arm.pairs for arm in report.arms}


def version_of(stage: Set) -> str:
    return stage.server.control.config.arms[0].version


async def changed(stage: Set, version: str) -> None:
    config = json.loads(stage.server.control.text)
    config["arms"][0]["version"] = version
    stage.server.control.offer(json.dumps(config).encode(), "admin", "test")


async def test_pairs_are_told_by_version_and_only_pairs() -> None:
    async with running() as stage:
        reporter, first = Reporter(stage.server), version_of(stage)
        for number in range(3):
            await stage.get(f"/recommend?user_id={number}")
        await stage.settled()
        assert pairs(reporter.report())["shadow", first] == 3
        await changed(stage, "second:2")
        assert pairs(reporter.report()) | {("shadow", "second:2"): 0, ("shadow", first): 3} == pairs(reporter.report())
        await stage.get("/recommend?user_id=1")
        await stage.get("/not/copied")
        await stage.settled()
        found = reporter.report()
        assert (pairs(found)["shadow", "second:2"], pairs(found)["shadow", first]) == (1, 3)
        assert [arm.arm for arm in found.arms][:2] == ["primary", "shadow"]


async def test_what_is_no_pair_is_told_as_none() -> None:
    async def hangs(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        await asyncio.sleep(30)
        return False

    async with running(shadow=hangs, deadline_ms=20) as stage:
        await stage.get("/recommend?user_id=1")
        await stage.settled()
        assert stage.outcomes == {"arm_timeout": 1}
        assert pairs(Reporter(stage.server).report())["shadow", version_of(stage)] == 0


def test_versions_are_bounded_and_the_oldest_goes() -> None:
    arm = ArmCounters()
    for number in range(MOST_VERSIONS + 3):
        arm.begin()
        arm.decide("paired", f"v:{number}")
    assert list(arm.pairs) == [f"v:{number}" for number in range(3, MOST_VERSIONS + 3)]


async def test_a_report_is_bounded() -> None:
    async with running() as stage:
        stage.arm.pairs |= {f"v:{number}": number for number in range(1, 40)}
        found = Reporter(stage.server).report()
        assert len(found.arms) == MOST_TOLD
        assert pairs(found)["shadow", "v:39"] == 39


async def test_features_are_what_each_bento_says() -> None:
    primary, shadow = Bento(None), Bento(None)
    async with running(primary=primary, shadow=shadow) as stage:
        config = stage.server.control.config
        for bento, version, state in (
            (primary, config.primary.version, "loaded"),
            (shadow, config.arms[0].version, "missing"),
        ):
            bento.model = MODEL | {"bento": version, "features": {"state": state, "users": 1}}
        reporter = Reporter(stage.server)
        assert [arm.features for arm in reporter.report().arms] == ["", ""]
        await reporter.ask()
        assert [(arm.arm, arm.features) for arm in reporter.report().arms] == [
            ("primary", "loaded"),
            ("shadow", "missing"),
        ]
        # Nobody has asked the next one yet.
        await changed(stage, "second:2")
        assert [arm.features for arm in reporter.report().arms][:2] == ["loaded", ""]
        await reporter.ask()
        assert [arm.features for arm in reporter.report().arms][:2] == ["loaded", "other"]
        stage.server.control.suspend("aborted")
        before = (primary.asked, shadow.asked)
        await reporter.ask()
        assert (primary.asked, shadow.asked) == (before[0] + 1, before[1])
        assert stage.arm.received == 0  # a question of the router's own is nobody's request


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (None, "unknown"),
        ("no JSON", "unknown"),
        ([], "unknown"),
        (MODEL, "unknown"),
        (MODEL | {"features": {"state": "a word of later"}}, "unknown"),
        (MODEL | {"features": {"state": "loaded", "users": 3}}, "loaded"),
        (MODEL | {"bento": "else:1", "features": {"state": "loaded"}}, "other"),
        ({"features": {"state": "missing"}}, "missing"),
    ],
)
async def test_what_an_upstream_says_is_taken_as_far_as_it_is_understood(model: Any, found: str) -> None:
    upstream = Upstream(Bento(model))
    await upstream.start()
    try:
        assert await features_of(f"http://127.0.0.1:{upstream.port}", "", "reco:1") == found
    finally:
        await upstream.stop()


async def test_a_bento_that_is_not_there_is_unknown() -> None:
    assert await features_of("http://127.0.0.1:9", "", "reco:1") == "unknown"


async def test_the_report_goes_with_every_question_and_the_last_counts_at_the_end(tmp_path: Any) -> None:
    server = ConfigServer()
    await server.start()
    async with running() as stage:
        caller = Caller(server.url, "router-0", "an-incarnation")
        reporter = Reporter(stage.server)
        server.give(json.loads(stage.server.control.text))
        keeper = Keeper(tmp_path, lambda _: None)
        poller = Poller(caller, keeper, stage.server.control, 0, 60.0, reporter.text)
        task = asyncio.create_task(poller.run())
        async with asyncio.timeout(60):
            while len(server.asked) < 2:  # the second question is kept
                await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await stage.get("/recommend?user_id=1")
        await stage.settled()
        await poller.farewell()
        told = [pairs(msgspec.json.decode(each["report"], type=Report)) for each in server.asked]
        assert [each["shadow", version_of(stage)] for each in told] == [0, 0, 1]
        assert server.asked[-1]["wait"] == "0.000"
        await server.stop()
        await poller.farewell()  # nobody hears it: no error
        stage.server.control.end_lease()
        caller.close()
