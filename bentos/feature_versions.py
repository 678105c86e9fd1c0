"""What is loaded of which model versions, who needs it, and for how long.

A version that is pinned (named by a primary, a shadow or the previous one) is kept; any other expires some time after
it was loaded or unpinned. The announcement, `features:{version}`, is there only when all vectors are.
Next module: `bentos.feature_loading`, which loads one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from bentos.errors import FeatureStoreError
from bentos.feature_scripts import DAY_SECONDS, KEEP
from bentos.features import (
    bucket_of,
    buckets_of,
    encoded,
    event_ids_key,
    events_key,
    features_key,
    seen_key,
    vectors_key,
)

TTL_SECONDS: Final = 14 * DAY_SECONDS
"""How long the vectors of a version without a pin are kept: longer than a trial in the shadow lasts."""
SPREAD_SECONDS: Final = 600
"""The hashes of a version expire within so many seconds, not at one moment."""
VERSIONS: Final = "versions"
"""A hash: every version that has vectors, whole or not, or a pin → its number of users (0 before it is loaded)."""
PORTION: Final = 64
"""Hashes that Redis handles in one step: some 2,000 vectors, a millisecond."""
SAMPLE: Final = 50
"""Hashes whose memory is asked for, to tell the bytes of a version."""
Progress = Callable[[int, int], None]
"""Told how much is done, of how much."""
T = TypeVar("T")


class FeatureVersion(msgspec.Struct, frozen=True, kw_only=True):
    """What is loaded of one version. `ttl_seconds`: how long it is kept without a pin."""

    name: str
    version: str
    users: int
    dimension: int
    loaded_us: int
    ttl_seconds: int


class Loading(msgspec.Struct, frozen=True, kw_only=True):
    """How far the loading of something is, kept in Redis: `done` of its users (vectors) or rows (facts).

    `loader` is who began it; who goes on after an interruption keeps the name.
    """

    loader: str
    done: int


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `understudy features list`. `loading`: users so far, of a version that is not whole. None: not
    loaded, not loading, never expires.
    """

    version: str
    loaded: FeatureVersion | None
    loading: int | None
    users: int
    megabytes: float
    pins: list[str]
    expires_seconds: int | None
    age_seconds: float | None


def pins_key(version: str) -> str:
    """A set: who needs the version."""
    return f"pins:{version}"


def loading_key(version: str) -> str:
    """A string: how far the loading of a version is. Gone when it is whole, or dropped."""
    return f"loading:{version}"


def buckets_keys(version: str, users: int) -> list[str]:
    """All hashes of a version."""
    return [vectors_key(version, bucket) for bucket in range(buckets_of(users))]


def erase_commands(user_id: str, versions: Mapping[bytes, bytes]) -> list[tuple[Any, ...]]:
    """Commands whose replies sum to the number of values removed. `versions` is what `VERSIONS` holds."""
    user = encoded(user_id)
    facts = (seen_key(user_id), events_key(user_id), event_ids_key(user_id))
    return [("DEL", *facts)] + [
        ("HDEL", vectors_key(version.decode(), bucket_of(user, buckets_of(int(users)))), user)
        for version, users in versions.items()
    ]


def erase(client: Any, user_id: str) -> int:
    """Remove facts, events and the vectors of all versions of a user; the number of values removed."""
    pipeline = client.pipeline(transaction=True)
    for command in erase_commands(user_id, client.hgetall(VERSIONS)):
        pipeline.execute_command(*command)
    return sum(pipeline.execute())


def find(client: Any, version: str) -> FeatureVersion | None:
    """What is loaded of `version`; None when it is not, or not wholly."""
    value = client.get(features_key(version))
    try:
        return None if value is None else msgspec.json.decode(value, type=FeatureVersion)
    except msgspec.DecodeError as error:
        raise FeatureStoreError(
            f"{features_key(version)} in Redis is not what is written there ({error}). "
            f"Drop it: understudy features drop {version} --force"
        ) from error


def pin(client: Any, version: str, by: str) -> bool:
    """Keep `version` for `by` until unpinned; also before it is loaded. Whether it is loaded."""
    client.hsetnx(VERSIONS, version, 0)
    client.sadd(pins_key(version), by)
    keep(client, version)
    return find(client, version) is not None


