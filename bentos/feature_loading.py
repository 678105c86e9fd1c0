"""Loading the vectors of a bundle into Redis, and comparing what is there with the bundle.

A load that was interrupted goes on where it stopped, and a version that is whole is not loaded again. Vectors are
written in the order of the hashes they lie in, some thousands in one round trip, from the memory-mapped file. The
announcement comes last, once Redis' own count says that all are there. Next module: `bentos.feature_facts`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import redis
from hiredis import pack_command
from numpy.typing import NDArray

from bentos.bundle import Bundle
from bentos.errors import FeatureStoreError
from bentos.feature_versions import (
    SPREAD_SECONDS,
    TTL_SECONDS,
    VERSIONS,
    FeatureVersion,
    Loading,
    Progress,
    buckets_keys,
    find,
    keep,
    loading_key,
    loading_of,
    portions,
)
from bentos.features import bucket_of, buckets_of, encoded, features_key, vectors_key
from bentos.redis_url import masked

SECONDS: Final = 10.0
"""How long a command waits for Redis."""
LOADING_SECONDS: Final = 7 * 86_400
"""How long an interrupted load can be taken up again."""
Command = tuple[Any, ...]
Portion = tuple[list[Command], int]
"""Commands, and how much is done after them."""


@dataclass(frozen=True)
class Loaded:
    """What a load did: users in all, how many of them an earlier, interrupted load had brought, and whether there was
    nothing to do. `merged`: values of facts that were joined with what was there already.
    """

    users: int
    resumed_at: int = 0
    already: bool = False
    merged: int = 0


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A client of the Redis at `url`; its errors become `FeatureStoreError` with the address and the remedy."""
    try:
        client = redis.Redis.from_url(url, socket_connect_timeout=SECONDS, socket_timeout=SECONDS, protocol=2)
    except ValueError as error:
        raise FeatureStoreError(f"{masked(url)} is not the URL of a Redis (redis://host:port/0).") from error
    try:
        client.ping()
        yield client
    except redis.RedisError as error:
        raise FeatureStoreError(f"{masked(url)}: {str(error).rstrip('.')}. {_remedy(error)}") from error
    finally:
        client.close()


def load_vectors(
    client: Any, bundle: Bundle, progress: Progress, *, ttl_seconds: int = TTL_SECONDS, again: bool = False
) -> Loaded:
    """Load the user vectors of `bundle` under its version, unless they are there and not wanted `again`."""
    version, users = bundle.manifest.version, len(bundle.user_ids)
    if again:
        client.delete(loading_key(version))
    elif find(client, version) is not None:
        return Loaded(users, already=True)
    client.hset(VERSIONS, version, users)
    marker = Marker.of(client, loading_key(version))

    def portions_of_commands() -> Iterator[Portion]:
        done = marker.done
        for keys, rows in _portions(bundle, done):
            commands: list[Command] = []
            for key, members in zip(keys, rows, strict=True):
                commands.append(_write(key, bundle, members))
                commands.append(("EXPIRE", key, ttl_seconds + 60 + done % SPREAD_SECONDS))
                done += len(members)
            yield [*commands, marker.command(done)], done

    for replies, done in executed(client, portions_of_commands()):
        marker.check(replies[-1])
        progress(done, users)
    _announce(client, bundle, ttl_seconds)
    return Loaded(users, resumed_at=marker.done)


def verify_vectors(client: Any, bundle: Bundle, progress: Progress) -> list[str]:
    """The users whose vector in the store is missing or is not the bundle's, in order."""
    wrong: list[str] = []
    done = 0
    for keys, rows in _portions(bundle, 0):
        pipeline = client.pipeline(transaction=False)
        for key, members in zip(keys, rows, strict=True):
            pipeline.hmget(key, [encoded(bundle.user_ids[row]) for row in members])
        for found, members in zip(pipeline.execute(), rows, strict=True):
            values = _values(bundle, members)
            wrong += [bundle.user_ids[row] for row, a, b in zip(members, found, values, strict=True) if a != b]
            done += len(members)
        progress(done, len(bundle.user_ids))
    return sorted(wrong)


def executed(client: Any, portions: Iterator[Portion]) -> Iterator[tuple[list[Any], int]]:
    """The replies to each portion of commands, in turn; while Redis works on one, the next is made.

    On one connection and in one thread: a second thread would wait for the interpreter most of the time.
    """
    pool = client.connection_pool
    connection = pool.get_connection()
    try:
        before: tuple[int, int] | None = None
        for commands, done in portions:
            if before is not None:
                yield [connection.read_response() for _ in range(before[0])], before[1]
            connection.send_packed_command([b"".join(map(pack_command, commands))])
            before = len(commands), done
        if before is not None:
            yield [connection.read_response() for _ in range(before[0])], before[1]
    except BaseException:
        # Replies may be under way that belong to nobody.
        connection.disconnect()
        raise
    finally:
        pool.release(connection)


