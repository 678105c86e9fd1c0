"""Writing one segment: whole zstd frames of JSON lines, closed by fsync and an atomic rename.

A frame is compressed in memory and reaches the file in one write, so what a killed process leaves behind is whole
frames and at most one torn tail. While it grows the file is called `….jsonl.zst.open`; only a closed segment has
the name that is shipped, so a reader never mistakes one for the other. Next module: `shadow.segment_recovery`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import zstandard

from shadow.contracts import SegmentEntry
from shadow.durable_files import publish

SUFFIX: Final = ".jsonl.zst"
OPEN_SUFFIX: Final = ".open"
"""Added to the name of a segment that is still being written, or was when its writer died."""
FRAME_BYTES: Final = 1 << 20
"""Raw bytes after which a frame is written without waiting for the clock: bounds memory and what a kill can cost."""
LEVEL: Final = 1
"""zstd level: on recommendation lists level 3 saves a few per cent of the bytes for half as much CPU again."""


class FrameLostError(Exception):
    """A frame could not be written (disk full, say): `records` are lost, the segment stays whole and usable.

    `sequences` is the range of their numbers; `refused` says that `admit` did it, not the disk.
    """

    def __init__(self, path: Path, lost: Extent, reason: str, refused: bool = False) -> None:
        super().__init__(
            f"{path}: {lost.records} records not written ({reason}). Free space on the volume of the spool."
        )
        self.records = lost.records
        self.sequences = lost.sequences
        self.refused = refused


class Extent:
    """What a run of records covers: how many, and the range of their sequence numbers and event times."""

    def __init__(self) -> None:
        self.records = 0
        self.sequences = (0, -1)
        self.events = (0, -1)
        self.last_arrival_us = -1
        self.header_times = 0

    def add(self, sequence: int, event_us: int, arrival_us: int = -1) -> None:
        """Count one record."""
        # Every record comes here, most of them with the highest number and time so far.
        if self.records:
            self.sequences = _with(self.sequences, sequence)
            self.events = _with(self.events, event_us)
        else:
            self.sequences, self.events = (sequence, sequence), (event_us, event_us)
        self.records += 1
        if arrival_us > self.last_arrival_us:
            self.last_arrival_us = arrival_us
        self.header_times += event_us != arrival_us

    def join(self, other: Extent) -> None:
        """Count all records of `other`."""
        if not other.records:
            return
        if self.records:
            self.sequences = _hull(self.sequences, other.sequences)
            self.events = _hull(self.events, other.events)
        else:
            self.sequences, self.events = other.sequences, other.events
        self.records += other.records
        self.last_arrival_us = max(self.last_arrival_us, other.last_arrival_us)
        self.header_times += other.header_times

    def entry(self, name: str, size: int, sha256: str) -> SegmentEntry:
        """The manifest's line about a segment with this extent."""
        first, last = self.sequences
        earliest, latest = self.events
        return SegmentEntry(
            name=name,
            records=self.records,
            last_arrival_us=self.last_arrival_us,
            header_times=self.header_times,
            bytes=size,
            sha256=sha256,
            first_sequence=first,
            last_sequence=last,
            first_event_us=earliest,
            last_event_us=latest,
        )


class SegmentWriter:
    """One segment being written in `directory`; named after the sequence number of its first record.

    Times are seconds on any monotonic clock and are passed in. `admit` is asked with the bytes of each frame before it
    is written, and may refuse. `OSError` when the file cannot be made.
    """

    def __init__(
        self, directory: Path, first_sequence: int, now: float, admit: Callable[[int], bool] | None = None
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = free_name(directory, first_sequence)
        self.first_sequence = first_sequence
        self.opened_at = now
        self.pending_since: float | None = None
        self.bytes = 0
        self.extent = Extent()
        self._file = os.open(open_path(self.path), os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        self._digest = hashlib.sha256()
        self._lines: list[bytes] = []
        self._raw = 0
        self._pending = Extent()
        self._admit = admit

    def append(self, line: bytes, sequence: int, event_us: int, now: float, arrival_us: int = -1) -> None:
        """Take one record, its JSON without a line feed; a full frame is written.

        `FrameLostError` when that failed.
        """
        self._lines.append(line)
        self._pending.add(sequence, event_us, arrival_us)
        self._raw += len(line) + 1
        if self.pending_since is None:
            self.pending_since = now
        if self._raw >= FRAME_BYTES:
            self.flush()

    @property
    def pending(self) -> int:
        """Records that are not in a frame yet."""
        return self._pending.records

    def flush(self) -> None:
        """Write what is pending as one frame. `FrameLostError` when it cannot be; the file then ends where it did."""
        if not self._lines:
            return
        frame = self._compressor.compress(b"\n".join(self._lines) + b"\n")
        pending, self._pending = self._pending, Extent()
        self._lines, self._raw, self.pending_since = [], 0, None
        if self._admit is not None and not self._admit(len(frame)):
            raise FrameLostError(self.path, pending, "the spool is full", refused=True)
        try:
            write_whole(self._file, frame, self.bytes)
        except OSError as error:
            # Half a frame would hide every later one from a reader, so it goes: now, or at the latest in `close`.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self.bytes)
            raise FrameLostError(self.path, pending, error.strerror or str(error)) from error
        self._digest.update(frame)
        self.bytes += len(frame)
        self.extent.join(pending)

    def close(self) -> SegmentEntry | None:
        """Make it durable and give it its final name; None (and no file) when no record was written.

        `flush` first. `OSError` when it cannot be made durable: nothing is lost by that, call again.
        """
        if not self.extent.records:
            self.abandon()
            open_path(self.path).unlink(missing_ok=True)
            return None
        if self._file >= 0:
            os.ftruncate(self._file, self.bytes)
            os.fsync(self._file)
            self.abandon()
        publish(open_path(self.path), self.path)
        return self.extent.entry(self.path.name, self.bytes, self._digest.hexdigest())

    def abandon(self) -> None:
        """Let go of the file as it is, open suffix and all."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _with(extent: tuple[int, int], number: int) -> tuple[int, int]:
    """The range that holds `number`, too."""
    first, last = extent
    if number > last:
        return first, number
    return extent if number >= first else (number, last)


def _hull(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    """The shortest range that holds both."""
    return min(one[0], other[0]), max(one[1], other[1])


def open_path(path: Path) -> Path:
    """Where the segment `path` is while it is being written."""
    return path.with_name(path.name + OPEN_SUFFIX)


def free_name(directory: Path, first_sequence: int) -> Path:
    """A name in `directory` that no segment has; a second one for the same number (records sent twice) gets `-2`."""
    for attempt in range(1, 1_000_000):
        suffix = f"-{attempt}" if attempt > 1 else ""
        path = directory / f"{first_sequence:012d}{suffix}{SUFFIX}"
        if not path.exists() and not open_path(path).exists():
            return path
    raise FileExistsError(f"{directory}: every name for sequence number {first_sequence} is taken")


def write_whole(file: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`, in as many calls as the kernel needs (one, unless the disk is nearly full)."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written
