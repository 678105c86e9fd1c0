"""The feature store against a real Redis: what is there, what is not, and every way of not answering."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redis

from bentos.bundle import Bundle, load_bundle
from bentos.errors import FeatureStoreError
from bentos.feature_loading import FACTS, connected, drop_vectors, load_facts, load_vectors, verify_vectors
from bentos.features import FAILURES, Features, Missing, RedisFeatureStore, seen_key, vector_key
from tests.bentos.bundles import synthetic_bundle
from tests.bentos.conftest import RedisServer

DEADLINE = 0.25


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    synthetic_bundle(tmp_path / "bundle")
    return load_bundle(tmp_path / "bundle")


def write_facts(path: Path, rows: list[tuple[str, str, int, int]]) -> Path:
    pq.write_table(pa.Table.from_pylist([dict(zip(FACTS.names, row, strict=True)) for row in rows], FACTS), path)
    return path


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    rows = [("u0000", "i0003", 5, 1), ("u0000", "i0001", 3, 2), ("u0002", "i0001", 4, 3)]
    pq.write_table(
        pa.Table.from_pylist([dict(zip(FACTS.names, row, strict=True)) for row in rows], FACTS), tmp_path / "f"
    )
    return tmp_path / "f"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(
    redis_server: RedisServer, bundle: Bundle, facts: Path, clock: Clock
) -> AsyncIterator[RedisFeatureStore]:
    with connected(redis_server.url) as client:
        load_facts(client, facts, lambda done, total: None)
        load_vectors(client, bundle, lambda done, total: None)
    store = RedisFeatureStore(redis_server.url, bundle.manifest.version, 8, DEADLINE, 4, clock)
    yield store
    await store.close()


async def test_vector_and_seen_items_come_in_one_read(store: RedisFeatureStore, bundle: Bundle) -> None:
    found = await store.read("u0000")
    assert isinstance(found, Features)
    assert found.vector is not None
    np.testing.assert_array_equal(found.vector, bundle.user_vectors[0])
    assert found.seen == {"i0003", "i0001"}


async def test_connections_can_be_opened_ahead_of_the_first_user(
    store: RedisFeatureStore, redis_server: RedisServer
) -> None:
    with connected(redis_server.url) as client:
        before = len(client.client_list())
        assert await store.connect(connections=3)
        assert len(client.client_list()) == before + 3


async def test_a_redis_that_is_not_there_or_frozen_delays_the_start_no_more_than_said(
    store: RedisFeatureStore, redis_server: RedisServer
) -> None:
    with connected(redis_server.url) as client:
        frozen = client.info("server")["process_id"]
    os.kill(frozen, signal.SIGSTOP)
    started = time.monotonic()
    assert not await store.connect(connections=3, seconds=0.2)
    assert time.monotonic() - started < 2
    os.kill(frozen, signal.SIGCONT)
    redis_server.stop()
    assert not await store.connect()
    # It was no request: nobody is spared a read for it.
    assert await store.read("u0000") == Missing("unreachable")


async def test_an_unknown_user_has_neither_vector_nor_history(store: RedisFeatureStore) -> None:
    assert await store.read("nobody") == Features(None, frozenset())


@pytest.mark.parametrize("value", [b"short", np.full(8, np.nan, np.float32).tobytes(), b"\0" * 36])
async def test_a_corrupt_vector_is_named_and_not_served(
    store: RedisFeatureStore, redis_server: RedisServer, bundle: Bundle, value: bytes
) -> None:
    with connected(redis_server.url) as client:
        client.set(vector_key(bundle.manifest.version, "u0001"), value)
        client.set(seen_key("u0002"), b"\xff\xfe")
    assert await store.read("u0001") == Missing("corrupt")
    assert await store.read("u0002") == Missing("corrupt")


async def test_a_killed_redis_is_unreachable_and_comes_back_without_a_restart(
    store: RedisFeatureStore, redis_server: RedisServer, clock: Clock
) -> None:
    redis_server.stop()
    for _ in range(FAILURES):
        assert await store.read("u0000") == Missing("unreachable")
    assert await store.read("u0000") == Missing("cooling")
    redis_server.start()
    assert await store.read("u0000") == Missing("cooling")
    clock.now += 1
    assert isinstance(await store.read("u0000"), Features)


async def test_a_frozen_redis_costs_a_request_no_more_than_the_deadline(
    store: RedisFeatureStore, redis_server: RedisServer
) -> None:
    with connected(redis_server.url) as client:
        process = client.info("server")["process_id"]
    assert isinstance(await store.read("u0000"), Features)
    os.kill(process, signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert await store.read("u0000") == Missing("timeout")
        assert time.monotonic() - started < DEADLINE + 0.5
    finally:
        os.kill(process, signal.SIGCONT)
    assert isinstance(await store.read("u0000"), Features)


async def test_a_wrong_password_is_refused(store: RedisFeatureStore, redis_server: RedisServer, bundle: Bundle) -> None:
    with connected(redis_server.url) as client:
        client.config_set("requirepass", "secret")
    url = redis_server.url.replace("redis://", "redis://:wrong@")
    locked_out = RedisFeatureStore(url, bundle.manifest.version, 8, DEADLINE, 4)
    try:
        assert await locked_out.read("u0000") == Missing("refused")
    finally:
        await locked_out.close()


def test_loaded_vectors_verify_and_dropped_ones_do_not(redis_server: RedisServer, bundle: Bundle) -> None:
    with connected(redis_server.url) as client:
        assert load_vectors(client, bundle, lambda done, total: None) == 50
        assert verify_vectors(client, bundle) == []
        client.delete(vector_key(bundle.manifest.version, "u0007"))
        assert verify_vectors(client, bundle) == ["u0007"]
        assert drop_vectors(client, bundle.manifest.version) == 49
        assert len(verify_vectors(client, bundle)) == 50


def test_facts_that_do_not_fit_are_refused(redis_server: RedisServer, tmp_path: Path) -> None:
    mixed = [("a", "i", 5, 1), ("b", "i", 5, 1), ("a", "j", 5, 2)]
    pq.write_table(
        pa.Table.from_pylist([dict(zip(FACTS.names, row, strict=True)) for row in mixed], FACTS), tmp_path / "m"
    )
    pq.write_table(pa.table({"user_id": ["a"]}), tmp_path / "w")
    with connected(redis_server.url) as client:
        with pytest.raises(FeatureStoreError, match="not ordered by user"):
            load_facts(client, tmp_path / "m", lambda done, total: None)
        with pytest.raises(FeatureStoreError, match="columns"):
            load_facts(client, tmp_path / "w", lambda done, total: None)


def test_a_command_without_redis_names_the_address_and_the_remedy() -> None:
    with (
        pytest.raises(FeatureStoreError, match=r"redis://127.0.0.1:1/0.*understudy redis"),
        connected("redis://127.0.0.1:1/0"),
    ):
        raise redis.RedisError("not reached")
