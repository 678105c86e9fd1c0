"""Versions in a real Redis: pinned, expiring, listed, dropped."""

from __future__ import annotations

import pytest

from bentos.bundle import Bundle
from bentos.errors import FeatureStoreError
from bentos.feature_loading import connected, load_vectors, verify_vectors
from bentos.feature_scripts import DAY_SECONDS
from bentos.feature_versions import VERSIONS, drop, erase, find, listed, pin, pins, pins_key, unpin
from bentos.features import features_key, seen_key
from tests.bentos.test_feature_store import quiet


def lives(client: object, version: str) -> set[int]:
    """The TTLs of all keys of a version, in whole days; -1: for ever."""
    keys = [*client.scan_iter(match=f"vec:{version}:*"), features_key(version)]  # type: ignore[attr-defined]
    return {ttl if (ttl := client.ttl(key)) < 0 else ttl // DAY_SECONDS for key in keys}  # type: ignore[attr-defined]


def test_a_version_lasts_for_ever_from_the_first_pin_to_the_last(redis_url: str, bundle: Bundle) -> None:
    version = bundle.manifest.version
    with connected(redis_url) as client:
        load_vectors(client, bundle, quiet, ttl_seconds=5 * DAY_SECONDS + 100)
        assert lives(client, version) == {5}
        assert pin(client, version, "primary")
        assert pin(client, version, "shadow of x")
        assert lives(client, version) == {-1}
        assert pins(client, version) == ["primary", "shadow of x"]
        assert unpin(client, version, "primary") == ["shadow of x"]
        assert lives(client, version) == {-1}
        assert unpin(client, version, "shadow of x") == []
        assert lives(client, version) == {5}


def test_unpinning_what_is_not_pinned_names_the_version_and_who(redis_url: str, bundle: Bundle) -> None:
    with connected(redis_url) as client:
        load_vectors(client, bundle, quiet)
        with pytest.raises(FeatureStoreError, match=f"{bundle.manifest.version} is not pinned by 'nobody'"):
            unpin(client, bundle.manifest.version, "nobody")


def test_the_last_change_of_pins_wins_on_every_key(redis_url: str, bundle: Bundle) -> None:
    version = bundle.manifest.version
    with connected(redis_url) as client, connected(redis_url) as other:
        load_vectors(client, bundle, quiet)
        pin(client, version, "a")
        # Another pins while the first is half-way through letting the keys expire.
        client.srem(pins_key(version), "a")
        key = next(client.scan_iter(match=f"vec:{version}:*"))
        client.expire(key, 1000)
        pin(other, version, "b")
        assert lives(client, version) == {-1}


def test_only_a_version_that_no_one_needs_is_dropped(redis_url: str, bundle: Bundle, second: Bundle) -> None:
    version = bundle.manifest.version
    with connected(redis_url) as client:
        client.set(seen_key("u0000"), "i0001")
        for each in (bundle, second):
            load_vectors(client, each, quiet)
        pin(client, version, "primary")
        with pytest.raises(FeatureStoreError, match=r"pinned by primary.*--force"):
            drop(client, version, force=False, progress=quiet)
        assert verify_vectors(client, bundle, quiet) == []
        told: list[tuple[int, int]] = []
        assert drop(client, version, force=True, progress=lambda done, total: told.append((done, total))) == 50
        assert told[-1] == (50, 50)
        assert find(client, version) is None
        assert not list(client.scan_iter(match=f"*{version}*"))
        assert client.get(seen_key("u0000")) == b"i0001"
        assert verify_vectors(client, second, quiet) == []
        assert drop(client, version, force=False, progress=quiet) == 0


def test_the_list_says_what_is_there_for_whom_and_for_how_long(redis_url: str, bundle: Bundle, second: Bundle) -> None:
    with connected(redis_url) as client:
        for each in (bundle, second):
            load_vectors(client, each, quiet)
        pin(client, bundle.manifest.version, "primary")
        pin(client, "0123456789ab", "tomorrow")
        lines = {line.version: line for line in listed(client)}
        first, other = lines[bundle.manifest.version], lines[second.manifest.version]
        assert (first.users, first.pins, first.expires_seconds) == (50, ["primary"], None)
        assert (other.users, other.pins) == (52, [])
        assert 13 * DAY_SECONDS < (other.expires_seconds or 0) <= 14 * DAY_SECONDS + 2
        assert lines["0123456789ab"].loaded is None
        # 50 vectors of 32 bytes, their ids, and Redis' own: between one and ten times the payload.
        assert 50 * 32 < first.megabytes * 1e6 < 10 * 50 * 32
        assert 0 <= (first.age_seconds or -1) < 3600


def test_an_expired_version_leaves_the_list(redis_url: str, bundle: Bundle) -> None:
    with connected(redis_url) as client:
        load_vectors(client, bundle, quiet)
        client.delete(*client.scan_iter(match=f"*:{bundle.manifest.version}*"))
        assert listed(client) == []
        assert client.hgetall(VERSIONS) == {}


def test_what_is_not_an_announcement_is_named_with_the_remedy(redis_url: str, bundle: Bundle) -> None:
    with connected(redis_url) as client:
        client.set(features_key(bundle.manifest.version), b"{}")
        with pytest.raises(FeatureStoreError, match=r"features drop .* --force"):
            find(client, bundle.manifest.version)
        assert drop(client, bundle.manifest.version, force=True, progress=quiet) == 0
        assert find(client, bundle.manifest.version) is None


def test_a_user_is_erased_from_all_versions_by_command(redis_url: str, bundle: Bundle, second: Bundle) -> None:
    with connected(redis_url) as client:
        for each in (bundle, second):
            load_vectors(client, each, quiet)
        client.set(seen_key("u0001"), "i0001")
        assert erase(client, "u0001") == 3
        assert erase(client, "u0001") == 0
        assert verify_vectors(client, bundle, quiet) == verify_vectors(client, second, quiet) == ["u0001"]
