"""Every way in which Redis can fail a read: a labelled answer about the deadline, a count, recovery without restart.

The bound is ten deadlines of 50 ms, because the machine may be busy; what is tested is that no read waits for Redis.
All servers are real. `tests/bentos/test_feature_deadlines.py` holds the deadline to 10 µs.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
import redis

from bentos.bundle import Bundle
from bentos.feature_lane import LaneError
from bentos.feature_lanes import Lanes
from bentos.feature_loading import connected, load_vectors
from bentos.feature_store import RedisFeatureStore
from bentos.features import Features, Missing, seen_key
from tests.bentos.clock import StillLoop, run_still
from tests.bentos.conftest import RedisServer
from tests.bentos.proxy import Proxy
from tests.bentos.test_feature_store import opened, quiet, until_read

DEADLINE = 0.05
LONGEST = 60 * DEADLINE
"""Seconds; a read that heard no deadline would wait for ever, and a busy machine may stop for a second."""


@pytest.fixture
async def store(redis_server: RedisServer, bundle: Bundle) -> AsyncIterator[RedisFeatureStore]:
    load(redis_server.url, bundle)
    async with opened(redis_server.url, bundle, DEADLINE) as store:
        await until_read(store)
        yield store


def load(url: str, bundle: Bundle) -> None:
    with connected(url) as client:
        load_vectors(client, bundle, quiet)
        client.set(seen_key("u0000"), "i0001")


async def fault(store: RedisFeatureStore) -> str:
    """The fault of one read, which was bounded and counted; "" when there was none."""
    before = store.state.faults
    started = time.monotonic()
    found = await store.read("u0000")
    assert time.monotonic() - started < LONGEST
    if isinstance(found, Features):
        assert store.state.faults == before
        return ""
    assert store.state.faults[found.fault] == before.get(found.fault, 0) + 1
    return found.fault


async def faults(store: RedisFeatureStore, number: int = 20) -> set[str]:
    """The faults of some reads in turn."""
    return {await fault(store) for _ in range(number)}


async def test_a_killed_redis_is_unreachable_and_comes_back(
    store: RedisFeatureStore, redis_server: RedisServer, bundle: Bundle
) -> None:
    redis_server.kill()
    assert await faults(store) == {"unreachable"}
    redis_server.start()
    load(redis_server.url, bundle)
    assert (await until_read(store)).seen == {"i0001"}
    assert await fault(store) == ""


async def test_a_redis_that_was_restarted_between_two_reads_is_no_fault(
    store: RedisFeatureStore, redis_server: RedisServer
) -> None:
    redis_server.stop()
    redis_server.start()
    # The connections have been closed while nobody asked; Redis is empty now. Lateness is of this machine.
    assert await faults(store) <= {"", "timeout"}
    assert (await until_read(store)).vector is None


async def test_a_redis_that_is_away_is_not_asked_for_every_read(
    store: RedisFeatureStore, redis_server: RedisServer
) -> None:
    redis_server.stop()
    before = store.state.lanes
    assert await faults(store, 2_000) == {"unreachable"}
    after = store.state.lanes
    # Pauses double from 50 ms: in a minute two connections try less than 80 times in all.
    assert after.connects - before.connects < 80
    assert after.batches - before.batches <= 2


def test_attempts_to_connect_come_after_pauses_that_double_and_differ() -> None:
    """In milliseconds of a clock of the test's own; nothing listens at port 1."""
    count, attempts = 20, list[int]()

    async def scenario(loop: StillLoop) -> None:
        lanes = Lanes("redis://127.0.0.1:1/0", count, DEADLINE)
        assert not await lanes.connect(0)
        for moment in range(310):
            attempts.extend([moment] * (lanes.state.connects - len(attempts)))
            await loop.wait(1)
        await lanes.close()

    run_still(scenario)
    first, second, third = (attempts[start : start + count] for start in (0, count, 2 * count))
    assert set(first) <= {0, 1}
    assert 50 <= min(second) < max(second) <= 103
    assert 150 <= min(third) < max(third) <= 306
    assert len(set(second)) > count // 4


