"""What a killed writer left: its open segment is closed with all frames that are whole.

Next module: `shadow.segments`, which reads.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import zstandard

from shadow.contracts import SegmentEntry
from shadow.durable_files import publish
from shadow.segment_writer import OPEN_SUFFIX, Extent


class Stamp(msgspec.Struct, frozen=True):
    """What a segment's entry needs to know of a record, whatever its schema version."""

    sequence: int = -1
    event_time_us: int = 0
    arrival_us: int = -1


def recover(path: Path) -> SegmentEntry | None:
    """Close a segment whose writer died: `path` is its open file; what follows the last whole frame is cut off.

    Returns the manifest's entry, or None (and no file) when no whole frame was there.
    """
    final = path.with_name(path.name.removesuffix(OPEN_SUFFIX))
    extent, digest, size = Extent(), hashlib.sha256(), 0
    for frame, lines in whole_frames(path):
        for line in lines:
            stamp = msgspec.json.decode(line, type=Stamp)
            extent.add(stamp.sequence, stamp.event_time_us, stamp.arrival_us)
        digest.update(frame)
        size += len(frame)
    if not extent.records:
        path.unlink()
        return None
    with path.open("r+b") as out:
        out.truncate(size)
        os.fsync(out.fileno())
    publish(path, final)
    return extent.entry(final.name, size, digest.hexdigest())


def whole_frames(path: Path) -> Iterator[tuple[bytes, list[bytes]]]:
    """The frames of a file as (compressed bytes, lines), up to the first that is torn or damaged."""
    with path.open("rb") as source:
        left = b""
        while True:
            decompressor = zstandard.ZstdDecompressor().decompressobj()
            frame = [left]
            try:
                raw = [decompressor.decompress(left)] if left else []
                while not decompressor.eof:
                    chunk = source.read(1 << 16)
                    if not chunk:
                        return
                    frame.append(chunk)
                    raw.append(decompressor.decompress(chunk))
            except zstandard.ZstdError:
                return
            left = decompressor.unused_data
            whole = b"".join(frame)
            yield whole[: len(whole) - len(left)], b"".join(raw).split(b"\n")[:-1]
