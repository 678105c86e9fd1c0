"""Reading features from a real Redis: what is there, what is not, what makes no sense, and whose it is."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from bentos.bundle import Bundle
from bentos.feature_lanes import MOST_IN_BATCH, MOST_WAITING
from bentos.feature_loading import connected, load_vectors
from bentos.feature_store import RedisFeatureStore, StoreState
from bentos.features import Event, Features, Missing, bucket_of, buckets_of, events_key, seen_key, vectors_key
from bentos.messages import FeaturesInfo
from tests.bentos.conftest import RedisServer
from tests.bentos.proxy import Proxy

DEADLINE = 5.0
"""Long, so that a busy machine is no fault; the faults have tests of their own."""


def quiet(done: int, total: int) -> None:
    """No progress bar."""


def store_of(url: str, bundle: Bundle, deadline: float = DEADLINE, connections: int = 2) -> RedisFeatureStore:
    manifest = bundle.manifest
    return RedisFeatureStore(
        url,
        manifest.version,
        manifest.users,
        manifest.dimension,
        deadline,
        connections,
        batch_deadline_seconds=deadline,
    )


@asynccontextmanager
async def opened(url: str, bundle: Bundle, deadline: float = DEADLINE, connections: int = 2) -> AsyncIterator:
    store = store_of(url, bundle, deadline, connections)
    try:
        yield store
    finally:
        await store.close()


@pytest.fixture
async def store(redis_url: str, bundle: Bundle) -> AsyncIterator[RedisFeatureStore]:
    with connected(redis_url) as client:
        load_vectors(client, bundle, quiet)
        client.set(seen_key("u0000"), "i0003\ni0001")
        client.set(events_key("u0000"), msgspec.msgpack.encode([Event("i0003", 5.0, 1), Event("i0001", 3.0, 2)]))
    async with opened(redis_url, bundle) as store:
        yield store


async def test_vector_seen_items_and_events_come_in_one_read(store: RedisFeatureStore, bundle: Bundle) -> None:
    found = await store.read("u0000")
    assert isinstance(found, Features)
    assert found.vector is not None
    np.testing.assert_array_equal(found.vector, bundle.user_vectors[0])
    assert found.seen == {"i0003", "i0001"}
    assert found.events == (Event("i0003", 5.0, 1), Event("i0001", 3.0, 2))
    assert store.state.lanes.batches == 1


@pytest.mark.parametrize("user", ["nobody", "", "a b\n\0ü", "\ud800", "x" * 70_000])
async def test_an_unknown_user_has_neither_vector_nor_history(store: RedisFeatureStore, user: str) -> None:
    assert await store.read(user) == Features(None, frozenset(), ())


async def test_reads_of_one_moment_share_a_round_trip(store: RedisFeatureStore, bundle: Bundle) -> None:
    await store.connect(DEADLINE)
    users = bundle.user_ids[:40]
    found = await asyncio.gather(*(store.read(user) for user in users))
    assert store.state.lanes.batches == 1
    for user, features in zip(range(40), found, strict=True):
        np.testing.assert_array_equal(features.vector, bundle.user_vectors[user])


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"short",
        b"\0" * 36,
        np.full(8, np.nan, np.float32).tobytes(),
        np.array([0, np.inf] * 4, np.float32).tobytes(),
        np.full(8, 1e30, np.float32).tobytes(),
        np.full(8, -3e38, np.float32).tobytes(),
        np.array([1e16, *[0] * 7], np.float32).tobytes(),
    ],
)
async def test_a_corrupt_vector_is_named_and_counted_and_not_served(
    store: RedisFeatureStore, redis_url: str, bundle: Bundle, value: bytes
) -> None:
    key = vectors_key(bundle.manifest.version, bucket_of(b"u0001", buckets_of(50)))
    with connected(redis_url) as client:
        client.hset(key, b"u0001", value)
    assert await store.read("u0001") == Missing("corrupt")
    assert store.state.faults == {"corrupt": 1}
    assert isinstance(await store.read("u0002"), Features)


@pytest.mark.parametrize("value", [np.zeros(8, np.float32), np.full(8, -0.0, np.float32), np.full(8, 1e-40, "<f4")])
async def test_a_vector_without_a_direction_is_none(
    store: RedisFeatureStore, redis_url: str, bundle: Bundle, value: NDArray[np.float32]
) -> None:
    key = vectors_key(bundle.manifest.version, bucket_of(b"u0000", buckets_of(50)))
    with connected(redis_url) as client:
        client.hset(key, b"u0000", value.tobytes())
    found = await store.read("u0000")
    assert isinstance(found, Features)
    assert (found.vector, found.seen) == (None, {"i0003", "i0001"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seen:u0002", b"\xff\xfe"),
        ("events:u0002", b"no MessagePack"),
        ("events:u0002", msgspec.msgpack.encode([["i1", 4.0]])),
        ("events:u0002", msgspec.msgpack.encode([["i1", "good", 3]])),
        ("events:u0002", msgspec.msgpack.encode([["i1", float("nan"), 3]])),
        ("events:u0002", msgspec.msgpack.encode([["i1", 4.0, 3]])[:-1]),
    ],
)
async def test_corrupt_facts_are_named(store: RedisFeatureStore, redis_url: str, key: str, value: bytes) -> None:
    with connected(redis_url) as client:
        client.set(key, value)
    assert await store.read("u0002") == Missing("corrupt")


@pytest.mark.parametrize("key", ["seen:u0002", "events:u0002", "vec"])
async def test_a_key_of_the_wrong_type_is_corrupt_and_no_unknown_user(
    store: RedisFeatureStore, redis_url: str, bundle: Bundle, key: str
) -> None:
    if key == "vec":
        key = vectors_key(bundle.manifest.version, bucket_of(b"u0002", buckets_of(50)))
    with connected(redis_url) as client:
        client.delete(key)
        client.rpush(key, b"a list")
    assert await store.read("u0002") == Missing("corrupt")


async def test_connections_can_be_opened_ahead_of_the_first_user(store: RedisFeatureStore, redis_url: str) -> None:
    with connected(redis_url) as client:
        before = len(client.client_list())
        assert await store.connect(DEADLINE)
        assert len(client.client_list()) == before + 2
    assert store.state.lanes.connected == 2


async def test_reads_that_are_given_up_never_leave_their_answer_to_another(
    redis_url: str, shared_redis: RedisServer, bundle: Bundle
) -> None:
    with connected(redis_url) as client:
        load_vectors(client, bundle, quiet)
    rng = random.Random(3)
    vectors = dict(zip(bundle.user_ids, bundle.user_vectors, strict=True))
    async with Proxy(shared_redis.port) as proxy, opened(proxy.url, bundle, deadline=0.05) as store:
        await store.connect(DEADLINE)
        cancelled = 0
        for slow in (False, True) * 6:
            # Slower than the deadline, so answers come when nobody waits for them any more.
            proxy.pause = 0.06 if slow else 0.0
            tasks = {user: asyncio.create_task(store.read(user)) for user in rng.sample(bundle.user_ids, 20)}
            for user in rng.sample(sorted(tasks), 6):
                asyncio.get_running_loop().call_later(rng.uniform(0, 0.03), tasks[user].cancel)
            await asyncio.wait(tasks.values())
            for user, task in tasks.items():
                if task.cancelled():
                    cancelled += 1
                elif isinstance(found := task.result(), Features):
                    np.testing.assert_array_equal(found.vector, vectors[user])
            if not slow:
                user = rng.choice(bundle.user_ids)
                np.testing.assert_array_equal((await until_read(store, user)).vector, vectors[user])
        assert cancelled > 0
        assert store.state.faults["timeout"] > 0
        # Late answers were read where they belong: no connection was given up for them.
        assert proxy.connections == 2


async def test_more_reads_than_may_wait_are_turned_away_at_once(redis_url: str, bundle: Bundle) -> None:
    port = int(redis_url.rsplit(":", 1)[1].split("/")[0])
    async with Proxy(port) as proxy, opened(proxy.url, bundle, connections=1) as store:
        await store.connect(DEADLINE)
        proxy.silent = True
        under_way = [asyncio.create_task(store.read("u0000")) for _ in range(MOST_IN_BATCH)]
        while not store.state.lanes.busy:
            await asyncio.sleep(0)
        waiting = [asyncio.create_task(store.read("u0000")) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        assert store.state.lanes.waiting == MOST_WAITING
        assert await store.read("u0000") == Missing("saturated")
        # Room comes back when those who wait go away.
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        late = asyncio.create_task(store.read("u0000"))
        await asyncio.sleep(0)
        assert not late.done()
        for task in (*under_way, *waiting, late):
            task.cancel()
        await asyncio.wait([*under_way, *waiting, late])


async def test_what_is_loaded_is_told_for_the_gauges(store: RedisFeatureStore, bundle: Bundle) -> None:
    told: list[StoreState] = []
    assert store.state.loaded is None
    assert store.state.features == FeaturesInfo("unknown", 0)
    await store.connect(DEADLINE)
    task = asyncio.create_task(store.keep_fresh(told.append, seconds=3600))
    while not told:
        await asyncio.sleep(0)
    task.cancel()
    assert told[0].loaded is not None
    assert (told[0].loaded.users, told[0].loaded.version) == (50, bundle.manifest.version)
    assert told[0].lanes.connected == 2
    assert told[0].features == FeaturesInfo("loaded", 50)


async def test_what_is_loaded_is_read_by_a_deadline_of_its_own_and_stays_known_when_redis_is_late(
    redis_server: RedisServer, bundle: Bundle
) -> None:
    with connected(redis_server.url) as client:
        load_vectors(client, bundle, quiet)
    async with Proxy(redis_server.port) as proxy, opened(proxy.url, bundle, deadline=0.001) as store:
        assert await store.connect(DEADLINE)
        proxy.pause = 0.05
        await store.refresh()
        known = store.state.loaded
        assert known is not None
        assert known.users == 50
        with redis_server.frozen():
            await store.refresh()
        assert store.state.loaded == known
        # Known from before, and not now.
        assert store.state.features.state == "unknown"
        proxy.pause = 0.0
        await until_read(store)


async def until_read(store: RedisFeatureStore, user: str = "u0000") -> Features:
    """The user's features, as soon as the store has recovered."""
    async with asyncio.timeout(30):
        while not isinstance(found := await store.read(user), Features):
            await asyncio.sleep(0.01)
    return found


async def test_a_version_that_is_not_loaded_is_told_as_missing(redis_server: RedisServer, bundle: Bundle) -> None:
    async with opened(redis_server.url, bundle, deadline=DEADLINE) as store:
        await store.refresh()
        assert store.state.features == FeaturesInfo("missing", 0)
        with connected(redis_server.url) as client:
            load_vectors(client, bundle, quiet)
        await store.refresh()
        assert store.state.features == FeaturesInfo("loaded", 50)
