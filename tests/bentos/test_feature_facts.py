"""Loading facts into a real Redis: whole users, nothing newer lost, resumed, and clear errors for an unfit file."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bentos import feature_facts
from bentos.errors import FeatureStoreError
from bentos.event_store import RedisEventStore
from bentos.feature_facts import FACTS, facts_key, load_facts
from bentos.feature_loading import Loaded, connected
from bentos.feature_scripts import EventLimits
from bentos.features import LAST_EVENTS, Event, events_key, seen_key
from tests.bentos.conftest import RedisServer
from tests.bentos.test_feature_loading import StopLoadError, after
from tests.bentos.test_feature_store import DEADLINE, quiet

Row = tuple[str, str, float, int]


def write(path: Path, rows: list[Row]) -> Path:
    pq.write_table(pa.Table.from_pylist([dict(zip(FACTS.names, row, strict=True)) for row in rows], FACTS), path)
    return path


def stored(client: object, user: str) -> tuple[list[str], list[Event]]:
    seen, events = client.mget(seen_key(user), events_key(user))  # type: ignore[attr-defined]
    return seen.decode().split("\n"), msgspec.msgpack.decode(events, type=list[Event])


def test_items_seen_and_last_events_are_stored_in_the_order_of_time(redis_url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "f", [("a", "i3", 5, 1), ("a", "i1", 3.5, 2), ("a", "i3", 1, 4), ("b", "i1", 4, 3)])
    with connected(redis_url) as client:
        assert load_facts(client, path, quiet) == Loaded(2)
        assert stored(client, "a") == (["i3", "i1"], [Event("i3", 5, 1), Event("i1", 3.5, 2), Event("i3", 1, 4)])
        assert stored(client, "b") == (["i1"], [Event("i1", 4, 3)])


def test_of_a_long_history_all_items_and_only_the_last_events_are_kept(redis_url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "f", [("a", f"i{number}", 5, number) for number in range(LAST_EVENTS + 30)])
    with connected(redis_url) as client:
        load_facts(client, path, quiet)
        seen, events = stored(client, "a")
        assert len(seen) == LAST_EVENTS + 30
        assert [event.timestamp_us for event in events] == list(range(30, LAST_EVENTS + 30))


def test_a_file_that_is_there_is_not_loaded_again_unless_asked(redis_url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "f", [("a", "i1", 5, 1)])
    with connected(redis_url) as client:
        load_facts(client, path, quiet)
        client.delete(seen_key("a"))
        assert load_facts(client, path, quiet) == Loaded(1, already=True)
        assert client.get(seen_key("a")) is None
        assert load_facts(client, path, quiet, again=True) == Loaded(1)
        assert client.get(seen_key("a")) == b"i1"


async def test_what_the_api_stored_meanwhile_is_kept_in_its_place(redis_url: str, tmp_path: Path) -> None:
    store = RedisEventStore(redis_url, DEADLINE, 1, EventLimits())
    for number, at in enumerate((15, 20, 40)):
        await store.add("a", f"e{number}", Event(f"new{at}", 4.0, at))
    await store.close()
    path = write(tmp_path / "f", [("a", "i10", 5, 10), ("a", "new20", 4, 20), ("a", "i30", 5, 30)])
    with connected(redis_url) as client:
        # One user, both values: seen and events.
        assert load_facts(client, path, quiet) == Loaded(1, merged=2)
        seen, events = stored(client, "a")
        assert seen == ["i10", "new20", "i30", "new15", "new40"]
        assert [event.timestamp_us for event in events] == [10, 15, 20, 30, 40]
        # From now on the user is in a facts file and does not end.
        assert client.ttl(seen_key("a")) == client.ttl(events_key("a")) == -1


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), max_size=12),
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 9)), min_size=1, max_size=12),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_facts_joined_with_others_are_the_union_of_both(
    shared_redis: RedisServer,
    tmp_path_factory: pytest.TempPathFactory,
    there: list[tuple[int, int]],
    file: list[tuple[int, int]],
) -> None:
    def rows(pairs: list[tuple[int, int]]) -> list[Row]:
        return [("a", f"i{item}", 4.0, 2**52 + at) for at, item in sorted(set(pairs))]

    directory = tmp_path_factory.mktemp("facts")
    with connected(shared_redis.url) as client:
        client.flushall()
        if there:
            load_facts(client, write(directory / "there", rows(there)), quiet)
        load_facts(client, write(directory / "file", rows(file)), quiet)
        seen, events = stored(client, "a")
    union = set(there) | set(file)
    assert sorted(seen) == sorted({f"i{item}" for _, item in union})
    assert {(event.timestamp_us - 2**52, int(event.item_id[1:])) for event in events} == union
    assert [event.timestamp_us for event in events] == sorted(event.timestamp_us for event in events)


def test_what_cannot_be_read_is_replaced_by_the_file(redis_url: str, tmp_path: Path) -> None:
    path = write(tmp_path / "f", [("a", "i1", 5, 1)])
    with connected(redis_url) as client:
        client.rpush(seen_key("a"), "a list")
        client.set(events_key("a"), b"\xc1")
        load_facts(client, path, quiet)
        assert stored(client, "a") == (["i1"], [Event("i1", 5, 1)])


@pytest.mark.parametrize("rows_at_once", [1, 2, 3, 7, 1_000])
def test_users_are_whole_however_the_file_is_read(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_at_once: int
) -> None:
    monkeypatch.setattr(feature_facts, "ROWS", rows_at_once)
    sizes = {"a": 1, "b": 5, "c": 2, "d": 8, "e": 1}
    path = write(tmp_path / "f", [(user, f"{user}{at}", 5, at) for user, size in sizes.items() for at in range(size)])
    with connected(redis_url) as client:
        assert load_facts(client, path, quiet).users == 5
        for user, size in sizes.items():
            assert stored(client, user)[0] == [f"{user}{at}" for at in range(size)]


def test_an_interrupted_load_goes_on_where_it_stopped(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_facts, "ROWS", 10)
    path = write(tmp_path / "f", [(f"u{user:02d}", f"i{at}", 5, at) for user in range(20) for at in range(3)])
    with connected(redis_url) as client:
        with pytest.raises(StopLoadError):
            load_facts(client, path, after(20))
        assert not list(client.scan_iter(match=facts_key("*")))
        calls: list[int] = []
        result = load_facts(client, path, lambda done, total: calls.append(done))
        assert result.users == 20
        assert result.resumed_at >= 6
        assert calls[0] > 20
        for user in range(20):
            assert stored(client, f"u{user:02d}")[0] == ["i0", "i1", "i2"]


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([("a", "i", 5, 1), ("b", "i", 5, 1), ("a", "j", 5, 2)], "not ordered by user"),
        ([("b", "i", 5, 1), ("a", "i", 5, 1)], "not ordered by user"),
        ([("a", "i", 5, 2), ("a", "j", 5, 1)], "not ordered by time"),
        ([("a", "i\nj", 5, 1)], "one line"),
        ([("a", "", 5, 1)], "item_id must have 1"),
        ([("", "i", 5, 1)], "user_id must have 1"),
        ([("a", "i" * 1025, 5, 1)], "item_id must have 1 to 1024"),
        ([("a", None, 5, 1)], "null"),
        ([("a", "i", float("nan"), 1)], "rating"),
        ([("a", "i", 5, -1)], "timestamp_us"),
        ([], "no rows"),
    ],
)
@pytest.mark.parametrize("rows_at_once", [1, 100])
def test_a_file_that_does_not_fit_is_refused_by_reason(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: list[Row], reason: str, rows_at_once: int
) -> None:
    monkeypatch.setattr(feature_facts, "ROWS", rows_at_once)
    path = write(tmp_path / "facts", rows)
    with connected(redis_url) as client, pytest.raises(FeatureStoreError, match=f"facts.*{reason}.*data facts"):
        load_facts(client, path, quiet)


def test_what_is_no_facts_file_is_refused(redis_url: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"user_id": ["a"]}), tmp_path / "columns")
    (tmp_path / "text").write_text("user,item")
    whole = write(tmp_path / "cut", [("a", "i1", 5, 1)]).read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-20])
    with connected(redis_url) as client:
        with pytest.raises(FeatureStoreError, match="columns"):
            load_facts(client, tmp_path / "columns", quiet)
        for name in ("text", "cut", "missing"):
            with pytest.raises(FeatureStoreError, match="not a facts file"):
                load_facts(client, tmp_path / name, quiet)
