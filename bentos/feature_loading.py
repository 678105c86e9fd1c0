"""Filling the feature store: facts for all versions, vectors for one; verifying and dropping them.

Pipelined, in batches, so that a laptop loads tens of thousands of users a second. Loading again overwrites with the
same values: it can be repeated after an interruption. Next module: `bentos.features_cli`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import redis

from bentos.bundle import Bundle
from bentos.errors import FeatureStoreError
from bentos.features import events_key, seen_key, vector_key

BATCH: Final = 2_000
"""Keys per round trip."""
LAST_EVENTS: Final = 50
"""Events kept per user, newest last."""
FACTS: Final = pa.schema(
    [("user_id", pa.string()), ("item_id", pa.string()), ("rating", pa.float32()), ("timestamp_us", pa.int64())]
)
"""The columns of a facts file, ordered by user and time."""
SECONDS: Final = 10.0
Progress = Callable[[int, int], None]


@contextmanager
def connected(url: str) -> Iterator[Any]:
    """A client of the Redis at `url`; its errors become `FeatureStoreError` with the address and the remedy."""
    client = redis.Redis.from_url(url, socket_connect_timeout=SECONDS, socket_timeout=SECONDS)
    try:
        client.ping()
        yield client
    except redis.RedisError as error:
        raise FeatureStoreError(
            f"{url}: {str(error).rstrip('.')}. Is Redis running there (understudy redis --port …)?"
        ) from error
    finally:
        client.close()


def load_facts(client: Any, path: Path, progress: Progress) -> int:
    """Load what users did from the facts file at `path`; returns the number of users. `FeatureStoreError` if unfit."""
    table = _facts(path)
    users = table["user_id"].to_pylist()
    starts = [0, *(row for row in range(1, len(users)) if users[row] != users[row - 1])]
    if len({users[start] for start in starts}) != len(starts):
        raise FeatureStoreError(f"{path}: not ordered by user. Write it with understudy data facts.")
    items, ratings, times = (table[name].to_pylist() for name in ("item_id", "rating", "timestamp_us"))

    def values() -> Iterator[tuple[str, bytes]]:
        for start, end in zip(starts, [*starts[1:], len(users)], strict=True):
            yield seen_key(users[start]), "\n".join(dict.fromkeys(items[start:end])).encode()
            last = range(max(start, end - LAST_EVENTS), end)
            yield events_key(users[start]), msgspec.json.encode([(items[i], ratings[i], times[i]) for i in last])

    _write(client, values(), 2 * len(starts), progress)
    return len(starts)


def load_vectors(client: Any, bundle: Bundle, progress: Progress) -> int:
    """Load the user vectors of `bundle` under its version; returns the number of users."""
    version = bundle.manifest.version
    vectors = np.ascontiguousarray(bundle.user_vectors, dtype="<f4")
    pairs = ((vector_key(version, user), row.tobytes()) for user, row in zip(bundle.user_ids, vectors, strict=True))
    _write(client, pairs, len(bundle.user_ids), progress)
    loaded = {
        "users": len(bundle.user_ids),
        "dimension": bundle.manifest.dimension,
        "loaded_us": time.time_ns() // 1000,
    }
    client.set(f"features:{version}", msgspec.json.encode(loaded))
    return len(bundle.user_ids)


def verify_vectors(client: Any, bundle: Bundle) -> list[str]:
    """The users whose vector in the store is missing or is not the bundle's."""
    version, wrong = bundle.manifest.version, []
    for start in range(0, len(bundle.user_ids), BATCH):
        users = bundle.user_ids[start : start + BATCH]
        found = client.mget([vector_key(version, user) for user in users])
        rows = np.ascontiguousarray(bundle.user_vectors[start : start + BATCH], dtype="<f4")
        wrong += [user for user, value, row in zip(users, found, rows, strict=True) if value != row.tobytes()]
    return wrong


def drop_vectors(client: Any, version: str) -> int:
    """Remove all vectors of one version; returns how many there were. Facts stay."""
    dropped = 0
    batch: list[bytes] = []
    for key in client.scan_iter(match=vector_key(version, "*"), count=BATCH):
        batch.append(key)
        if len(batch) == BATCH:
            dropped += client.unlink(*batch)
            batch = []
    dropped += client.unlink(*batch) if batch else 0
    client.delete(f"features:{version}")
    return dropped


def _facts(path: Path) -> pa.Table:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise FeatureStoreError(f"{path}: not a facts file ({error}). Write it with understudy data facts.") from error
    if not table.schema.equals(FACTS):
        raise FeatureStoreError(f"{path}: columns {table.schema.names}, not {FACTS.names}. Write it with data facts.")
    if any(pc.any(pc.is_null(column)).as_py() for column in table.columns):
        raise FeatureStoreError(f"{path}: null values. Write it with understudy data facts.")
    return table


def _write(client: Any, values: Iterable[tuple[str, bytes]], total: int, progress: Progress) -> None:
    pipeline, done = client.pipeline(transaction=False), 0
    for key, value in values:
        pipeline.set(key, value)
        done += 1
        if done % BATCH == 0:
            pipeline.execute()
            progress(done, total)
    pipeline.execute()
    progress(done, total)
