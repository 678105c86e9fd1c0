"""No read and no write waits longer for Redis than the settings say, to ten microseconds: by a clock of the test's own.

The server is real, and frozen. `tests/integration/test_redis_matrix.py` has the same by the machine's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bentos.bundle import Bundle
from bentos.errors import StoreWriteError
from bentos.event_store import EVENTS_SECONDS, RedisEventStore
from bentos.feature_loading import connected, load_vectors
from bentos.feature_scripts import EventLimits
from bentos.feature_store import REFRESH_SECONDS, WARM_SECONDS, RedisFeatureStore
from bentos.features import Event, Features, Missing
from bentos.settings import ServingSettings
from tests.bentos.clock import StillLoop, run_still
from tests.bentos.conftest import RedisServer
from tests.bentos.test_feature_store import quiet

SHORT = 0.01
"""ms before or after a deadline."""
SETTINGS = [({}, 5.0), ({"UNDERSTUDY_FEATURE_DEADLINE_MS": "20"}, 20.0)]


@pytest.fixture
def loaded(redis_server: RedisServer, bundle: Bundle) -> RedisServer:
    with connected(redis_server.url) as client:
        load_vectors(client, bundle, quiet)
    return redis_server


@asynccontextmanager
async def opened(url: str, bundle: Bundle, environment: dict[str, str]) -> AsyncIterator[RedisFeatureStore]:
    """A store as the service opens it in `environment`, but with one connection, connected."""
    settings, manifest = ServingSettings.load(environment), bundle.manifest
    store = RedisFeatureStore(
        url,
        manifest.version,
        manifest.users,
        manifest.dimension,
        settings.feature_deadline_ms / 1000,
        1,
        batch_deadline_seconds=settings.feature_batch_deadline_ms / 1000,
    )
    try:
        assert await store.connect()
        yield store
    finally:
        await store.close()


async def sent(store: RedisFeatureStore) -> None:
    """Until the question is on its way to Redis."""
    while not store.state.lanes.busy:
        await asyncio.sleep(0)


@pytest.mark.parametrize(("environment", "deadline_ms"), SETTINGS)
def test_a_read_is_given_up_when_the_deadline_of_the_settings_has_passed_and_not_before(
    loaded: RedisServer, bundle: Bundle, environment: dict[str, str], deadline_ms: float
) -> None:
    async def scenario(loop: StillLoop) -> None:
        async with opened(loaded.url, bundle, environment) as store:
            with loaded.frozen():
                read = asyncio.create_task(store.read("u0000"))
                await sent(store)
                await loop.wait(deadline_ms - SHORT)
                assert not read.done()
                await loop.wait(2 * SHORT)
                assert read.done()
                assert await read == Missing("timeout")

    run_still(scenario)


def test_an_answer_that_comes_just_in_time_counts_and_nobody_is_asked_to_wait_on_a_late_connection(
    loaded: RedisServer, bundle: Bundle
) -> None:
    async def scenario(loop: StillLoop) -> None:
        async with opened(loaded.url, bundle, {}) as store:
            with loaded.frozen():
                read = asyncio.create_task(store.read("u0000"))
                await sent(store)
                await loop.wait(5 - SHORT)
            assert isinstance(await read, Features)
            with loaded.frozen():
                late = asyncio.create_task(store.read("u0000"))
                await sent(store)
                await loop.wait(5 + SHORT)
                assert await late == Missing("timeout")
                before = loop.time()
                assert await store.read("u0001") == Missing("timeout")
                assert loop.time() == before
            assert store.state.faults == {"timeout": 2}

    run_still(scenario)


def test_a_batch_of_256_is_given_up_after_one_deadline_for_all(loaded: RedisServer, bundle: Bundle) -> None:
    async def scenario(loop: StillLoop) -> None:
        async with opened(loaded.url, bundle, {}) as store:
            with loaded.frozen():
                read = asyncio.create_task(store.read_many(["u0000"] * 256))
                await sent(store)
                await loop.wait(100 - SHORT)
                assert not read.done()
                await loop.wait(2 * SHORT)
                assert read.done()
                assert await read == [Missing("timeout")] * 256

    run_still(scenario)


def test_a_batch_waits_for_a_second_for_the_one_before_it_and_is_then_turned_away(
    loaded: RedisServer, bundle: Bundle
) -> None:
    async def scenario(loop: StillLoop) -> None:
        async with opened(loaded.url, bundle, {"UNDERSTUDY_FEATURE_BATCH_DEADLINE_MS": "5000"}) as store:
            with loaded.frozen():
                first = asyncio.create_task(store.read_many(["u0000"]))
                await sent(store)
                second = asyncio.create_task(store.read_many(["u0001", "u0002"]))
                await loop.wait(0)
                await loop.wait(1000 - SHORT)
                assert not second.done()
                await loop.wait(2 * SHORT)
                assert second.done()
                assert await second == [Missing("saturated")] * 2
            assert isinstance((await first)[0], Features)

    run_still(scenario)


@pytest.mark.parametrize("number", [1, 256])
@pytest.mark.parametrize(
    ("environment", "deadline_ms"), [({}, 100.0), ({"UNDERSTUDY_EVENT_DEADLINE_MS": "60000"}, EVENTS_SECONDS * 1000)]
)
def test_events_are_given_up_when_the_deadline_of_the_settings_has_passed_and_not_before(
    loaded: RedisServer, number: int, environment: dict[str, str], deadline_ms: float
) -> None:
    async def scenario(loop: StillLoop) -> None:
        seconds = ServingSettings.load(environment).event_deadline_ms / 1000
        store = RedisEventStore(loaded.url, seconds, 1, EventLimits())
        events = [("u0000", f"e{each}", Event("i0001", 4.0, 1)) for each in range(number)]
        try:
            assert await store.connect()
            with loaded.frozen():
                write = asyncio.create_task(store.add_many(events))
                await loop.wait(0)
                await loop.wait(deadline_ms - SHORT)
                assert not write.done()
                await loop.wait(2 * SHORT)
                assert write.done()
                with pytest.raises(StoreWriteError) as raised:
                    await write
                assert raised.value.fault == "timeout"
        finally:
            await store.close()

    run_still(scenario)


def test_opening_and_the_gauges_wait_for_a_second_and_not_longer(loaded: RedisServer, bundle: Bundle) -> None:
    async def scenario(loop: StillLoop) -> None:
        async with opened(loaded.url, bundle, {}) as store:
            with loaded.frozen():
                refresh = asyncio.create_task(store.refresh())
                await sent(store)
                await loop.wait(REFRESH_SECONDS * 1000 - SHORT)
                assert not refresh.done()
                await loop.wait(2 * SHORT)
                assert refresh.done()
        with loaded.frozen():
            unopened = RedisFeatureStore(loaded.url, "v", 50, 8, 0.005, 1, batch_deadline_seconds=0.1)
            opening = asyncio.create_task(unopened.connect())
            await loop.wait(0)
            await loop.wait(WARM_SECONDS * 1000 - SHORT)
            assert not opening.done()
            await loop.wait(2 * SHORT)
            assert opening.done()
            assert not await opening
            await unopened.close()

    run_still(scenario)
