"""The routers' configuration server: what it answers and when, and the real router against it as a process."""

from __future__ import annotations

import asyncio
import json
import os
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from shadow.control_contract import Acknowledgement, ArmReport, Report
from shadow.controller import config_server
from shadow.controller.config_server import ConfigServer, Key, Published
from shadow.controller.roster import FORGET_SECONDS
from shadow.processes import Stage, answers
from shadow.rehearsal import HOST, command
from tests.ports import free_port
from tests.shadow.router import harness
from tests.shadow.router.test_process import SECRETS, configuration

KEY = ("shop", "recommender")
TOKEN = b"a-control-token-for-tests"
IN_FORCE_SECONDS = 1.0


def published(generation: int, **config: Any) -> Published:
    return Published(generation, msgspec.json.encode(config), 60.0)


class Desk:
    """A server that runs, and what it told."""

    def __init__(self, token: bytes = b"") -> None:
        self.holds = True
        self.now = 0.0
        self.told: list[Key] = []
        self.urgent: list[bool] = []
        self.server = ConfigServer(token, lambda: self.holds, self._heard, lambda: self.now)
        self.port = 0

    def _heard(self, key: Key, can_wait: bool) -> None:
        self.told.append(key)
        self.urgent.append(not can_wait)

    async def ask(self, session: aiohttp.ClientSession, generation: int = 0, wait: float = 5.0, **more: str) -> Any:
        """(status, the offer or None)."""
        query = {"router": "r1", "incarnation": "i", "generation": str(generation), "wait": str(wait)} | more
        url = f"http://{HOST}:{self.port}/{'/'.join(KEY)}/config"
        async with session.get(url, params=query) as response:
            body = await response.read()
            return response.status, json.loads(body) if response.status == 200 else None

    async def waiting(self, session: aiohttp.ClientSession) -> asyncio.Task[Any]:
        """A question with nothing new to hear, from the moment on when the server knows who asks."""
        asked = asyncio.create_task(self.ask(session, generation=7, wait=30))
        while not self.server.routers(KEY):
            await asyncio.sleep(0.001)
        return asked

    async def acknowledge(self, session: aiohttp.ClientSession, **told: Any) -> int:
        ack = Acknowledgement(**({"router": "r1", "incarnation": "i", "generation": 7, "accepted": True} | told))
        url = f"http://{HOST}:{self.port}/{'/'.join(KEY)}/ack"
        async with session.post(url, data=msgspec.json.encode(ack)) as response:
            return response.status


@asynccontextmanager
async def desk(token: bytes = b"") -> AsyncIterator[tuple[Desk, aiohttp.ClientSession]]:
    found = Desk(token)
    found.port = await found.server.start(HOST, 0)
    async with aiohttp.ClientSession() as session:
        try:
            yield found, session
        finally:
            await found.server.stop()


async def test_a_router_that_has_another_generation_is_answered_at_once() -> None:
    async with desk() as (found, session):
        found.server.publish(KEY, published(7, mode="off"))
        status, offer = await found.ask(session, generation=6)
        assert (status, offer) == (200, {"generation": 7, "lease_seconds": 60.0, "config": {"mode": "off"}})


async def test_a_question_is_kept_until_there_is_something_new() -> None:
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        asked = await found.waiting(session)
        assert not asked.done()
        found.server.publish(KEY, published(8))
        assert (await asked)[1]["generation"] == 8


async def test_a_question_that_has_waited_is_answered_204_and_the_lease_so_renewed() -> None:
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        assert await found.ask(session, generation=7, wait=0.01) == (204, None)


async def test_who_does_not_hold_the_lease_answers_nobody_and_wakes_who_waits() -> None:
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        asked = await found.waiting(session)
        found.holds = False
        found.server.wake()
        assert await asked == (503, None)
        assert (await found.ask(session))[0] == 503


async def test_who_does_not_hold_the_lease_hears_nobody_either() -> None:
    """A router that was counted here would be one that is behind, to an operator that has nothing to say."""
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        found.holds = False
        assert (await found.ask(session, generation=6, wait=0))[0] == 503
        assert await found.acknowledge(session) == 503
        assert (found.server.routers(KEY), found.told) == ({}, [])


@pytest.mark.parametrize("shown", ["", TOKEN[:-1].decode(), TOKEN.decode() + "x", TOKEN.decode().upper()])
async def test_a_part_of_the_token_is_not_the_token(shown: str) -> None:
    async with desk(TOKEN) as (found, session):
        found.server.publish(KEY, published(7))
        for header in ({"Authorization": f"Bearer {shown}"}, {"Authorization": shown}, {}):
            session.headers.clear()
            session.headers.update(header)
            assert (await found.ask(session))[0] == 401
        assert found.server.routers(KEY) == {}
        session.headers["Authorization"] = f"Bearer {TOKEN.decode()}"
        assert (await found.ask(session))[0] == 200


async def test_no_question_is_kept_longer_than_a_minute_whatever_it_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_server, "LONGEST_WAIT_SECONDS", 0.01)
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        assert await found.ask(session, generation=7, wait=1e9) == (204, None)


