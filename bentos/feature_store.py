"""Reading a user's features while requests wait, each read under its deadline.

A read never fails a request: what cannot be read in time or made sense of is `Missing` with its fault, counted, and the
ladder in `bentos.recommend` falls back. Recovery needs no restart. Next module: `bentos.event_store`, the writes.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from bentos.feature_lane import LaneError
from bentos.feature_lanes import Lanes, LanesState
from bentos.feature_versions import FeatureVersion
from bentos.features import (
    LONGEST_VECTOR,
    Event,
    Features,
    Missing,
    bucket_of,
    buckets_of,
    encoded,
    features_key,
    vectors_key,
)
from bentos.messages import FeaturesInfo

WARM_SECONDS: Final = 1.0
REFRESH_SECONDS: Final = 1.0
"""How long reading what the gauges tell may take: nobody waits for it."""
READ_AT_ONCE: Final = 16
"""Users of a batch in one round trip: their replies are worked through in a millisecond or two, and then it is the turn
of others."""
TURN_SECONDS: Final = 1.0
"""How long a batch waits for those before it to be read; longer, and it is turned away like too many reads."""
COMMANDS: Final = 3
_decode_events: Final = msgspec.msgpack.Decoder(tuple[Event, ...]).decode


@dataclass(frozen=True, slots=True)
class StoreState:
    """For gauges and `GET /model`: the connections, failed reads by fault, and what is loaded of the served version
    (None: nothing), which was so when it was read last; `current`: whether that was a moment ago."""

    lanes: LanesState
    faults: dict[str, int]
    loaded: FeatureVersion | None
    current: bool = False

    @property
    def features(self) -> FeaturesInfo:
        """As `GET /model` tells it: what cannot be read now is unknown."""
        if not self.current:
            return FeaturesInfo("unknown", 0)
        return FeaturesInfo("missing", 0) if self.loaded is None else FeaturesInfo("loaded", self.loaded.users)


class RedisFeatureStore:
    """Reads features of the model `version` of `users` users and `dimension` from the Redis at `url`.

    At most `connections` connections; a read takes at most `deadline_seconds`, and Redis' share of reading a batch at
    most `batch_deadline_seconds` in all.
    """

    def __init__(
        self,
        url: str,
        version: str,
        users: int,
        dimension: int,
        deadline_seconds: float,
        connections: int,
        *,
        batch_deadline_seconds: float,
    ) -> None:
        self._lanes = Lanes(url, connections, deadline_seconds, batch_deadline_seconds)
        self._batch_deadline = batch_deadline_seconds
        self._batches = asyncio.Lock()
        self._version = version
        self._dimension = dimension
        self._keys = [vectors_key(version, bucket).encode() for bucket in range(buckets_of(users))]
        self._faults: Counter[str] = Counter()
        self._loaded: FeatureVersion | None = None
        self._current = False

    async def read(self, user_id: str) -> Features | Missing:
        """One round trip, shared with whoever asks at the same moment; see `FeatureStore`."""
        try:
            replies = await self._lanes.ask(self._commands(user_id))
        except LaneError as error:
            return self._missing(error.fault)
        return self._features(replies)

    async def read_many(self, user_ids: Sequence[str]) -> list[Features | Missing]:
        """A round trip for every `READ_AT_ONCE` users, one after the other, so that a batch has one connection and
        single reads have the others. Batches take turns: together they would only keep the processor longer.
        """
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await self._batches.acquire()
        except TimeoutError:
            return [self._missing("saturated") for _ in user_ids]
        try:
            return await self._read_in_turn(user_ids)
        finally:
            self._batches.release()

    async def _read_in_turn(self, user_ids: Sequence[str]) -> list[Features | Missing]:
        found: list[Features | Missing] = []
        left = self._batch_deadline
        for start in range(0, len(user_ids), READ_AT_ONCE):
            asked = user_ids[start : start + READ_AT_ONCE]
            started = time.monotonic()
            try:
                replies = await self._lanes.ask([each for user_id in asked for each in self._commands(user_id)], left)
            except LaneError as error:
                # The deadline is for all: nobody else is asked for.
                return found + [self._missing(error.fault) for _ in user_ids[start:]]
            # Only waiting counts against it, not what becomes of the replies.
            left = max(0.0, left - (time.monotonic() - started))
            found += [self._features(replies[at : at + COMMANDS]) for at in range(0, len(replies), COMMANDS)]
            await asyncio.sleep(0)
        return found

    def _commands(self, user_id: str) -> tuple[tuple[bytes, ...], ...]:
        """What Redis is asked for one user: `COMMANDS` of them."""
        user = encoded(user_id)
        key = self._keys[bucket_of(user, len(self._keys))]
        return ((b"HGET", key, user), (b"GET", b"seen:" + user), (b"GET", b"events:" + user))

    def _features(self, replies: Sequence[Any]) -> Features | Missing:
        """What the replies to `_commands` say."""
        for reply in replies:
            if isinstance(reply, Exception):
                return self._missing("corrupt" if str(reply).startswith("WRONGTYPE") else "refused")
        try:
            return Features(self._vector(replies[0]), decoded_seen(replies[1]), decoded_events(replies[2]))
        except ValueError:
            return self._missing("corrupt")

    async def connect(self, seconds: float = WARM_SECONDS) -> bool:
        """Open the connections ahead of the first user; whether all are. Never raises, never waits longer."""
        return await self._lanes.connect(seconds)

    async def refresh(self) -> None:
        """Read what is loaded of the served version, for the gauges. Never raises, and has a deadline of its own; what
        was known stays when Redis is late or away.
        """
        try:
            (reply,) = await self._lanes.ask((("GET", features_key(self._version)),), REFRESH_SECONDS)
            self._loaded = None if reply is None else msgspec.json.decode(reply, type=FeatureVersion)
            self._current = True
        except (LaneError, msgspec.DecodeError, TypeError):
            self._current = False

    async def keep_fresh(self, tell: Callable[[StoreState], None], seconds: float) -> None:
        """Refresh and tell the state every so many seconds, until cancelled."""
        while True:
            await self.refresh()
            tell(self.state)
            await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Give the connections back."""
        await self._lanes.close()

    @property
    def state(self) -> StoreState:
        """Connections, faults and what is loaded, as far as known."""
        return StoreState(self._lanes.state, dict(self._faults), self._loaded, self._current)

    def _missing(self, fault: str) -> Missing:
        self._faults[fault] += 1
        return Missing(fault)

    def _vector(self, value: bytes | None) -> NDArray[np.float32] | None:
        if value is None:
            return None
        if len(value) != 4 * self._dimension:
            raise ValueError(f"{len(value)} bytes")
        vector = np.frombuffer(value, dtype="<f4")
        # One pass tells of nan, infinity, absurd length and of no length at all.
        with np.errstate(over="ignore", invalid="ignore"):
            square = float(np.dot(vector, vector))
        if not square <= LONGEST_VECTOR**2:
            raise ValueError(f"the square of its length is {square}")
        return vector if square else None


def decoded_seen(value: bytes | None) -> frozenset[str]:
    """The items in the value of `seen_key`; `ValueError` when it is no text."""
    return frozenset(value.decode().split("\n")) if value else frozenset()


def decoded_events(value: bytes | None) -> tuple[Event, ...]:
    """The events in the value of `events_key`; `ValueError` when they are none."""
    return _decode_events(value) if value else ()
