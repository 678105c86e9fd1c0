"""What is known of a user, where it lies in Redis, and what the ladder and the API need of a store.

Facts (`seen`, `events`) are shared by all model versions, vectors are per version (DESIGN §4; docs/features.md has
every key with its size). The vectors of a version lie in hashes of about `USERS_PER_BUCKET` users, so that pinning,
expiry and dropping touch thousands of keys and not millions (docs/decisions/0006). Next module:
`bentos.feature_lane`, a connection that carries questions to Redis.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

FAULTS: Final = ("timeout", "unreachable", "refused", "corrupt", "saturated")
"""Reasons of `Missing`: Redis did not answer within the deadline, or is known to be late; no connection; it answered
with an error (password, rights, loading, its own limit of connections); a value of the wrong type, size or form; more
reads are waiting in this process than it lets wait."""
USERS_PER_BUCKET: Final = 32
"""Users in one hash, on average. Few enough that Redis keeps the hash in one piece (a listpack), many enough that a
version has few keys."""
LAST_EVENTS: Final = 200
"""Events kept per user, in the order of time: with 50 a fold-in loses (docs/decisions/0010)."""
LONGEST_ID: Final = 1_024
"""Bytes of a user, item or event id: 256 characters."""
LONGEST_VECTOR: Final = 1e12
"""Length of a vector; one of more is no model's, and its inner products may be no numbers."""
LATEST_US: Final = 2**53
"""Times in µs lie before it: Redis' Lua computes with doubles."""


class Event(msgspec.Struct, frozen=True, array_like=True):
    """A user rated an item: stars, and when in µs since 1970. Three values in a row, in JSON as in MessagePack."""

    item_id: str
    rating: Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
    """The bounds are there to refuse what is not a number."""
    timestamp_us: int


NewEvent = tuple[str, str, Event]
"""A user, the id that the sender gave the event, and the event."""


@dataclass(frozen=True, slots=True)
class Features:
    """What the store holds of one user: the vector of this model version, if any, the items seen, and the last
    events in the order of time, the newest last.
    """

    vector: NDArray[np.float32] | None
    seen: frozenset[str]
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Missing:
    """The store could not say; `fault` is one of `FAULTS`."""

    fault: str


class FeatureStore(Protocol):
    """What the ladder needs of a store."""

    async def read(self, user_id: str) -> Features | Missing:
        """The user's features, or why they are missing; never raises, never waits beyond its deadline."""

    async def read_many(self, user_ids: Sequence[str]) -> list[Features | Missing]:
        """Of each user in order what `read` gives, under one deadline for them all; never raises."""


class EventStore(Protocol):
    """What the API needs to write. Both raise `StoreWriteError` within the deadline when Redis did not do it."""

    async def add_many(self, events: Sequence[NewEvent]) -> int:
        """Keep each event and its item as seen; how many were not kept before under their ids. After an error some may
        have been kept, and all may be sent again.
        """

    async def erase(self, user_id: str) -> int:
        """Remove facts, events and the vectors of all versions of a user; how many keys that were."""


def buckets_of(users: int) -> int:
    """How many hashes the vectors of a version of so many users are in."""
    return max(1, -(-users // USERS_PER_BUCKET))


def bucket_of(user: bytes, buckets: int) -> int:
    """The hash that the vector of `user` is in."""
    return zlib.crc32(user) % buckets


def vectors_key(version: str, bucket: int) -> str:
    """A hash: user id → vector, float32 little-endian."""
    return f"vec:{version}:{bucket}"


def encoded(user_id: str) -> bytes:
    """A user id as Redis has it. Any text has a form, so that a strange id is an unknown user and no error."""
    return user_id.encode("utf-8", "surrogatepass")


def seen_key(user_id: str) -> bytes:
    """A string: the ids of the items that the user has seen, one a line, for all versions."""
    return b"seen:" + encoded(user_id)


def events_key(user_id: str) -> bytes:
    """A string: the user's last events as MessagePack, for all versions."""
    return b"events:" + encoded(user_id)


def event_ids_key(user_id: str) -> bytes:
    """A sorted set: ids of events that were taken → second when, so that the same event is taken once."""
    return b"event_ids:" + encoded(user_id)


def features_key(version: str) -> str:
    """A string: what is loaded of a version (`bentos.feature_versions`). It is there only when all of it is."""
    return f"features:{version}"
