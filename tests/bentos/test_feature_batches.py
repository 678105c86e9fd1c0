"""Batches against a real Redis, at the deadlines that a service has by default: what single requests get, and bounded.

The machine may be busy: whether a deadline was kept is tried a few times, never at a longer deadline.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import numpy as np
import pytest

from bentos.bundle import Bundle, load_bundle
from bentos.feature_loading import connected, load_vectors
from bentos.feature_store import READ_AT_ONCE, RedisFeatureStore
from bentos.features import LAST_EVENTS, Event, Features, Missing, events_key, seen_key
from bentos.messages import BATCH_MOST
from bentos.recommend import Ladder, Recommendation
from bentos.settings import ServingSettings
from tests.bentos.bundles import synthetic_bundle
from tests.bentos.conftest import RedisServer
from tests.bentos.proxy import Proxy
from tests.bentos.test_feature_store import quiet, until_read

USERS, ITEMS = BATCH_MOST, 3_706
"""As many items as MovieLens-1M has; its users have seen 96 in the median, and these up to 800."""
TRIES = 3
FAULTLESS = {"": USERS}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    directory = tmp_path_factory.mktemp("batches")
    synthetic_bundle(directory / "bundle", users=USERS, items=ITEMS)
    return load_bundle(directory / "bundle")


def load(url: str, bundle: Bundle) -> None:
    """Vectors, items seen and events of every user, as a facts file of MovieLens gives them."""
    rng = np.random.default_rng(1)
    with connected(url) as client:
        load_vectors(client, bundle, quiet)
        for user in bundle.user_ids:
            seen = rng.choice(bundle.item_ids, min(800, 20 + int(rng.lognormal(4.3, 1.0))), replace=False).tolist()
            events = [Event(item, 4.0, moment) for moment, item in enumerate(seen[-LAST_EVENTS:])]
            client.set(seen_key(user), "\n".join(seen))
            client.set(events_key(user), msgspec.msgpack.encode(events))


@asynccontextmanager
async def opened(url: str, bundle: Bundle) -> AsyncIterator[RedisFeatureStore]:
    """A store as the service opens it, without any variable set."""
    store = default_store(url, bundle)
    try:
        await store.connect()
        await until_read(store)
        yield store
    finally:
        await store.close()


def default_store(url: str, bundle: Bundle) -> RedisFeatureStore:
    settings, manifest = ServingSettings.load({}), bundle.manifest
    return RedisFeatureStore(
        url,
        manifest.version,
        manifest.users,
        manifest.dimension,
        settings.feature_deadline_ms / 1000,
        settings.redis_connections,
        batch_deadline_seconds=settings.feature_batch_deadline_ms / 1000,
    )


def faults(found: list[Features | Missing]) -> dict[str, int]:
    return dict(Counter(each.fault if isinstance(each, Missing) else "" for each in found))


@pytest.mark.parametrize("users", [64, 128, USERS])
async def test_a_batch_of_known_users_gets_what_single_requests_get_at_the_default_deadline(
    redis_url: str, bundle: Bundle, users: int
) -> None:
    load(redis_url, bundle)
    async with opened(redis_url, bundle) as store:
        ladder = Ladder(bundle, store)
        asked = [(user, 10) for user in bundle.user_ids[:users]]
        alone = [await single(ladder, *each) for each in asked]
        for _ in range(TRIES):
            answers = await ladder.recommend_many(asked)
            if not any(each.fault for each in answers):
                break
        assert {each.source for each in alone} == {"hybrid"}
        for many, one in zip(answers, alone, strict=True):
            assert (many.source, many.fault) == (one.source, one.fault)
            assert many.rows.tolist() == one.rows.tolist()


async def single(ladder: Ladder, user: str, k: int) -> Recommendation:
    for _ in range(TRIES):
        answer = await ladder.recommend(user, k)
        if not answer.fault:
            break
    return answer


async def test_a_batch_is_read_in_few_round_trips(redis_url: str, bundle: Bundle) -> None:
    load(redis_url, bundle)
    async with opened(redis_url, bundle) as store:
        before = store.state.lanes.batches
        found = await store.read_many(bundle.user_ids)
        assert store.state.lanes.batches - before == USERS // READ_AT_ONCE
        assert faults(found) == FAULTLESS
        for number, each in enumerate(found):
            assert isinstance(each, Features)
            np.testing.assert_array_equal(each.vector, bundle.user_vectors[number])


async def test_single_requests_are_answered_in_time_while_batches_are_read(redis_url: str, bundle: Bundle) -> None:
    load(redis_url, bundle)
    async with opened(redis_url, bundle) as store:
        late = []
        for _ in range(TRIES):
            batches = [asyncio.create_task(store.read_many(bundle.user_ids)) for _ in range(4)]
            singles: list[Features | Missing] = []
            while not all(each.done() for each in batches):
                singles.append(await store.read("u0000"))
            late.append(sum(isinstance(each, Missing) for each in singles))
            if not late[-1] and all(faults(each.result()) == FAULTLESS for each in batches):
                break
        # A batch that kept the loop would leave hardly any.
        assert len(singles) > 4 * USERS // READ_AT_ONCE
        assert 0 in late


async def test_an_answer_that_came_while_this_process_was_busy_is_no_fault(redis_url: str, bundle: Bundle) -> None:
    load(redis_url, bundle)
    async with opened(redis_url, bundle) as store:
        for _ in range(TRIES):
            batches, read = store.state.lanes.batches, asyncio.create_task(store.read("u0000"))
            while store.state.lanes.batches == batches:
                await asyncio.sleep(0)
            until = time.monotonic() + 0.05
            while time.monotonic() < until:
                pass
            if isinstance(found := await read, Features):
                break
        assert isinstance(found, Features)


async def test_one_corrupt_user_of_a_batch_is_the_only_one_missing(redis_url: str, bundle: Bundle) -> None:
    load(redis_url, bundle)
    with connected(redis_url) as client:
        client.set(events_key("u0100"), b"no events")
    async with opened(redis_url, bundle) as store:
        found = await store.read_many(bundle.user_ids)
        assert faults(found) == {"": USERS - 1, "corrupt": 1}
        assert found[100] == Missing("corrupt")
        assert store.state.faults == {"corrupt": 1}


async def test_a_batch_falls_back_at_once_when_redis_is_away_and_comes_back(
    redis_server: RedisServer, bundle: Bundle
) -> None:
    load(redis_server.url, bundle)
    async with opened(redis_server.url, bundle) as store:
        ladder, asked = Ladder(bundle, store), [(user, 10) for user in bundle.user_ids]
        redis_server.kill()
        started = time.monotonic()
        answers = await ladder.recommend_many(asked)
        assert time.monotonic() - started < 5.0
        assert {(each.source, each.fault, len(each.rows)) for each in answers} == {
            ("popular_recent", "unreachable", 10)
        }
        assert store.state.faults == {"unreachable": USERS}
        redis_server.start()
        load(redis_server.url, bundle)
        await until_read(store)
        assert faults(await store.read_many(bundle.user_ids)) == FAULTLESS


async def test_a_frozen_redis_costs_a_batch_one_deadline_and_not_one_for_each_user(
    redis_server: RedisServer, bundle: Bundle
) -> None:
    load(redis_server.url, bundle)
    async with opened(redis_server.url, bundle) as store:
        with redis_server.frozen():
            started = time.monotonic()
            found = await store.read_many(bundle.user_ids)
            assert time.monotonic() - started < 1.0
            assert faults(found) == {"timeout": USERS}
        await until_read(store)
        assert faults(await store.read_many(bundle.user_ids)) == FAULTLESS


async def test_a_slow_network_costs_a_batch_its_deadline_at_most(
    redis_url: str, shared_redis: RedisServer, bundle: Bundle
) -> None:
    load(redis_url, bundle)
    async with Proxy(shared_redis.port) as proxy, opened(proxy.url, bundle) as store:
        proxy.pause = 0.03
        started = time.monotonic()
        found = await store.read_many(bundle.user_ids)
        assert time.monotonic() - started < 1.0
        # What came in time counts.
        assert faults(found).keys() == {"", "timeout"}
        proxy.pause = 0.0
        await until_read(store)
