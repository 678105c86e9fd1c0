"""The feature store: what is known of a user, read from Redis in one round trip under a deadline.

A request never fails for Redis. What cannot be read in time is `Missing` with a reason, and the ladder in
`bentos.recommend` falls back, labelled. While Redis is down, requests are spared the wait: after several failures in a
row reads are skipped for a cool-down with jitter. Key names are DESIGN §4's. Next module: `bentos.retrieval`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

COOL_DOWN_SECONDS: Final = 0.5
"""Mean pause after `FAILURES` before Redis is asked again."""
FAILURES: Final = 5
"""Failures in a row that start a cool-down: one late answer on a busy machine is no outage."""
WARM_CONNECTIONS: Final = 4
WARM_SECONDS: Final = 1.0
FAULTS: Final = ("timeout", "unreachable", "refused", "corrupt", "cooling")
"""Reasons of `Missing`: deadline passed; no connection; Redis answered with an error; a value of the wrong size or
form; not asked, because reads have been failing a moment ago."""


class Event(msgspec.Struct, frozen=True):
    """A user rated an item: stars, and when in µs since 1970."""

    item_id: str
    rating: float
    timestamp_us: int


@dataclass(frozen=True)
class Features:
    """What the store holds of one user: the vector of this model version, if any, the items seen, and the last
    events in the order of time, the newest last.
    """

    vector: NDArray[np.float32] | None
    seen: frozenset[str]
    events: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Missing:
    """The store could not say; `fault` is one of `FAULTS`."""

    fault: str


class FeatureStore(Protocol):
    """What the ladder needs of a store."""

    async def read(self, user_id: str) -> Features | Missing:
        """The user's features, or why they are missing; never raises, never waits beyond its deadline."""


class EventStore(Protocol):
    """What the API needs to write. Both raise `StoreWriteError` within the deadline when Redis did not do it."""

    async def add(self, user_id: str, event_id: str, event: Event) -> bool:
        """Keep one event and its item as seen; False when an event of this id was kept before."""

    async def erase(self, user_id: str) -> int:
        """Remove facts, events and the vectors of all versions of a user; how many keys that were."""


def vector_key(version: str, user_id: str) -> str:
    """Where the user's vector of a model version is."""
    return f"vec:{version}:{user_id}"


def seen_key(user_id: str) -> str:
    """Where the items that the user has seen are, for all versions."""
    return f"seen:{user_id}"


def events_key(user_id: str) -> str:
    """Where the user's last events are, for all versions."""
    return f"events:{user_id}"


class RedisFeatureStore:
    """Reads features of one model version of `dimension` from the Redis at `url`."""

    def __init__(
        self,
        url: str,
        version: str,
        dimension: int,
        deadline_seconds: float,
        connections: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        import redis.asyncio
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        # A read that waits for a connection is a read that is late: the deadline covers both, and nothing retries.
        pool = redis.asyncio.BlockingConnectionPool.from_url(
            url,
            max_connections=connections,
            timeout=deadline_seconds,
            socket_connect_timeout=max(deadline_seconds, 0.05),
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
        self._redis: Any = redis.asyncio.Redis(connection_pool=pool)
        self._version = version
        self._dimension = dimension
        self._deadline = deadline_seconds
        self._clock = clock
        self._closed_until = 0.0
        self._failed = 0

    async def read(self, user_id: str) -> Features | Missing:
        """One pipelined round trip; see `FeatureStore`."""
        if self._clock() < self._closed_until:
            return Missing("cooling")
        try:
            async with asyncio.timeout(self._deadline):
                pipeline = self._redis.pipeline(transaction=False)
                pipeline.get(vector_key(self._version, user_id))
                pipeline.get(seen_key(user_id))
                vector, seen = await pipeline.execute()
        except Exception as error:
            return self._fail(error)
        self._failed = 0
        return self._decode(vector, seen)

    async def connect(self, connections: int = WARM_CONNECTIONS, seconds: float = WARM_SECONDS) -> bool:
        """Open some connections ahead of the first user; whether that went well. Never raises, never waits longer."""
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(self._redis.ping() for _ in range(connections)))
        except Exception:
            return False
        return True

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose(close_connection_pool=True)

    def _decode(self, vector: bytes | None, seen: bytes | None) -> Features | Missing:
        try:
            items = frozenset(seen.decode().split("\n")) if seen else frozenset()
        except UnicodeDecodeError:
            return Missing("corrupt")
        if vector is None:
            return Features(None, items)
        if len(vector) != 4 * self._dimension:
            return Missing("corrupt")
        values = np.frombuffer(vector, dtype="<f4")
        return Features(values, items) if np.isfinite(values).all() else Missing("corrupt")

    def _fail(self, error: Exception) -> Missing:
        import redis.exceptions as redis_errors

        self._failed += 1
        if self._failed >= FAILURES:
            self._closed_until = self._clock() + COOL_DOWN_SECONDS * random.uniform(0.5, 1.5)
        if isinstance(error, TimeoutError | redis_errors.TimeoutError):
            return Missing("timeout")
        # Authentication and permission errors are connection errors for redis-py, but they are answers.
        refused = (redis_errors.ResponseError, redis_errors.AuthenticationError, redis_errors.NoPermissionError)
        return Missing("refused" if isinstance(error, refused) else "unreachable")
