"""The lines of one segment, streamed: every frame that can be trusted, whatever a crash or a bad disk left around it.

A frame's lines are given out only when its checksum has been verified; behind a damaged one the next is looked for.
Memory is bounded by one frame. What is wrong with the file goes to `LogHealth`.
Next module: `shadow.segments`, which decodes the lines and knows whose they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator
from typing import Final

import zstandard

from shadow.contracts import SegmentEntry
from shadow.log_health import LogHealth

MAGIC: Final = b"\x28\xb5\x2f\xfd"
"""How a zstd frame begins (RFC 8878 §3.1.1)."""
HEADER_BYTES: Final = 18
"""The longest header of a frame."""
PIECE_BYTES: Final = 1 << 10
"""Compressed bytes inflated at once: a hostile kilobyte makes at most 32 MiB (128 KiB of each run of 4 bytes)."""
FRAME_BYTES: Final = 32 << 20
"""The longest frame that is held in memory; the writer ends one at 1 MiB and the record (at most 16 MiB) behind it."""
RESUMPTIONS: Final = 1_000
"""Beginnings of frames tried behind damage in one segment: bounds what a hostile file can cost."""


class SegmentLines:
    """The lines of one segment, `chunks` its bytes; says in `health` when they are damaged or not the manifest's.

    `whole_bytes` is where the last verified frame ended: what was before need not be read again of a file that grows.
    """

    def __init__(self, chunks: Iterable[bytes], label: str, entry: SegmentEntry | None, health: LogHealth) -> None:
        self.label, self.entry, self.health = label, entry, health
        self.torn = False
        self.whole_bytes = 0
        self._digest = hashlib.sha256()
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        for frame in Frames(self._counted(), self):
            *lines, rest = frame.split(b"\n")
            self.torn = self.torn or bool(rest)
            yield from lines
        if self.torn:
            self.health.torn.append(self.label)
        if self.entry and self._digest.hexdigest() != self.entry.sha256:
            self.health.checksum_failures.append(self.label)

    def _counted(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._digest.update(chunk)
            self.health.bytes += len(chunk)
            yield chunk


class Frames:
    """The verified frames of a stream of bytes, decompressed; tells `report` what it had to skip and where it is."""

    def __init__(self, chunks: Iterable[bytes], report: SegmentLines) -> None:
        self._chunks = chunks
        self._report = report
        self._tried = 0
        self._offset = 0

    def __iter__(self) -> Iterator[bytes]:
        frame = Frame()
        for chunk in self._chunks:
            self._offset += len(chunk)
            frame = yield from self._take(frame, chunk)
        # What has begun and did not end is torn; but whole frames may stand in what it seemed to hold.
        while frame.begun:
            frame = yield from self._take(Frame(), self._resume(frame.held))

    def _take(self, frame: Frame, data: bytes) -> Generator[bytes, None, Frame]:
        """Yield the frames that end within `data`; returns the one that is under way."""
        while data:
            data = frame.feed(data)
            if frame.raw is not None:
                self._report.whole_bytes = self._offset - len(data)
                yield frame.raw
                frame = Frame()
            elif frame.damaged:
                data = self._resume(frame.held + data)
                frame = Frame()
        return frame

    def _resume(self, data: bytes) -> bytes:
        """Behind the beginning of a damaged frame: what is left from the next beginning on."""
        self._report.torn = True
        self._tried += 1
        place = data.find(MAGIC, 1) if self._tried <= RESUMPTIONS else -1
        # A beginning may be cut by the end of what has come.
        return data[place:] if place > 0 else data[max(1, len(data) - len(MAGIC) + 1) :]


class Frame:
    """One frame while it comes."""

    def __init__(self) -> None:
        self.damaged = False
        self.raw: bytes | None = None
        """All of it, once its checksum is verified."""
        self._held: list[bytes] = []
        self._parts: list[bytes] = []
        self._size = 0
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=FRAME_BYTES).decompressobj()

    @property
    def begun(self) -> bool:
        """Whether any of it came."""
        return bool(self._held)

    @property
    def held(self) -> bytes:
        """Its compressed bytes so far."""
        return b"".join(self._held)

    def feed(self, data: bytes) -> bytes:
        """Take of `data` what is this frame's; the rest. Afterwards `raw` or `damaged` may be set."""
        for start in range(0, len(data), PIECE_BYTES):
            piece = data[start : start + PIECE_BYTES]
            self._held.append(piece)
            try:
                part = self._decompressor.decompress(piece)
            except zstandard.ZstdError:
                self.damaged = True
                return data[start + len(piece) :]
            self._parts.append(part)
            self._size += len(part) + len(piece)
            if self._decompressor.eof:
                return self._end() + data[start + len(piece) :]
            if self._size > 2 * FRAME_BYTES:
                self.damaged = True
                return data[start + len(piece) :]
        return b""

    def _end(self) -> bytes:
        """The decompressor is content; what of the last piece is not this frame's."""
        # A frame of another kind (skippable, say), or one without a checksum, was not written by us.
        head = b"".join(self._held[:2])[:HEADER_BYTES]
        if not head.startswith(MAGIC) or not zstandard.get_frame_parameters(head).has_checksum:
            self.damaged = True
            return b""
        self.raw = b"".join(self._parts)
        return self._decompressor.unused_data
