"""A configuration that comes from a server: in force, acknowledged, refused; and what happens while it is away."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadow.control_contract import Offer
from shadow.router import first_config, polling
from shadow.router.config import ConfigError
from shadow.router.control import Control
from shadow.router.first_config import First, Waiting, first_of
from shadow.router.last_good import FILE, Keeper, LastGood
from shadow.router.polling import Caller, Poller, ServerError, backoff
from tests.shadow.router.config_server import ConfigServer
from tests.shadow.router.harness import Set, running, silent, until


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "PACE_SECONDS", 0.01)
    monkeypatch.setattr(first_config, "PACE_SECONDS", 0.01)
    monkeypatch.setattr(polling, "BACKOFF_SECONDS", (0.01, 0.05))


class Polled:
    """A router, its server, and the poller between them."""

    def __init__(self, stage: Set, server: ConfigServer, directory: Path) -> None:
        self.stage, self.server = stage, server
        self.control: Control = stage.server.control
        self.keeper = Keeper(directory, lambda text: self.troubles.append(text))
        self.troubles: list[str] = []
        self.kept = directory / FILE

    def config(self, **changes: Any) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.control.text)
        return document | changes

    async def in_force(self, generation: int) -> None:
        await until(lambda: self.control.generation == generation and self.server.acknowledged)


@asynccontextmanager
async def polled(directory: Path, lease_seconds: float = 60.0, **settings: Any) -> AsyncIterator[Polled]:
    server = ConfigServer(lease_seconds)
    await server.start()
    async with running(**settings) as stage:
        each = Polled(stage, server, directory)
        caller = Caller(server.url, "router-0", "an-incarnation", b"a-token-for-tests-only")
        task = asyncio.create_task(Poller(caller, each.keeper, each.control, 0, lease_seconds).run())
        try:
            yield each
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            each.control.end_lease()
            caller.close()
            await server.stop()


async def test_a_new_generation_is_in_force_with_the_next_request_and_is_acknowledged(tmp_path: Path) -> None:
    async with polled(tmp_path) as each:
        for number, fraction in enumerate((0.0, 1.0, 0.0), 1):
            config = each.config()
            config["arms"][0]["fraction"] = fraction
            each.server.give(config)
            await until(lambda number=number: len(each.server.acknowledged) == number)
            await each.stage.get("/recommend?user_id=1")
        await each.stage.settled()
        assert (each.stage.arm.not_sampled, each.stage.outcomes) == (2, {"paired": 1})
        told = each.server.acknowledged[-1]
        assert (told.router, told.incarnation, told.generation, told.accepted) == (
            "router-0",
            "an-incarnation",
            3,
            True,
        )
        assert each.server.asked[0]["generation"] == "0"
        assert each.server.tokens == {"bearer a-token-for-tests-only"}
        assert (each.control.source, each.stage.primary.connections) == ("server", 1)


async def test_a_bad_one_is_refused_by_its_field_and_the_one_before_stays_until_its_lease_runs_out(
    tmp_path: Path,
) -> None:
    async with polled(tmp_path, lease_seconds=1.0) as each:
        each.server.give(each.config())
        await each.in_force(1)
        each.server.give(each.config(listen="127.0.0.1:1"))
        await until(lambda: len(each.server.acknowledged) == 2)
        refused = each.server.acknowledged[1]
        assert (refused.generation, refused.accepted) == (2, False)
        assert "listen: a running router cannot change it" in refused.error
        assert (each.control.generation, each.stage.server.config.mode) == (1, "mirror")
        # It is not offered again, and nobody stands by the one in force any more.
        await until(lambda: each.server.asked[-1]["generation"] == "2")
        await until(lambda: each.control.suspended == {"lease_expired"})
        assert each.control.document()["error"]["kind"] == "refused"
        each.server.give(each.config())
        await until(lambda: not each.control.suspended)
        assert (each.control.generation, each.control.document()["error"]) == (3, None)


async def test_while_the_server_is_away_all_stays_until_the_lease_runs_out_and_comes_back_with_it(
    tmp_path: Path,
) -> None:
    async with polled(tmp_path, lease_seconds=1.5, shadow=silent, deadline_ms=60_000) as each:
        each.server.give(each.config())
        await each.in_force(1)
        await each.server.stop()
        await until(lambda: each.control.troubles["unreachable"] > 1)
        await each.stage.get("/recommend?user_id=1")
        assert (each.stage.arm.in_flight, each.control.suspended) == (1, frozenset())
        await until(lambda: each.control.suspended)
        assert (each.stage.server.config.mode, each.control.lease_expirations) == ("off", 1)
        assert (each.control.lease_seconds_left, each.control.config.mode) == (0.0, "mirror")
        assert (await each.stage.get("/recommend?user_id=1"))[0] == 200
        assert each.stage.arm.not_sampled == 1
        await until(lambda: each.stage.outcomes == {"dropped:shutdown": 1})
        await each.server.start()
        await until(lambda: not each.control.suspended)
        assert each.stage.server.config.mode == "mirror"
        await until(lambda: each.control.document()["error"] is None)


async def test_an_answer_without_a_new_generation_renews_the_lease(tmp_path: Path) -> None:
    async with polled(tmp_path, lease_seconds=2.0) as each:
        each.server.give(each.config())
        await each.in_force(1)
        for _ in range(3):
            handle = each.control._expiry
            await until(lambda handle=handle: each.control._expiry is not handle)
        assert {float(asked["wait"]) for asked in each.server.asked} == {0.667}
        assert each.control.lease_expirations == 0


BROKEN = [
    (b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n", "status"),
    (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", "status"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{", "garbage"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "garbage"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n\xff\xfe", "garbage"),
    (b'HTTP/1.1 200 OK\r\ncontent-length: 47\r\n\r\n{"generation":0,"lease_seconds":1,"config":null}', "garbage"),
    (b"\x00\x01 no HTTP\r\n\r\n", "unreachable"),
    (b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n" + b" " * 3_000_000, "unreachable"),
]


@pytest.mark.parametrize(("answer", "kind"), BROKEN)
async def test_a_server_that_answers_wrongly_changes_nothing_and_is_heard_again_when_it_does_right(
    tmp_path: Path, answer: bytes, kind: str
) -> None:
    async with polled(tmp_path) as each:
        each.server.broken = answer
        await until(lambda: each.control.troubles[kind] > 1)
        assert (each.control.generation, each.control.source) == (1, "file")
        each.server.broken = None
        each.server.generation = 6
        each.server.give(each.config(copy_bytes=7))
        await until(lambda: each.stage.server.config.copy_bytes == 7)
        assert each.control.generation == 7


async def test_a_server_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "SLACK_SECONDS", 0.05)
    monkeypatch.setattr(polling, "WAIT_SECONDS", 0.05)
    async with polled(tmp_path) as each:
        each.server.broken = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"
        await until(lambda: each.control.troubles["unreachable"] > 1)


async def test_a_server_that_takes_no_acknowledgement_can_still_change_the_configuration(tmp_path: Path) -> None:
    async with polled(tmp_path) as each:
        each.server.ack_broken = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"
        for copy_bytes in (1, 2):
            each.server.give(each.config(copy_bytes=copy_bytes))
            await until(lambda copy_bytes=copy_bytes: each.stage.server.config.copy_bytes == copy_bytes)
        await until(lambda: each.control.troubles["status"] > 0)
        each.server.ack_broken = None
        each.server.give(each.config(copy_bytes=3))
        await until(lambda: each.server.acknowledged and each.server.acknowledged[-1].generation == 3)


async def test_an_abort_by_hand_outlasts_what_the_server_says_and_the_server_is_told(tmp_path: Path) -> None:
    async with polled(tmp_path, lease_seconds=1.0) as each:
        each.server.give(each.config())
        await each.in_force(1)
        each.control.abort()
        each.server.give(each.config(copy_bytes=9))
        await until(lambda: each.stage.server.config.copy_bytes == 9)
        assert each.stage.server.config.mode == "off"
        await until(lambda: each.server.asked[-1]["suspended"] == "aborted")
        await until(lambda: each.kept.exists() and b'"aborted":true' in each.kept.read_bytes())
        each.control.resume()
        # At once, unless its short lease has just run out: then with the next answer.
        await until(lambda: each.stage.server.config.mode == "mirror")
        await until(lambda: b'"aborted":false' in each.kept.read_bytes())


async def test_the_last_good_one_is_kept_whole_and_for_the_owner_alone(tmp_path: Path) -> None:
    async with polled(tmp_path) as each:
        each.server.give(each.config(copy_bytes=11))
        await until(each.kept.exists)
        assert stat.S_IMODE(each.kept.stat().st_mode) == 0o600
        kept = each.keeper.read()
        assert kept is not None
        assert (kept.generation, json.loads(bytes(kept.config))["copy_bytes"], kept.lease_seconds) == (1, 11, 60.0)
        before = each.kept.read_bytes()
        each.server.give({"experiment": "other"})
        await until(lambda: len(each.server.acknowledged) == 2)
        assert each.kept.read_bytes() == before
        await until(lambda: [path.name for path in tmp_path.iterdir()] == [FILE])


async def test_a_disk_that_fails_costs_only_the_copy(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    async with polled(gone) as each:
        each.server.give(each.config(copy_bytes=12))
        await until(lambda: each.stage.server.config.copy_bytes == 12)
        await until(lambda: each.troubles)
        assert str(gone) in each.troubles[0]


@given(st.integers(-10_000_000, 200_000_000), st.floats(1, 100))
def test_a_clock_that_was_turned_back_gives_no_more_than_one_lease(late_us: int, lease: float) -> None:
    kept = LastGood(generation=1, lease_seconds=lease, expires_us=1_000_000_000, config=msgspec.Raw(b"{}"))
    left = kept.seconds_left(1_000_000_000 - late_us)
    assert left == min(max(late_us / 1e6, 0), lease)


@given(st.integers(0, 10_000))
def test_pauses_after_failures_are_bounded(failures: int) -> None:
    assert 0 < backoff(failures) <= 1.5 * polling.BACKOFF_SECONDS[1]


@pytest.mark.parametrize("url", ["https://h:1", "h:1", "http://", "http://h:1/?a=b"])
async def test_an_address_of_a_server_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="--config-server"):
        Caller(url, "a", "b")


# --- the first configuration ------------------------------------------------------------------------------------------

ADMIN = "127.0.0.1:8701"
CONFIG: dict[str, Any] = {
    "experiment": "demo",
    "listen": "127.0.0.1:8700",
    "admin": ADMIN,
    "shipper": "/run/shipper.sock",
    "primary": {"url": "http://127.0.0.1:8711"},
}


def keep(directory: Path, **changes: Any) -> None:
    good = {"generation": 4, "lease_seconds": 60.0, "expires_us": 0, "config": CONFIG} | changes
    (directory / FILE).write_bytes(msgspec.json.encode(good))


@asynccontextmanager
async def starting(
    directory: Path, server: ConfigServer, seed: Path | None = None
) -> AsyncIterator[tuple[asyncio.Task[First], Waiting]]:
    waiting = Waiting()
    caller = Caller(server.url, "router-0", "an-incarnation")
    keeper = Keeper(directory, waiting.trouble)
    task = asyncio.create_task(first_of(caller, keeper, ADMIN, waiting, seed))
    try:
        yield task, waiting
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        caller.close()


@pytest.fixture
async def server() -> AsyncIterator[ConfigServer]:
    each = ConfigServer()
    await each.start()
    yield each
    await each.stop()


async def test_the_servers_configuration_comes_before_that_of_the_disk(tmp_path: Path, server: ConfigServer) -> None:
    keep(tmp_path)
    server.generation = 8
    server.give(CONFIG | {"copy_bytes": 5})
    async with starting(tmp_path, server) as (task, _):
        first = await asyncio.wait_for(task, 60)
    assert (first.source, first.generation, first.config.copy_bytes, first.seconds_left) == ("server", 9, 5, 60.0)


async def test_an_abort_by_hand_outlasts_a_restart_though_the_server_answers(
    tmp_path: Path, server: ConfigServer
) -> None:
    keep(tmp_path, aborted=True)
    server.give(CONFIG)
    async with starting(tmp_path, server) as (task, _):
        first = await asyncio.wait_for(task, 60)
    assert (first.source, first.aborted) == ("server", True)


async def test_without_a_server_the_last_good_one_is_taken_with_what_is_left_of_its_lease(
    tmp_path: Path, server: ConfigServer
) -> None:
    await server.stop()
    keep(tmp_path, aborted=True)
    async with starting(tmp_path, server) as (task, _):
        first = await asyncio.wait_for(task, 60)
    assert (first.source, first.generation, first.seconds_left, first.aborted) == ("disk", 4, 0.0, True)


def seeded(directory: Path, **changes: Any) -> Path:
    path = directory / "seed.json"
    path.write_bytes(msgspec.json.encode(CONFIG | changes))
    return path


async def test_without_a_server_and_a_copy_the_seed_is_taken_without_a_lease(
    tmp_path: Path, server: ConfigServer
) -> None:
    await server.stop()
    async with starting(tmp_path, server, seeded(tmp_path, copy_bytes=7)) as (task, _):
        first = await asyncio.wait_for(task, 60)
    assert (first.source, first.generation, first.seconds_left) == ("seed", 0, 0.0)
    assert first.config.copy_bytes == 7


async def test_an_abort_by_hand_outlasts_a_restart_with_the_seed_though_the_disks_copy_cannot_be_used(
    tmp_path: Path, server: ConfigServer
) -> None:
    await server.stop()
    keep(tmp_path, aborted=True, config=CONFIG | {"admin": "127.0.0.1:1"})
    async with starting(tmp_path, server, seeded(tmp_path)) as (task, _):
        first = await asyncio.wait_for(task, 60)
    assert (first.source, first.aborted) == ("seed", True)


async def test_the_last_good_one_comes_before_the_seed_and_the_server_before_both(
    tmp_path: Path, server: ConfigServer
) -> None:
    keep(tmp_path)
    server.give(CONFIG)
    async with starting(tmp_path, server, seeded(tmp_path)) as (task, _):
        assert (await asyncio.wait_for(task, 60)).source == "server"
    await server.stop()
    async with starting(tmp_path, server, seeded(tmp_path)) as (task, _):
        assert (await asyncio.wait_for(task, 60)).source == "disk"


@pytest.mark.parametrize("changes", [None, {"admin": "127.0.0.1:1"}, {"speed": 1}])
async def test_a_seed_that_cannot_be_used_is_told_and_the_server_waited_for(
    tmp_path: Path, server: ConfigServer, changes: dict[str, Any] | None
) -> None:
    await server.stop()
    seed = tmp_path / "seed.json" if changes is None else seeded(tmp_path, **changes)
    async with starting(tmp_path, server, seed) as (task, waiting):
        await until(lambda: str(seed) in waiting.error)
        assert not task.done()
        await server.start()
        server.give(CONFIG)
        assert (await asyncio.wait_for(task, 60)).source == "server"


async def test_an_abort_before_the_server_was_heard_keeps_no_lease_that_nobody_gave(tmp_path: Path) -> None:
    async with polled(tmp_path) as each:
        await each.server.stop()
        each.control.expire()
        each.control.abort()
        await until(each.kept.exists)
        assert (kept := each.keeper.read()) is not None
        assert kept.seconds_left(time.time_ns() // 1000) == 0.0


@pytest.mark.parametrize(
    "kept", [None, b"", b"{}", b"\xff", msgspec.json.encode({"generation": 1, "lease_seconds": 1, "expires_us": 1})]
)
async def test_without_a_server_and_a_usable_copy_the_router_waits_and_says_for_what(
    tmp_path: Path, server: ConfigServer, kept: bytes | None
) -> None:
    await server.stop()
    if kept is not None:
        (tmp_path / FILE).write_bytes(kept)
    async with starting(tmp_path, server) as (task, waiting):
        await until(lambda: server.url in waiting.error)
        assert waiting.unready().startswith("no configuration yet: ")
        assert not task.done()
        await server.start()
        server.give(CONFIG)
        assert (await asyncio.wait_for(task, 60)).source == "server"


@pytest.mark.parametrize(
    ("change", "field"), [({"admin": "127.0.0.1:1"}, "admin"), ({"mode": "split"}, "split"), ({"speed": 1}, "speed")]
)
async def test_a_first_configuration_that_is_bad_is_refused_by_its_field_and_the_last_good_one_taken(
    tmp_path: Path, server: ConfigServer, change: dict[str, Any], field: str
) -> None:
    keep(tmp_path)
    server.give(CONFIG | change)
    async with starting(tmp_path, server) as (task, _):
        assert (await asyncio.wait_for(task, 60)).source == "disk"
    [told] = server.acknowledged
    assert (told.accepted, field in told.error) == (False, True)


async def test_a_first_configuration_that_is_bad_is_named_by_field_and_remedy_until_a_good_one_comes(
    tmp_path: Path, server: ConfigServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is on the disk; the server has nothing newer, then goes away, then comes back with a good one."""
    monkeypatch.setattr(first_config, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(first_config, "STILL_SECONDS", 0.05)
    server.give(CONFIG | {"speed": 1})
    async with starting(tmp_path, server) as (task, waiting):
        await until(lambda: len(server.asked) >= 4)
        for told in (waiting.unready(), waiting.document()["error"]):
            assert "`speed`" in told
            assert "The fields here are: experiment" in told
            assert "no configuration for the router" not in told
        still = [each.getMessage() for each in caplog.records if each.getMessage().startswith("still not ready")]
        assert all("`speed`" in each for each in still)
        assert len(still) > 1
        await server.stop()
        await until(lambda: "unreachable" in waiting.error or "refused" in waiting.error)
        assert "`speed`" in waiting.error
        await server.start()
        await until(lambda: "refused" not in waiting.error)
        assert "`speed`" in waiting.error
        server.give(CONFIG | {"admin": "127.0.0.1:1"})
        await until(lambda: "admin: '127.0.0.1:1'" in waiting.error)
        assert "`speed`" not in waiting.error
        server.give(CONFIG)
        assert (await asyncio.wait_for(task, 60)).generation == 3
    assert [(each.generation, each.accepted) for each in server.acknowledged] == [(1, False), (2, False)]


async def test_the_refusal_of_a_first_configuration_is_told_the_server_until_it_hears_it(
    tmp_path: Path, server: ConfigServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_config, "WAIT_SECONDS", 0.05)
    server.ack_broken = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"
    server.give(CONFIG | {"speed": 1})
    async with starting(tmp_path, server) as (_, waiting):
        await until(lambda: "503" in waiting.error)
        assert "`speed`" in waiting.error
        server.ack_broken = None
        await until(lambda: server.acknowledged)
        await until(lambda: "503" not in waiting.error)
        assert "`speed`" in waiting.error
    assert {(each.generation, each.accepted) for each in server.acknowledged} == {(1, False)}


async def test_a_bad_first_configuration_and_a_bad_copy_on_disk_are_both_told(
    tmp_path: Path, server: ConfigServer
) -> None:
    keep(tmp_path, config=CONFIG | {"admin": "127.0.0.1:1"})
    server.give(CONFIG | {"speed": 1})
    async with starting(tmp_path, server) as (_, waiting):
        await until(lambda: "`speed`" in waiting.error and "the last good configuration: admin" in waiting.error)


async def test_a_server_that_knows_nothing_of_this_router_is_asked_again(tmp_path: Path, server: ConfigServer) -> None:
    async with starting(tmp_path, server) as (task, waiting):
        await until(lambda: "no configuration for the router 'router-0'" in waiting.error)
        server.give(CONFIG)
        assert (await asyncio.wait_for(task, 60)).generation == 1


def test_an_offer_may_say_more_than_this_version_knows() -> None:
    text = b'{"generation": 1, "lease_seconds": 2, "config": {}, "later": true}'
    assert msgspec.json.decode(text, type=Offer).generation == 1


def test_errors_of_the_two_kinds_are_told_apart() -> None:
    assert not issubclass(ServerError, ConfigError)
    assert os.path.basename(FILE) == FILE
