"""Writing events and erasing users while requests wait, each write under its deadline.

A write that was not done is a `StoreWriteError` with its fault; sent again with the same id, an event is kept once.
Recovery needs no restart. Next module: `bentos.feature_scripts`, the steps that Redis takes at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, Final

from bentos.errors import StoreWriteError
from bentos.feature_lane import LaneError
from bentos.feature_lanes import Lanes
from bentos.feature_scripts import ADD_EVENT, CORRUPT, EventLimits
from bentos.feature_store import WARM_SECONDS
from bentos.feature_versions import VERSIONS, erase_commands
from bentos.features import (
    LATEST_US,
    LONGEST_ID,
    Event,
    NewEvent,
    encoded,
    event_ids_key,
    events_key,
    seen_key,
)

EVENTS_AT_ONCE: Final = 16
"""Events of an array in one round trip: Redis takes them in half a millisecond, and then it is the turn of others."""
EVENTS_SECONDS: Final = 5.0
"""How long the round trips of one array may take in all: well within the time after which the server gives up."""


class RedisEventStore:
    """Writes events and erases users in the Redis at `url`; see `EventStore`."""

    def __init__(self, url: str, deadline_seconds: float, connections: int, limits: EventLimits) -> None:
        self._lanes = Lanes(url, connections, deadline_seconds)
        self._deadline = deadline_seconds
        self._limits = limits

    async def add(self, user_id: str, event_id: str, event: Event) -> bool:
        """`add_many` of one: whether it was not kept before."""
        return bool(await self.add_many([(user_id, event_id, event)]))

    async def add_many(self, events: Sequence[NewEvent]) -> int:
        """Each is one step in Redis: event, item as seen and event id, or none of them; `EVENTS_AT_ONCE` of them go in
        one round trip. `ValueError` for an unusable event, before any is kept; see `EventStore`.
        """
        commands = [self._add(*each) for each in events]
        added, left = 0, EVENTS_SECONDS
        for start in range(0, len(commands), EVENTS_AT_ONCE):
            started = time.monotonic()
            added += sum(await self._ask(commands[start : start + EVENTS_AT_ONCE], left))
            left = max(0.0, left - (time.monotonic() - started))
        return added

    def _add(self, user_id: str, event_id: str, event: Event) -> tuple[Any, ...]:
        check(user_id, event_id, event)
        keys = (seen_key(user_id), events_key(user_id), event_ids_key(user_id))
        values = (event_id, event.item_id, repr(event.rating), event.timestamp_us)
        return ("EVAL", ADD_EVENT, len(keys), *keys, *values, *self._limits)

    async def erase(self, user_id: str) -> int:
        """Remove what the store has of a user; the number of keys and vectors removed."""
        (versions,) = await self._ask([("HGETALL", VERSIONS)])
        found = dict(zip(versions[::2], versions[1::2], strict=True))
        replies = await self._ask([("MULTI",), *erase_commands(user_id, found), ("EXEC",)])
        return sum(replies[-1])

    async def connect(self, seconds: float = WARM_SECONDS) -> bool:
        """Open the connections; see `RedisFeatureStore.connect`."""
        return await self._lanes.connect(seconds)

    async def close(self) -> None:
        """Give the connections back."""
        await self._lanes.close()

    async def _ask(self, commands: Sequence[tuple[Any, ...]], longest: float = math.inf) -> list[Any]:
        """The replies, within the deadline or the `longest` seconds, whichever is less."""
        try:
            replies = await self._lanes.ask(commands, min(self._deadline, longest))
        except LaneError as error:
            raise StoreWriteError(error.fault) from None
        for reply in replies:
            if isinstance(reply, Exception):
                raise StoreWriteError(write_fault(reply)) from reply
        return replies


def check(user_id: str, event_id: str, event: Event) -> None:
    """`ValueError` names what of an event cannot be kept."""
    for name, value in (("user_id", user_id), ("event_id", event_id), ("item_id", event.item_id)):
        size = len(encoded(value))
        if not 1 <= size <= LONGEST_ID:
            raise ValueError(f"{name} must have 1 to {LONGEST_ID} bytes, not {size}")
        if encoded(value) != value.encode(errors="replace"):
            raise ValueError(f"{name} must be text, and half a surrogate pair is none")
    if "\n" in event.item_id:
        raise ValueError("item_id must be one line")
    if not abs(event.rating) <= 1e9:
        raise ValueError(f"rating must be a number of at most 1e9, not {event.rating}")
    if not 0 <= event.timestamp_us < LATEST_US:
        raise ValueError(f"timestamp_us must lie between 0 and 2^53 µs, not {event.timestamp_us}")


def write_fault(error: Exception) -> str:
    """The fault behind a write that Redis refused, one of `bentos.errors.WRITE_FAULTS`."""
    from redis import exceptions as redis_errors

    if isinstance(error, redis_errors.OutOfMemoryError):
        return "full"
    if isinstance(error, redis_errors.NoPermissionError | redis_errors.ReadOnlyError):
        return "read_only"
    return "corrupt" if CORRUPT in str(error) or "WRONGTYPE" in str(error) else "refused"
