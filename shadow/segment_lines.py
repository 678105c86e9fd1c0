"""The lines of one segment, streamed: whatever a crash or a bad disk left, up to the last whole record.

Memory is bounded by one line and one decompressed chunk. What is wrong with the file goes to `LogHealth`.
Next module: `shadow.segments`, which decodes the lines and knows whose they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import zstandard

from shadow.contracts import SegmentEntry
from shadow.log_health import LogHealth

CHUNK_BYTES: Final = 1 << 16
RECORD_BYTES: Final = 16 << 20
"""The longest line that is held in memory; a longer one is no record (the router keeps bodies far below)."""


class SegmentLines:
    """The lines of one segment file, streamed; says in `health` when the file is torn or not what the manifest says."""

    def __init__(self, path: Path, label: str, entry: SegmentEntry | None, health: LogHealth) -> None:
        self.path, self.label, self.entry, self.health = path, label, entry, health
        self.digest = hashlib.sha256()
        self.torn = False

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        overlong = False
        for raw in self._inflated():
            first, *more = raw.split(b"\n")
            if not more:
                rest += first
                # Without the bound one damaged file could take all memory: such a line is dropped as it grows.
                overlong, rest = (True, b"") if len(rest) > RECORD_BYTES else (overlong, rest)
                continue
            if overlong:
                self.health.undecodable += 1
            else:
                yield rest + first
            yield from more[:-1]
            rest, overlong = more[-1], False
        if self.torn or rest or overlong:
            self.health.torn.append(self.label)
        if self.entry and self.digest.hexdigest() != self.entry.sha256:
            self.health.checksum_failures.append(self.label)

    def _inflated(self) -> Iterator[bytes]:
        """The decompressed bytes, frame after frame; sets `torn` when the last frame is cut or any is damaged."""
        decompressor = None
        for chunk in self._chunks():
            while chunk and not self.torn:
                decompressor = decompressor or zstandard.ZstdDecompressor().decompressobj()
                try:
                    raw = decompressor.decompress(chunk)
                except zstandard.ZstdError:
                    # What follows cannot be found again, but the file is read on: its checksum tells what happened.
                    self.torn = True
                    break
                chunk = decompressor.unused_data if decompressor.eof else b""
                decompressor = None if decompressor.eof else decompressor
                if raw:
                    yield raw
        self.torn = self.torn or decompressor is not None

    def _chunks(self) -> Iterator[bytes]:
        with self.path.open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                self.digest.update(chunk)
                self.health.bytes += len(chunk)
                yield chunk
