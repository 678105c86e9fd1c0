"""The spool's bound in bytes, and what gives way when it is reached.

`used` counts every byte of every segment, open or closed, of all logs of one spool. Next module: `shadow.router.spool`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from shadow.contracts import SegmentEntry
from shadow.router.shipper_settings import STOP_MIRRORING

STOP_SHARE: Final = 0.8
"""With `stop_mirroring` the router is stopped at this share of the bound: what is in the pipe still comes."""
GO_SHARE: Final = 0.6
"""And goes on when so little is left."""

GiveUp = Callable[[SegmentEntry], bool]
"""Gives a closed segment up; False when that cannot be now (it is being uploaded)."""


class Budget:
    """How many bytes the spool holds, and which closed segment is the oldest."""

    def __init__(self, limit: int, policy: str) -> None:
        self._limit = limit
        self._policy = policy
        self._closed: list[tuple[SegmentEntry, GiveUp]] = []
        self._stopped = False
        self.used = 0

    def closed(self, entry: SegmentEntry, give_up: GiveUp) -> None:
        """A segment was closed, later than all that were told before."""
        self._closed.append((entry, give_up))

    def spent(self, entry: SegmentEntry, give_up: GiveUp) -> None:
        """The store has a closed segment: it goes before all others when room is needed."""
        self.left(entry)
        self._closed.insert(0, (entry, give_up))

    def left(self, entry: SegmentEntry) -> None:
        """A closed segment can go no more."""
        self._closed = [each for each in self._closed if each[0] is not entry]

    def admits(self, size: int) -> bool:
        """Whether `size` more bytes may be written; with `drop_oldest` closed segments go for them."""
        while self.used + size > self._limit:
            if self._policy == STOP_MIRRORING or not any(give_up(entry) for entry, give_up in list(self._closed)):
                return False
        return True

    def stops(self) -> bool:
        """Whether the routers are to stop mirroring, from one asking to the next with a band between stop and go."""
        share = GO_SHARE if self._stopped else STOP_SHARE
        self._stopped = self._policy == STOP_MIRRORING and self.used >= share * self._limit
        return self._stopped