def test_pauses_between_attempts_grow_to_two_seconds_and_no_further() -> None:
    attempts = list[int]()

    async def scenario(loop: StillLoop) -> None:
        lanes = Lanes("redis://127.0.0.1:1/0", 1, DEADLINE)
        assert not await lanes.connect(0)
        for moment in range(0, 30_000, 20):
            attempts.extend([moment] * (lanes.state.connects - len(attempts)))
            await loop.wait(20)
        await lanes.close()

    run_still(scenario)
    pauses = [later - earlier for earlier, later in pairwise(attempts)]
    assert max(pauses) <= 2_040
    assert all(each >= 960 for each in pauses[6:])


async def test_a_question_under_which_connections_break_is_repeated_once() -> None:
    asked = list[bytes]()

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if b"PING" not in data:
                asked.append(data)
                break
            writer.write(b"+PONG\r\n")
        writer.close()

    async with await asyncio.start_server(break_off, "127.0.0.1", 0) as server:
        lanes = Lanes(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", 1, 5.0)
        with pytest.raises(LaneError, match="unreachable"):
            await lanes.ask((("GET", "a"),))
        await lanes.close()
    assert len(asked) == 2


async def test_a_frozen_redis_is_late_for_all_and_comes_back(
    store: RedisFeatureStore, redis_server: RedisServer
) -> None:
    with redis_server.frozen():
        assert await faults(store) == {"timeout"}
    await until_read(store)
    assert await fault(store) == ""


async def test_a_redis_that_stays_frozen_is_given_up_and_comes_back(
    store: RedisFeatureStore, redis_server: RedisServer
) -> None:
    with redis_server.frozen():
        assert await fault(store) == "timeout"
        async with asyncio.timeout(30):
            while store.state.lanes.connected:
                assert await fault(store) == "timeout"
                await asyncio.sleep(0.01)
        assert await faults(store) == {"timeout"}
    await until_read(store)


async def test_paused_clients_are_late_and_served_afterwards(
    store: RedisFeatureStore, redis_server: RedisServer
) -> None:
    with connected(redis_server.url) as client:
        client.client_pause(600, all=True)
    assert await faults(store) == {"timeout"}
    await until_read(store)


async def test_a_start_before_a_frozen_redis_waits_no_longer_than_said(
    redis_server: RedisServer, bundle: Bundle
) -> None:
    with redis_server.frozen():
        async with opened(redis_server.url, bundle, DEADLINE) as store:
            started = time.monotonic()
            assert not await store.connect(seconds=0.2)
            assert time.monotonic() - started < 0.2 + LONGEST
            assert await fault(store) == "unreachable"


async def test_a_slow_network_is_late_and_no_answer_is_lost_or_mixed_up(
    redis_url: str, shared_redis: RedisServer, bundle: Bundle
) -> None:
    load(redis_url, bundle)
    async with Proxy(shared_redis.port) as proxy, opened(proxy.url, bundle, DEADLINE) as store:
        assert await store.connect(30)
        await until_read(store)
        proxy.pause = 0.2
        assert "timeout" in await faults(store)
        proxy.pause = 0.0
        assert (await until_read(store)).seen == {"i0001"}
        # It was slow, not gone: the connections are those of the beginning.
        assert proxy.connections == 2


async def test_a_connection_that_is_half_open_is_replaced(
    redis_url: str, shared_redis: RedisServer, bundle: Bundle
) -> None:
    load(redis_url, bundle)
    async with Proxy(shared_redis.port) as proxy, opened(proxy.url, bundle, DEADLINE) as store:
        await until_read(store)
        proxy.silent = True
        assert await faults(store) == {"timeout"}
        proxy.silent = False
        # The old connections stay silent; only new ones answer.
        await until_read(store)
        assert proxy.connections > 2


async def test_connections_that_are_cut_are_opened_anew_and_no_read_fails(
    redis_url: str, shared_redis: RedisServer, bundle: Bundle
) -> None:
    load(redis_url, bundle)
    async with Proxy(shared_redis.port) as proxy, opened(proxy.url, bundle, DEADLINE) as store:
        for _ in range(5):
            await until_read(store)
            proxy.cut()
            assert await faults(store) <= {"", "timeout"}


async def test_an_address_that_swallows_everything_is_unreachable(bundle: Bundle) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        # A full backlog: the kernel drops further attempts, as a firewall would.
        crowd = [socket.socket() for _ in range(4)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(address)
        try:
            async with opened(f"redis://127.0.0.1:{address[1]}/0", bundle, DEADLINE) as store:
                assert await faults(store, 5) == {"unreachable"}
        finally:
            for each in crowd:
                each.close()


async def test_nothing_at_the_address_is_unreachable(bundle: Bundle) -> None:
    async with opened("redis://127.0.0.1:1/0", bundle, DEADLINE) as store:
        assert await faults(store) == {"unreachable"}
    async with opened("redis://no-such-host.invalid:6379/0", bundle, DEADLINE) as store:
        assert await faults(store, 5) == {"unreachable"}


async def test_a_wrong_password_is_refused_until_it_is_right(redis_server: RedisServer, bundle: Bundle) -> None:
    load(redis_server.url, bundle)
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("requirepass", "secret")
        url = redis_server.url.replace("redis://", "redis://:wrong@")
        async with opened(url, bundle, DEADLINE) as store:
            assert await until_fault(store, "refused")
            client.config_set("requirepass", "wrong")
            assert (await until_read(store)).seen == {"i0001"}


async def test_no_password_where_one_is_needed_is_refused(redis_server: RedisServer, bundle: Bundle) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("requirepass", "secret")
    async with opened(redis_server.url, bundle, DEADLINE) as store:
        assert await until_fault(store, "refused")


async def test_a_user_without_the_right_to_read_is_refused(redis_server: RedisServer, bundle: Bundle) -> None:
    load(redis_server.url, bundle)
    with redis.Redis.from_url(redis_server.url) as client:
        client.execute_command("ACL SETUSER", "odd", "on", ">odd", "~*", "-@all", "+ping")
        url = redis_server.url.replace("redis://", "redis://odd:odd@")
        async with opened(url, bundle, DEADLINE) as store:
            assert await until_fault(store, "refused")
            client.execute_command("ACL SETUSER", "odd", "+get", "+hget")
            await until_read(store)


async def test_a_redis_with_all_its_connections_taken_refuses(redis_server: RedisServer, bundle: Bundle) -> None:
    load(redis_server.url, bundle)
    with redis.Redis.from_url(redis_server.url) as client:
        client.ping()
        client.config_set("maxclients", 1)
        async with opened(redis_server.url, bundle, DEADLINE) as store:
            assert await until_fault(store, "refused")
            client.config_set("maxclients", 100)
            await until_read(store)


async def test_a_full_redis_still_answers_reads(store: RedisFeatureStore, redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("more", "x")
    assert await faults(store) == {""}


async def test_turns_are_logged_once_for_a_connection_and_without_the_password(
    redis_server: RedisServer, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    url = redis_server.url.replace("//", "//default:secret@")
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("requirepass", "another")
        async with opened(url, bundle, DEADLINE) as store:
            assert await until_fault(store, "refused")
            assert await faults(store, 200) == {"refused"}
            client.config_set("requirepass", "secret")
            await until_read(store)
    told = [record.getMessage().replace(redis_server.url.removeprefix("redis://"), "HOST") for record in caplog.records]
    assert {line.partition("): ")[0] for line in told} == {
        "the feature store at redis://***@HOST answers again",
        "the feature store at redis://***@HOST is not usable (refused",
    }
    assert "invalid username-password" in caplog.text
    # At most once for each of the two connections.
    assert len(told) <= 4
    assert "secret" not in caplog.text


async def test_a_connection_that_ends_by_an_error_of_our_own_is_opened_anew(
    store: RedisFeatureStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: object) -> None:
        monkeypatch.undo()
        raise RuntimeError("a bug")

    monkeypatch.setattr("bentos.feature_lanes.Lanes._next_batch", broken)
    assert await faults(store) <= {"", "unreachable", "timeout"}
    await until_read(store)
    assert "RuntimeError: a bug" in caplog.text


async def until_fault(store: RedisFeatureStore, expected: str) -> bool:
    """Whether reads come to fail by `expected`; before it is known, a read may find no connection yet."""
    async with asyncio.timeout(30):
        while (found := await fault(store)) != expected:
            assert found in ("unreachable", "timeout")
            await asyncio.sleep(0.01)
    return isinstance(await store.read("u0000"), Missing)
