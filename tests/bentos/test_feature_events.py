"""Writing events and erasing users in a real Redis: once each, in order, whole or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bentos.bundle import Bundle
from bentos.errors import WRITE_FAULTS, StoreWriteError
from bentos.event_store import RedisEventStore
from bentos.feature_loading import connected, load_vectors
from bentos.feature_scripts import DAY_SECONDS, EventLimits
from bentos.features import Event, Features, Missing, event_ids_key, events_key, seen_key
from tests.bentos.conftest import RedisServer
from tests.bentos.proxy import Proxy
from tests.bentos.test_feature_store import DEADLINE, opened, quiet

AT = 1_700_000_000_123_457


@pytest.fixture
async def events(redis_url: str) -> AsyncIterator[RedisEventStore]:
    store = RedisEventStore(redis_url, DEADLINE, 2, EventLimits())
    yield store
    await store.close()


async def read(url: str, bundle: Bundle, user: str) -> Features | Missing:
    async with opened(url, bundle) as store:
        found: Features | Missing = await store.read(user)
        return found


async def test_an_event_is_read_with_its_item_as_seen_and_to_the_microsecond(
    events: RedisEventStore, redis_url: str, bundle: Bundle
) -> None:
    event = Event("i0007", 3.5, AT)
    assert await events.add("new", "e1", event)
    assert await read(redis_url, bundle, "new") == Features(None, frozenset({"i0007"}), (event,))


async def test_an_event_that_comes_twice_is_taken_once(events: RedisEventStore, redis_url: str, bundle: Bundle) -> None:
    assert await events.add("new", "e1", Event("i0007", 3.5, AT))
    assert not await events.add("new", "e1", Event("i0007", 3.5, AT))
    assert not await events.add("new", "e1", Event("i0008", 1.0, AT + 1))
    assert await events.add("another", "e1", Event("i0009", 3.5, AT))
    found = await read(redis_url, bundle, "new")
    assert isinstance(found, Features)
    assert found.events == (Event("i0007", 3.5, AT),)


async def test_events_at_one_moment_from_many_sides_are_each_taken_once(
    events: RedisEventStore, redis_url: str, bundle: Bundle
) -> None:
    taken = await asyncio.gather(
        *(events.add("new", f"e{number % 20}", Event(f"i{number % 20:04d}", 4.0, AT + number)) for number in range(60))
    )
    assert sum(taken) == 20
    found = await read(redis_url, bundle, "new")
    assert isinstance(found, Features)
    assert len(found.events) == len(found.seen) == 20


async def test_an_array_of_events_is_kept_in_a_few_round_trips(
    redis_url: str, shared_redis: RedisServer, bundle: Bundle
) -> None:
    """One after the other they would take 25 s, and the server answers 504 after 10."""
    many = [("new", f"e{number % 250}", Event(f"i{number % 250:04d}", 4.0, number)) for number in range(256)]
    async with Proxy(shared_redis.port) as proxy:
        store = RedisEventStore(proxy.url, DEADLINE, 2, EventLimits())
        assert await store.connect(DEADLINE)
        proxy.pause = 0.05
        started = time.monotonic()
        assert await store.add_many(many) == 250
        assert time.monotonic() - started < 10
        await store.close()
    found = await read(redis_url, bundle, "new")
    assert isinstance(found, Features)
    assert len(found.seen) == 250
    assert [event.timestamp_us for event in found.events] == list(range(50, 250))


async def test_of_an_array_with_an_unusable_event_none_is_kept(events: RedisEventStore, redis_url: str) -> None:
    with pytest.raises(ValueError, match="item_id"):
        await events.add_many([("u", "e1", Event("i", 1.0, 1)), ("u", "e2", Event("", 1.0, 1))])
    with connected(redis_url) as client:
        assert client.dbsize() == 0


async def test_a_late_event_takes_its_place_in_time(events: RedisEventStore, redis_url: str, bundle: Bundle) -> None:
    for name, at in (("c", 30), ("a", 10), ("b", 20), ("b again", 20)):
        await events.add("new", name, Event(name, 4.0, at))
    found = await read(redis_url, bundle, "new")
    assert isinstance(found, Features)
    assert [event.item_id for event in found.events] == ["a", "b", "b again", "c"]


async def test_only_the_last_events_are_kept_and_an_older_one_is_only_seen(redis_url: str, bundle: Bundle) -> None:
    store = RedisEventStore(redis_url, DEADLINE, 1, EventLimits(events=3))
    for at in (10, 20, 30, 40, 5):
        assert await store.add("new", f"e{at}", Event(f"i{at}", 4.0, at))
    await store.close()
    found = await read(redis_url, bundle, "new")
    assert isinstance(found, Features)
    assert [event.timestamp_us for event in found.events] == [20, 30, 40]
    assert found.seen == {"i10", "i20", "i30", "i40", "i5"}


async def test_the_list_of_seen_items_is_bounded_and_the_first_are_forgotten(redis_url: str, bundle: Bundle) -> None:
    store = RedisEventStore(redis_url, DEADLINE, 1, EventLimits(seen_bytes=14))
    for number in range(5):
        await store.add("new", f"e{number}", Event(f"i{number:03d}", 4.0, number))
    await store.close()
    found = await read(redis_url, bundle, "new")
    assert isinstance(found, Features)
    assert found.seen == {"i002", "i003", "i004"}


async def test_event_ids_are_forgotten_by_number_and_by_age(redis_url: str) -> None:
    store = RedisEventStore(redis_url, DEADLINE, 1, EventLimits(event_ids=2, event_id_seconds=1000))
    with connected(redis_url) as client:
        client.zadd(event_ids_key("new"), {"old": time.time() - 1001, "recent": time.time() - 500})
        assert await store.add("new", "old", Event("i1", 4.0, 1))
        assert not await store.add("new", "recent", Event("i1", 4.0, 1))
        assert await store.add("new", "newer", Event("i1", 4.0, 1))
        assert await store.add("new", "newest", Event("i1", 4.0, 1))
        assert client.zcard(event_ids_key("new")) == 2
        assert 0 < client.ttl(event_ids_key("new")) <= 1000
    await store.close()


async def test_facts_of_a_user_in_no_facts_file_end_and_loaded_facts_do_not(
    events: RedisEventStore, redis_url: str
) -> None:
    with connected(redis_url) as client:
        client.set(seen_key("loaded"), "i1")
        for user in ("loaded", "new"):
            await events.add(user, "e", Event("i2", 4.0, 1))
        for key in (seen_key, events_key):
            assert client.ttl(key("loaded")) == -1
            assert 89 * DAY_SECONDS < client.ttl(key("new")) <= 90 * DAY_SECONDS
        client.expire(seen_key("new"), 10)
        await events.add("new", "f", Event("i3", 4.0, 2))
        assert client.ttl(seen_key("new")) > 89 * DAY_SECONDS


@pytest.mark.parametrize(
    ("user", "event_id", "event", "named"),
    [
        ("", "e", Event("i", 1.0, 1), "user_id"),
        ("u", "", Event("i", 1.0, 1), "event_id"),
        ("u", "e" * 1025, Event("i", 1.0, 1), "event_id"),
        ("u", "e", Event("", 1.0, 1), "item_id"),
        ("u", "e", Event("i\nj", 1.0, 1), "item_id"),
        ("u", "e", Event("\ud800", 1.0, 1), "item_id"),
        ("\ud800", "e", Event("i", 1.0, 1), "user_id"),
        ("u", "e", Event("i", float("nan"), 1), "rating"),
        ("u", "e", Event("i", 1.0, -1), "timestamp_us"),
        ("u", "e", Event("i", 1.0, 2**53), "timestamp_us"),
    ],
)
async def test_an_event_that_cannot_be_kept_is_refused_by_name(
    events: RedisEventStore, redis_url: str, user: str, event_id: str, event: Event, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        await events.add(user, event_id, event)
    with connected(redis_url) as client:
        assert client.dbsize() == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 6), st.sampled_from([0.5, 3.0, 4.5]), st.integers(0, 2**53 - 1)),
        max_size=25,
    )
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_events_gives_what_a_list_in_order_of_time_gives(
    shared_redis: RedisServer, arrivals: list[tuple[int, int, float, int]]
) -> None:
    with connected(shared_redis.url) as client:
        client.flushall()

        async def send() -> list[bool]:
            store = RedisEventStore(shared_redis.url, DEADLINE, 1, EventLimits(events=8))
            try:
                return [
                    await store.add("u", f"e{event}", Event(f"i{item}", rating, at))
                    for event, item, rating, at in arrivals
                ]
            finally:
                await store.close()

        taken = asyncio.run(send())
        stored = client.get(events_key("u"))
    ids: set[int] = set()
    expected: list[Event] = []
    for (event, item, rating, at), was_taken in zip(arrivals, taken, strict=True):
        assert was_taken == (event not in ids)
        if was_taken:
            ids.add(event)
            expected = sorted([*expected, Event(f"i{item}", rating, at)], key=lambda each: each.timestamp_us)[-8:]
    assert msgspec.msgpack.decode(stored or b"\x90", type=list[Event]) == expected


@pytest.mark.parametrize("broken", ["no list", "a list"])
async def test_what_cannot_be_read_is_not_written_over(events: RedisEventStore, redis_url: str, broken: str) -> None:
    with connected(redis_url) as client:
        if broken == "no list":
            client.set(events_key("u"), b"\xc1 no MessagePack")
        else:
            client.rpush(events_key("u"), "x")
        before = client.dump(events_key("u"))
        with pytest.raises(StoreWriteError) as refused:
            await events.add("u", "e", Event("i", 4.0, 1))
        assert refused.value.fault == "corrupt"
        assert client.dump(events_key("u")) == before
        assert client.keys() == [events_key("u")]


async def test_a_full_redis_refuses_an_event_whole_and_takes_it_later(redis_server: RedisServer) -> None:
    store = RedisEventStore(redis_server.url, DEADLINE, 1, EventLimits())
    with connected(redis_server.url) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(StoreWriteError) as refused:
            await store.add("u", "e", Event("i", 4.0, 1))
        assert refused.value.fault == "full"
        assert client.dbsize() == 0
        client.config_set("maxmemory", 0)
        assert await store.add("u", "e", Event("i", 4.0, 1))
    await store.close()


async def test_a_replica_or_a_reader_may_not_write(redis_server: RedisServer) -> None:
    with connected(redis_server.url) as client:
        client.execute_command("ACL SETUSER", "reader", "on", ">reader", "%R~*", "-@all", "+get", "+ping")
        store = RedisEventStore(redis_server.url.replace("//", "//reader:reader@"), DEADLINE, 1, EventLimits())
        for write in (store.add("u", "e", Event("i", 4.0, 1)), store.erase("u")):
            with pytest.raises(StoreWriteError) as refused:
                await write
            assert refused.value.fault == "read_only"
        await store.close()
        assert client.dbsize() == 0


async def test_a_redis_that_is_away_or_silent_fails_a_write_within_the_deadline(
    redis_url: str, shared_redis: RedisServer
) -> None:
    away = RedisEventStore("redis://127.0.0.1:1/0", 0.05, 1, EventLimits())
    async with Proxy(shared_redis.port) as proxy:
        silent = RedisEventStore(proxy.url, 0.05, 1, EventLimits())
        assert await silent.connect(DEADLINE)
        proxy.silent = True
        for store, fault in ((away, "unreachable"), (silent, "timeout")):
            started = time.monotonic()
            with pytest.raises(StoreWriteError, match=WRITE_FAULTS[fault]) as failed:
                await store.add("u", "e", Event("i", 4.0, 1))
            assert time.monotonic() - started < 5
            assert failed.value.fault == fault
            await store.close()


async def test_an_erased_user_is_unknown_in_every_version_and_others_are_not(
    events: RedisEventStore, redis_url: str, bundle: Bundle, second: Bundle
) -> None:
    with connected(redis_url) as client:
        for each in (bundle, second):
            load_vectors(client, each, quiet)
        client.set(seen_key("u0003"), "i0001")
        await events.add("u0003", "e", Event("i", 4.0, 1))
        await events.add("u0004", "e", Event("i", 4.0, 1))
        # seen, events, event ids, and two vectors
        assert await events.erase("u0003") == 5
        assert await events.erase("u0003") == 0
    for each in (bundle, second):
        assert await read(redis_url, each, "u0003") == Features(None, frozenset())
        found = await read(redis_url, each, "u0004")
        assert isinstance(found, Features)
        assert found.vector is not None
        assert found.seen == {"i"}


async def test_erasing_where_nothing_was_ever_loaded_finds_the_events(events: RedisEventStore) -> None:
    await events.add("u", "e", Event("i", 4.0, 1))
    assert await events.erase("u") == 3
