"""The segment that grows: records come in, frames go to the spool, what bound or disk refuses is counted.

Next module: `shadow.router.spool`, which closes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shadow.contracts import DISK, SPOOL_FULL
from shadow.router.budget import Budget
from shadow.router.drops import Drops
from shadow.router.shipper_metrics import ShipperCounters
from shadow.router.shipper_settings import ShipperSettings
from shadow.segment_writer import FrameLostError, SegmentWriter

FLUSH_SECONDS: Final = 0.8
"""A record is in a frame on disk so long after it came, and a tick later at most: a kill costs at most a second."""
REFUSED_SECONDS: Final = 1.0
"""How long a disk that refused is left alone."""


@dataclass
class Spool:
    """What all logs of one shipper share."""

    settings: ShipperSettings
    budget: Budget
    counters: ShipperCounters

    @staticmethod
    def of(settings: ShipperSettings) -> Spool:
        """An empty one; nothing is touched yet."""
        return Spool(settings, Budget(settings.spool_bytes, settings.when_full), ShipperCounters())


class Growing:
    """The open segment of one log, if there is one. Nothing here raises: what is not written is among the drops.

    What returns a truth says with it that the segment is to be closed: it is large enough, or the spool is full, and
    only closed segments can be uploaded or given up.
    """

    def __init__(self, directory: Path, spool: Spool, drops: Drops) -> None:
        self._directory = directory
        self._spool = spool
        self._drops = drops
        self._writer: SegmentWriter | None = None
        self._refused_until = 0.0
        self._refusal = ""

    @property
    def open(self) -> bool:
        """Whether there is one."""
        return self._writer is not None

    @property
    def first_sequence(self) -> int | None:
        """The number of its first record; None when there is none."""
        return self._writer.first_sequence if self._writer is not None else None

    @property
    def pending(self) -> int:
        """Records in memory."""
        return self._writer.pending if self._writer is not None else 0

    def append(self, line: bytes, sequence: int, event_us: int, now: float, arrival_us: int = -1) -> bool:
        """Take one record."""
        self._spool.counters.received += 1
        writer = self._writer or self._open(sequence, now)
        if writer is None:
            self._drops.add(DISK, 1, 0, (sequence, sequence), self._refusal)
            return False
        before = writer.bytes, writer.extent.records
        try:
            writer.append(line, sequence, event_us, now, arrival_us)
        except FrameLostError as error:
            return self._lost(error)
        return writer.bytes != before[0] and self._grown(writer, before)

    def flush(self) -> bool:
        """What is in memory goes to the disk now."""
        writer = self._writer
        if writer is None:
            return False
        before = writer.bytes, writer.extent.records
        try:
            writer.flush()
        except FrameLostError as error:
            return self._lost(error)
        return self._grown(writer, before)

    def tick(self, now: float) -> bool:
        """Flush what has waited for its time."""
        writer = self._writer
        if writer is None:
            return False
        if now - writer.opened_at >= self._spool.settings.segment_seconds:
            return True
        waited = writer.pending_since is not None and now - writer.pending_since >= FLUSH_SECONDS
        return waited and self.flush()

    def release(self) -> SegmentWriter | None:
        """Let the segment go, all that came in it; None when there is none."""
        self.flush()
        writer, self._writer = self._writer, None
        return writer

    def _open(self, sequence: int, now: float) -> SegmentWriter | None:
        if now < self._refused_until:
            return None
        try:
            self._writer = SegmentWriter(self._directory, sequence, now, self._spool.budget.admits)
        except OSError as error:
            self._refused_until = now + REFUSED_SECONDS
            self._refusal = f"{error}. Free space on the volume of the spool, or let it be written."
        return self._writer

    def _grown(self, writer: SegmentWriter, before: tuple[int, int]) -> bool:
        self._spool.budget.used += writer.bytes - before[0]
        self._spool.counters.written += writer.extent.records - before[1]
        return writer.bytes >= self._spool.settings.segment_bytes

    def _lost(self, error: FrameLostError) -> bool:
        reason = SPOOL_FULL if error.refused else DISK
        self._drops.add(reason, error.records, 0, error.sequences, str(error))
        return error.refused