async def test_a_router_that_began_anew_has_nothing_in_force_yet() -> None:
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        await found.acknowledge(session)
        assert found.server.routers(KEY)["r1"].accepted == 7
        await found.ask(session, generation=0, incarnation="j")
        assert found.server.routers(KEY)["r1"].accepted == 0


async def test_a_router_is_known_from_the_end_of_its_question_on() -> None:
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        asked = await found.waiting(session)
        found.now = FORGET_SECONDS - 1
        found.server.publish(KEY, published(8))
        await asked
        found.now += FORGET_SECONDS - 1
        assert "r1" in found.server.routers(KEY)


async def test_who_waits_for_a_resource_that_goes_is_told_at_once() -> None:
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        asked = await found.waiting(session)
        found.server.withdraw(KEY)
        assert await asked == (503, None)
        assert (await found.ask(session))[0] == 404


def report(pairs: int, features: str = "loaded") -> str:
    arm = ArmReport(arm="shadow", version="v:1", pairs=pairs, features=features)
    return msgspec.json.encode(Report(arms=(arm,))).decode()


async def test_a_report_is_kept_and_counts_alone_can_wait() -> None:
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        for pairs, features in ((1, "loaded"), (1, "loaded"), (2, "loaded"), (2, "missing")):
            await found.ask(session, generation=6, wait=0, report=report(pairs, features))
        assert found.urgent == [True, False, True]
        heard = found.server.routers(KEY)["r1"].report
        assert heard is not None
        assert (heard.arms[0].pairs, heard.arms[0].features) == (2, "missing")


async def test_a_router_without_a_report_or_with_one_that_cannot_be_read_is_answered_all_the_same() -> None:
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        assert (await found.ask(session, generation=6, wait=0))[0] == 200
        assert found.server.routers(KEY)["r1"].report is None
        await found.ask(session, generation=6, wait=0, report=report(3))
        for broken in ("{", '{"arms": [{"arm": 1}]}', '{"arms": [{"arm": "shadow", "version": "v", "pairs": -1}]}'):
            assert (await found.ask(session, generation=6, wait=0, report=broken))[0] == 200
        heard = found.server.routers(KEY)["r1"].report
        assert heard is not None
        assert heard.arms[0].pairs == 3


async def test_a_resource_that_is_unknown_or_gone_is_told_so() -> None:
    async with desk() as (found, session):
        assert (await found.ask(session))[0] == 404
        found.server.publish(KEY, published(7))
        found.server.withdraw(KEY)
        assert (await found.ask(session))[0] == 404


@pytest.mark.parametrize("token", [b"", b"another-token-of-tests"])
async def test_without_the_token_nothing_is_told(token: bytes) -> None:
    async with desk(TOKEN) as (found, session):
        found.server.publish(KEY, published(7))
        session.headers["Authorization"] = f"Bearer {token.decode()}"
        assert (await found.ask(session))[0] == 401
        session.headers["Authorization"] = f"Bearer {TOKEN.decode()}"
        assert (await found.ask(session))[0] == 200


async def test_what_a_router_did_with_an_offer_is_kept_and_told() -> None:
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        assert await found.acknowledge(session, suspended=("aborted",)) == 204
        assert await found.acknowledge(session, router="r2", accepted=False, error="arms.x.url: no") == 204
        routers = found.server.routers(KEY)
        assert (routers["r1"].accepted, routers["r1"].suspended) == (7, ("aborted",))
        assert (routers["r2"].refused, routers["r2"].error) == (7, "arms.x.url: no")
        assert found.told == [KEY, KEY]


async def test_a_router_that_has_the_newest_counts_though_its_word_went_to_an_operator_that_is_dead() -> None:
    """It is not said twice; but one that had refused it has lost its lease, and says that."""
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        await found.ask(session, generation=7, wait=0.01)
        await found.ask(session, generation=7, wait=0.01, router="r2", suspended="lease_expired")
        await found.ask(session, generation=6, wait=0.01, router="r3")
        routers = found.server.routers(KEY)
        assert [routers[name].accepted for name in ("r1", "r2", "r3")] == [7, 0, 0]
        assert found.told == [KEY]


async def test_a_router_that_refused_the_newest_does_not_count_while_its_lease_runs() -> None:
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        await found.acknowledge(session, accepted=False, error="listen: no")
        await found.ask(session, generation=7, wait=0.01)
        assert found.server.routers(KEY)["r1"].accepted == 0


async def test_a_router_that_is_not_heard_any_more_is_forgotten() -> None:
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        await found.ask(session)
        assert found.server.connected == 1
        found.now += FORGET_SECONDS
        assert found.server.connected == 0


async def test_there_is_a_bound_on_routers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config_server, "MOST_ROUTERS", 2)
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        statuses = [(await found.ask(session, router=f"r{number}"))[0] for number in range(3)]
        assert statuses == [200, 200, 503]
        found.now += FORGET_SECONDS
        assert (await found.ask(session, router="r9"))[0] == 200


async def closed(reader: asyncio.StreamReader) -> bool:
    """The other side went away without a word."""
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True