def unpin(client: Any, version: str, by: str) -> list[str]:
    """`by` needs `version` no more; without another pin it expires. Who still needs it; an error if `by` did not."""
    if not client.srem(pins_key(version), by):
        raise FeatureStoreError(f"{version} is not pinned by {by!r}; see understudy features list")
    keep(client, version)
    return pins(client, version)


def pins(client: Any, version: str) -> list[str]:
    """Who needs `version`, in order."""
    return sorted(name.decode(errors="replace") for name in client.smembers(pins_key(version)))


def keep(client: Any, version: str, ttl_seconds: int | None = None) -> None:
    """Let all keys of `version` last for ever if it is pinned, else for its TTL."""
    found = find(client, version)
    ttl = ttl_seconds if ttl_seconds is not None else found.ttl_seconds if found else TTL_SECONDS
    # Vectors outlast the announcement.
    done = 0
    for keys in portions(buckets_keys(version, _users(client, version))):
        client.eval(KEEP, 1 + len(keys), pins_key(version), *keys, ttl + 60, SPREAD_SECONDS, done)
        done += len(keys)
    client.eval(KEEP, 2, pins_key(version), features_key(version), ttl, 1, 0)


def drop(client: Any, version: str, *, force: bool, progress: Progress) -> int:
    """Remove all vectors of `version`; how many there were. Facts stay. A pinned version only by `force`."""
    users = _users(client, version)

    def forget(pipeline: Any) -> None:
        needed = sorted(name.decode(errors="replace") for name in pipeline.smembers(pins_key(version)))
        if needed and not force:
            raise FeatureStoreError(
                f"{version} is pinned by {', '.join(needed)}. Unpin it (understudy features unpin) or say --force."
            )
        pipeline.multi()
        pipeline.delete(features_key(version), loading_key(version), pins_key(version))

    # First what tells others that it is there, last the entry by which another attempt would find the rest.
    client.transaction(forget, pins_key(version))
    dropped, done = 0, 0
    for keys in portions(buckets_keys(version, users)):
        pipeline = client.pipeline(transaction=True)
        for key in keys:
            pipeline.hlen(key)
        pipeline.unlink(*keys)
        dropped += sum(pipeline.execute()[:-1])
        done += len(keys)
        progress(min(users, done * users // buckets_of(users)), users)
    client.hdel(VERSIONS, version)
    return dropped


def listed(client: Any) -> list[Listed]:
    """All versions that have vectors or pins, the newest first."""
    known = {version.decode(): int(users) for version, users in client.hgetall(VERSIONS).items()}
    lines = [_listed(client, version, users) for version, users in sorted(known.items())]
    expired = [line.version for line in lines if not line.megabytes and not line.pins and line.loading is None]
    if expired:
        client.hdel(VERSIONS, *expired)
    return sorted((line for line in lines if line.version not in expired), key=lambda line: line.age_seconds or 0)


def loading_of(client: Any, key: str) -> Loading | None:
    """How far a loading is; None when there is none under way."""
    value = client.get(key)
    return None if value is None else msgspec.json.decode(value, type=Loading)


def portions(keys: Sequence[T]) -> Iterator[Sequence[T]]:
    """`keys` in portions that Redis handles in a moment."""
    for start in range(0, len(keys), PORTION):
        yield keys[start : start + PORTION]


def _users(client: Any, version: str) -> int:
    return int(client.hget(VERSIONS, version) or 0)


def _listed(client: Any, version: str, users: int) -> Listed:
    loaded = find(client, version)
    expires = client.ttl(features_key(version))
    loading = loading_of(client, loading_key(version))
    return Listed(
        version=version,
        loaded=loaded,
        loading=loading.done if loading else None,
        users=users,
        megabytes=_bytes(client, version, users) / 1e6,
        pins=pins(client, version),
        expires_seconds=expires if expires >= 0 else None,
        age_seconds=time.time() - loaded.loaded_us / 1e6 if loaded else None,
    )


def _bytes(client: Any, version: str, users: int) -> float:
    """Memory of a version, from a sample of its hashes."""
    keys = buckets_keys(version, users)
    pipeline = client.pipeline(transaction=False)
    sample = keys[:: max(1, len(keys) // SAMPLE)]
    for key in sample:
        pipeline.execute_command("MEMORY USAGE", key)
    sizes = [size or 0 for size in pipeline.execute()]
    return float(sum(sizes)) / len(sizes) * len(keys)
