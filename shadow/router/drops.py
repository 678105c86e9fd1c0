"""What one log's shipper gave up, counted by reason and told in the process's log, once a second at most.

Next module: `shadow.router.spool`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from shadow.contracts import SpoolDrop
from shadow.router.shipper_metrics import ShipperCounters

logger = logging.getLogger(__name__)

TELL_SECONDS: Final = 1.0


class Drops:
    """The drops of the log `name`: those an earlier shipper `kept`, and what comes."""

    def __init__(self, name: str, counters: ShipperCounters, kept: Iterable[SpoolDrop] = ()) -> None:
        self._name = name
        self._counters = counters
        self._by_reason = {drop.reason: drop for drop in kept}
        self._untold = ""
        self._told_at = -TELL_SECONDS

    @property
    def entries(self) -> tuple[SpoolDrop, ...]:
        """For the manifest: at most one for each reason."""
        return tuple(self._by_reason.values())

    def last(self, reason: str) -> int:
        """The highest number that was given up for `reason`; −1 when there is none."""
        return self._by_reason[reason].last_sequence if reason in self._by_reason else -1

    def add(self, reason: str, records: int, size: int, sequences: tuple[int, int], why: str) -> None:
        """`records` of `size` compressed bytes within `sequences` are given up."""
        known = self._by_reason.get(reason)
        first, last = sequences
        self._by_reason[reason] = SpoolDrop(
            reason=reason,
            records=records + (known.records if known else 0),
            bytes=size + (known.bytes if known else 0),
            first_sequence=min(first, known.first_sequence) if known else first,
            last_sequence=max(last, known.last_sequence) if known else last,
        )
        self._counters.dropped[reason] += records
        self._untold = why

    def tell(self, now: float) -> bool:
        """Log what was given up since the last time, if that is long enough ago; whether anything was."""
        if not self._untold or now - self._told_at < TELL_SECONDS:
            return False
        total = sum(drop.records for drop in self._by_reason.values())
        logger.error("%s: %d records lost so far: %s", self._name, total, self._untold)
        self._untold, self._told_at = "", now
        return True