async def test_there_is_a_bound_on_connections_and_one_that_says_nothing_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(config_server, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr(config_server, "HEAD_SECONDS", 0.3)
    async with desk() as (found, _):
        silent, one = await asyncio.open_connection(HOST, found.port)
        refused, other = await asyncio.open_connection(HOST, found.port)
        async with asyncio.timeout(30):
            assert await closed(refused)
            assert found.server.answers["too_many"] == 1
            assert await closed(silent)
        for writer in (one, other):
            writer.close()


@pytest.mark.parametrize("body", [b"", b"{}", b"x" * (config_server.BODY_BYTES + 1)])
async def test_what_is_no_acknowledgement_is_refused(body: bytes) -> None:
    async with desk() as (found, session):
        found.server.publish(KEY, published(7))
        async with session.post(f"http://{HOST}:{found.port}/{'/'.join(KEY)}/ack", data=body) as response:
            assert response.status == 400


def control_of(admin: str) -> Any:
    request = urllib.request.Request(f"http://{admin}/counters")
    request.add_header("Authorization", f"Bearer {SECRETS['UNDERSTUDY_ADMIN_TOKEN']}")
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)["control"]


@pytest.mark.timeout(400)
async def test_a_percent_is_in_force_at_a_real_router_within_a_second(tmp_path: Path) -> None:
    async with desk(TOKEN) as (found, _):
        port = free_port((0, 1, 2, 3))
        admin = f"{HOST}:{port + 1}"

        def give(generation: int, fraction: float) -> None:
            document = configuration(port, Path("/nowhere/shipper.sock"), port + 2, port + 3)
            document["arms"][0]["fraction"] = fraction
            found.server.publish(KEY, published(generation, **document))

        async def in_force(generation: int) -> float:
            started = time.monotonic()
            async with asyncio.timeout(60):
                while (await asyncio.to_thread(control_of, admin))["generation"] != generation:
                    await asyncio.sleep(0.005)
            return time.monotonic() - started

        url = f"http://{HOST}:{found.port}/{'/'.join(KEY)}"
        line = command("router", "--config-server", url, "--name", "r", "--admin", admin, "--state", tmp_path)
        give(1_700_000_000_000, 0.0)
        environment = os.environ | SECRETS | {"UNDERSTUDY_CONTROL_TOKEN": TOKEN.decode()}
        with Stage(tmp_path / "logs", environment) as stage:
            await asyncio.to_thread(stage.start, "router", line, lambda: answers(f"http://{admin}/readyz"), 120.0)
            took = []
            for number in range(1, 11):
                give(1_700_000_000_000 + number, number / 10)
                took.append(await in_force(1_700_000_000_000 + number))
            while found.server.routers(KEY)["r"].accepted != 1_700_000_000_010:
                await asyncio.sleep(0.01)
            give(1_700_000_000_011, 2.0)
            while not found.server.routers(KEY)["r"].error:
                await asyncio.sleep(0.01)
            assert "fraction" in found.server.routers(KEY)["r"].error
        print(f"a percent in force: median {sorted(took)[5]:.3f} s, longest {max(took):.3f} s")
        assert sorted(took)[len(took) // 2] < IN_FORCE_SECONDS


@pytest.mark.timeout(400)
async def test_a_new_router_serves_from_its_seed_while_the_operator_is_dead_and_copies_when_it_is_heard(
    tmp_path: Path,
) -> None:
    primary, shadow = harness.Upstream(harness.echo), harness.Upstream(harness.echo)
    for each in (primary, shadow):
        await each.start()
    port = free_port((0, 1, 2))
    admin = f"{HOST}:{port + 1}"
    document = configuration(port, Path("/nowhere/shipper.sock"), primary.port, shadow.port)
    (tmp_path / "router.json").write_text(json.dumps(document))
    (tmp_path / "state").mkdir()
    url = f"http://{HOST}:{port + 2}/{'/'.join(KEY)}"
    line = command(
        *("router", "--config-server", url, "--name", "r", "--admin", admin, "--state", tmp_path / "state"),
        *("--seed", tmp_path / "router.json"),
    )

    async def ask(user: int) -> bytes:
        reader, writer = await asyncio.open_connection(HOST, port)
        writer.write(harness.request(f"/recommend?user_id={user}"))
        status, _, body = await harness.read_answer(reader)
        writer.close()
        assert status == 200
        return body

    with Stage(tmp_path / "logs", os.environ | SECRETS) as stage:
        await asyncio.to_thread(stage.start, "router", line, lambda: answers(f"http://{admin}/readyz"), 120.0)
        for user in range(20):
            assert b"/recommend" in await ask(user)
        control = await asyncio.to_thread(control_of, admin)
        assert (control["source"], control["suspended"], shadow.heads) == ("seed", ["lease_expired"], [])

        desk = Desk()
        desk.server.publish(KEY, published(1_700_000_000_000, **document))
        await desk.server.start(HOST, port + 2)
        async with asyncio.timeout(60):
            while not shadow.heads:
                await ask(1)
        assert (await asyncio.to_thread(control_of, admin))["source"] == "server"
        await desk.server.stop()
    for each in (primary, shadow):
        await each.stop()