class Marker:
    """How far a load is, in Redis beside what it loads. Written with every portion, so that the next one can go on.

    It is written only while it is there: when it is gone, somebody has dropped what is being loaded.
    """

    def __init__(self, key: str, loading: Loading) -> None:
        self._key = key
        self._loading = loading

    @staticmethod
    def of(client: Any, key: str) -> Marker:
        """The marker of an interrupted load, or a new one."""
        client.set(key, msgspec.json.encode(Loading(loader=uuid.uuid4().hex, done=0)), nx=True, ex=LOADING_SECONDS)
        found = loading_of(client, key)
        if found is None:
            raise FeatureStoreError(f"{key} vanished from Redis while it was read. Load again.")
        return Marker(key, found)

    @property
    def done(self) -> int:
        """How far the interrupted load was; 0 for a new one."""
        return self._loading.done

    def command(self, done: int) -> Command:
        """Says how far it is now."""
        value = msgspec.json.encode(msgspec.structs.replace(self._loading, done=done))
        return "SET", self._key, value, "XX", "EX", LOADING_SECONDS

    def check(self, reply: Any) -> None:
        """`FeatureStoreError` when the marker was gone."""
        if not reply:
            raise FeatureStoreError(
                f"{self._key} is gone from Redis: dropped or evicted while it was loaded. Load it again."
            )


def _portions(bundle: Bundle, done: int) -> Iterator[tuple[list[str], list[NDArray[np.int64]]]]:
    """Keys and the user rows of each, some thousands of users at a time, from the user number `done` on."""
    order, starts, keys = _by_bucket(bundle)
    ends = np.append(starts[1:], len(order))
    first = int(np.searchsorted(starts, done))
    for numbers in portions(range(first, len(starts))):
        yield [keys[each] for each in numbers], [order[starts[each] : ends[each]] for each in numbers]


def _by_bucket(bundle: Bundle) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """User rows in the order of their hashes, where each hash that has users begins, and its key."""
    buckets = buckets_of(len(bundle.user_ids))
    bucket = np.fromiter((bucket_of(encoded(user), buckets) for user in bundle.user_ids), np.int64)
    order = np.argsort(bucket, kind="stable")
    present, starts = np.unique(bucket[order], return_index=True)
    return order, starts, [vectors_key(bundle.manifest.version, int(each)) for each in present]


def _values(bundle: Bundle, rows: NDArray[np.int64]) -> list[bytes]:
    size = 4 * bundle.manifest.dimension
    packed = np.ascontiguousarray(bundle.user_vectors[rows], dtype="<f4").tobytes()
    return [packed[start : start + size] for start in range(0, len(packed), size)]


def _write(key: str, bundle: Bundle, rows: NDArray[np.int64]) -> Command:
    fields: list[bytes] = []
    for row, value in zip(rows, _values(bundle, rows), strict=True):
        fields += (encoded(bundle.user_ids[row]), value)
    return "HSET", key, *fields


def _announce(client: Any, bundle: Bundle, ttl_seconds: int) -> None:
    """Say that the version is there, if it is: `FeatureStoreError` when Redis counts otherwise."""
    manifest, users = bundle.manifest, len(bundle.user_ids)
    pipeline = client.pipeline(transaction=False)
    for key in buckets_keys(manifest.version, users):
        pipeline.hlen(key)
    found = sum(pipeline.execute())
    if found != users:
        client.delete(loading_key(manifest.version))
        raise FeatureStoreError(f"{manifest.version}: Redis has {found:,} of {users:,} vectors. Load it again.")
    loaded = FeatureVersion(
        name=manifest.name,
        version=manifest.version,
        users=users,
        dimension=manifest.dimension,
        loaded_us=time.time_ns() // 1000,
        ttl_seconds=ttl_seconds,
    )
    pipeline = client.pipeline(transaction=True)
    pipeline.set(features_key(manifest.version), msgspec.json.encode(loaded), ex=ttl_seconds)
    # Whoever listed the versions just before the first vector was there has taken it for one that expired.
    pipeline.hset(VERSIONS, manifest.version, users)
    pipeline.delete(loading_key(manifest.version))
    pipeline.execute()
    keep(client, manifest.version)


def _remedy(error: redis.RedisError) -> str:
    if isinstance(error, redis.exceptions.OutOfMemoryError):
        return "Make room (understudy features list, drop VERSION) or raise maxmemory; then the same command goes on."
    if isinstance(error, redis.exceptions.AuthenticationError):
        return "Give user and password in the URL, or in UNDERSTUDY_REDIS_URL (understudy redis acl)."
    if isinstance(error, redis.exceptions.NoPermissionError):
        return "This user may not do that; use the writer (understudy redis acl)."
    return "Is Redis running there (understudy redis --port …)?"
