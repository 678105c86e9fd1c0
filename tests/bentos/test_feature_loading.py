"""Loading vectors into a real Redis: whole or not announced, resumed, not repeated, verified."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import redis

from bentos.bundle import Bundle
from bentos.errors import FeatureStoreError
from bentos.feature_loading import Loaded, connected, load_vectors, verify_vectors
from bentos.feature_versions import PORTION, VERSIONS, drop, erase, find, loading_key, loading_of, pin
from bentos.features import bucket_of, buckets_of, encoded, features_key, vectors_key
from shadow.rehearsal import command as understudy
from tests.bentos.bundles import synthetic_bundle
from tests.bentos.conftest import RedisServer
from tests.bentos.proxy import Proxy
from tests.bentos.test_feature_store import quiet

USERS = 3 * PORTION * 32
"""Three portions and a bit, with some hashes empty or full."""


class StopLoadError(Exception):
    """What ends a load in a test."""


def after(users: int) -> Callable[[int, int], None]:
    """A progress that ends the load once so many users are done."""

    def progress(done: int, total: int) -> None:
        if done >= users:
            raise StopLoadError

    return progress


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    from bentos.bundle import load_bundle

    directory = tmp_path_factory.mktemp("large") / "bundle"
    synthetic_bundle(directory, users=USERS)
    return load_bundle(directory)


def key_of(bundle: Bundle, user: str) -> str:
    return vectors_key(bundle.manifest.version, bucket_of(encoded(user), buckets_of(bundle.manifest.users)))


def test_loaded_vectors_verify_and_are_announced(redis_url: str, bundle: Bundle) -> None:
    with connected(redis_url) as client:
        assert load_vectors(client, bundle, quiet) == Loaded(50)
        assert verify_vectors(client, bundle, quiet) == []
        found = find(client, bundle.manifest.version)
        assert found is not None
        assert (found.users, found.dimension, found.name) == (50, 8, "champion")
        assert loading_of(client, loading_key(bundle.manifest.version)) is None


def test_a_version_that_is_there_is_not_loaded_again_unless_asked(redis_url: str, bundle: Bundle) -> None:
    with connected(redis_url) as client:
        load_vectors(client, bundle, quiet)
        client.hdel(key_of(bundle, "u0007"), "u0007")
        assert load_vectors(client, bundle, quiet) == Loaded(50, already=True)
        assert verify_vectors(client, bundle, quiet) == ["u0007"]
        assert load_vectors(client, bundle, quiet, again=True) == Loaded(50)
        assert verify_vectors(client, bundle, quiet) == []


def test_a_missing_and_a_different_vector_are_named(redis_url: str, bundle: Bundle) -> None:
    with connected(redis_url) as client:
        load_vectors(client, bundle, quiet)
        client.hdel(key_of(bundle, "u0030"), "u0030")
        client.hset(key_of(bundle, "u0007"), "u0007", b"\0" * 32)
        assert verify_vectors(client, bundle, quiet) == ["u0007", "u0030"]


def test_an_interrupted_load_is_not_announced_and_goes_on_where_it_stopped(redis_url: str, large: Bundle) -> None:
    version = large.manifest.version
    with connected(redis_url) as client:
        with pytest.raises(StopLoadError):
            load_vectors(client, large, after(1))
        assert find(client, version) is None
        marker = loading_of(client, loading_key(version))
        assert marker is not None
        assert 0 < marker.done < USERS
        calls: list[int] = []
        result = load_vectors(client, large, lambda done, total: calls.append(done))
        assert result == Loaded(USERS, resumed_at=marker.done)
        assert calls[0] > marker.done
        assert calls[-1] == USERS
        assert verify_vectors(client, large, quiet) == []


def test_what_was_dropped_while_it_was_loaded_is_not_announced(redis_url: str, large: Bundle) -> None:
    version = large.manifest.version
    with connected(redis_url) as client, connected(redis_url) as other:

        def drop_once(done: int, total: int) -> None:
            drop(other, version, force=False, progress=quiet)

        with pytest.raises(FeatureStoreError, match="dropped or evicted"):
            load_vectors(client, large, drop_once)
        assert find(client, version) is None


def test_what_was_lost_before_the_announcement_is_counted_and_not_announced(redis_url: str, large: Bundle) -> None:
    version = large.manifest.version
    with connected(redis_url) as client, connected(redis_url) as other:

        def lose(done: int, total: int) -> None:
            other.delete(vectors_key(version, 0))

        with pytest.raises(FeatureStoreError, match=r"Redis has [\d,]+ of 6,144 vectors. Load it again"):
            load_vectors(client, large, lose)
        assert find(client, version) is None
        assert load_vectors(client, large, quiet) == Loaded(USERS)
        assert verify_vectors(client, large, quiet) == []


def test_no_key_of_a_version_outlives_its_announcement_by_less_than_a_minute(redis_url: str, large: Bundle) -> None:
    with connected(redis_url) as client:
        load_vectors(client, large, quiet, ttl_seconds=1000)
        assert 990 < client.ttl(features_key(large.manifest.version)) <= 1002
        lives = {client.ttl(key) for key in client.scan_iter(match="vec:*")}
        assert min(lives) > 1050
        assert max(lives) <= 1660
        # They do not all end at one moment: 192 hashes, a second each.
        assert len(lives) > 150


def test_a_version_that_left_the_list_while_it_was_loaded_is_on_it_when_it_is_whole(
    redis_url: str, large: Bundle
) -> None:
    """Else pins and erasures would find one hash of it."""
    version = large.manifest.version
    with connected(redis_url) as client, connected(redis_url) as other:
        load_vectors(client, large, lambda _done, _total: other.hdel(VERSIONS, version))
        assert pin(client, version, "primary")
        assert {client.ttl(key) for key in client.scan_iter(match="vec:*")} == {-1}
        assert erase(client, large.user_ids[-1]) == 1


def test_a_pinned_version_is_loaded_for_ever(redis_url: str, bundle: Bundle) -> None:
    with connected(redis_url) as client:
        assert not pin(client, bundle.manifest.version, "champion")
        load_vectors(client, bundle, quiet)
        assert {client.ttl(key) for key in client.scan_iter() if not key.startswith(b"loading")} == {-1}


def test_a_full_redis_names_the_remedy_and_the_load_goes_on_when_there_is_room(
    redis_server: RedisServer, large: Bundle
) -> None:
    with redis.Redis.from_url(redis_server.url) as admin:

        def fill(done: int, total: int) -> None:
            admin.config_set("maxmemory", 1)

        with pytest.raises(FeatureStoreError, match="raise maxmemory"), connected(redis_server.url) as client:
            load_vectors(client, large, fill)
        admin.config_set("maxmemory", 0)
    with connected(redis_server.url) as client:
        assert load_vectors(client, large, quiet).resumed_at > 0
        assert verify_vectors(client, large, quiet) == []


@pytest.mark.parametrize("url", ["redis://me:secret@127.0.0.1:1/0", "no-scheme:secret", "http://me:secret@127.0.0.1"])
def test_a_command_without_redis_shows_no_password(url: str) -> None:
    with pytest.raises(FeatureStoreError) as refused, connected(url):
        pass
    assert "secret" not in str(refused.value)


def test_a_wrong_password_names_where_to_give_it(redis_server: RedisServer) -> None:
    with redis.Redis.from_url(redis_server.url) as client:
        client.config_set("requirepass", "secret")
    with (
        pytest.raises(FeatureStoreError, match="UNDERSTUDY_REDIS_URL"),
        connected(redis_server.url.replace("//", "//:wrong@")),
    ):
        pass


async def test_a_command_that_was_killed_is_taken_up_again(
    redis_url: str, shared_redis: RedisServer, large: Bundle
) -> None:
    key = loading_key(large.manifest.version)
    async with Proxy(shared_redis.port) as proxy:
        proxy.pause = 0.05
        command = understudy("features", "load", large.directory, "--redis", proxy.url)
        process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
        with connected(redis_url) as client:
            async with asyncio.timeout(60):
                while (found := loading_of(client, key)) is None or not found.done:
                    assert process.returncode is None
                    await asyncio.sleep(0.005)
            process.kill()
            await process.wait()
    with connected(redis_url) as client:
        assert find(client, large.manifest.version) is None
        assert 0 < load_vectors(client, large, quiet).resumed_at < USERS
        assert verify_vectors(client, large, quiet) == []
