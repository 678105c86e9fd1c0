"""Taking one user's records out of a pair log: segments are written anew without them, manifests count them as erased.

What is erased is every line that names the unit, in whatever field. A router that may still write is left as it is.
Order and meaning: docs/decisions/0014 and docs/pair-log.md. Next module: `shadow.compaction`.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import zstandard

from shadow.contracts import SegmentEntry
from shadow.incarnations import MANIFEST, Incarnation, file_name, find_incarnations
from shadow.log_health import LogHealth
from shadow.log_store import Found
from shadow.segment_lines import SegmentLines
from shadow.segment_writer import FRAME_BYTES, LEVEL
from shadow.watermark import SILENT_SECONDS, silence_us

UNIT: Final = re.compile("[0-9a-f]{32}")


class Erased(msgspec.Struct, kw_only=True):
    """What became of a request to erase.

    `records` were erased, from `segments` that were written anew. `left` are routers that may still write: nothing of
    theirs was touched, run again when they have ended. `damaged` segments held bytes that nobody can read, perhaps the
    user's: those bytes are gone too. `uncounted` records were in segments that no manifest names: a reader will call
    them missing.
    """

    records: int = 0
    uncounted: int = 0
    segments: list[str] = msgspec.field(default_factory=list)
    damaged: list[str] = msgspec.field(default_factory=list)
    left: list[str] = msgspec.field(default_factory=list)


class Numbered(msgspec.Struct, frozen=True):
    """What is read of a line that goes."""

    sequence: int = -1


def erase_units(
    location: str | Path, units: frozenset[str], now_us: int | None = None, silent_seconds: float = SILENT_SECONDS
) -> Erased:
    """Erase all records of `units` (32 hexadecimal digits each) from the log at `location`; may be repeated.

    `PairLogError` when the log cannot be read or written; what was done until then stays done, and to run it again ends
    it. `ValueError` for what is no unit.
    """
    for unit in units:
        if not UNIT.fullmatch(unit):
            raise ValueError(f"{unit!r} is no unit: 32 hexadecimal digits in lower case, as records have them")
    now = time.time_ns() // 1000 if now_us is None else now_us
    erased = Erased()
    for incarnation in find_incarnations(location):
        if may_write(incarnation, now, silent_seconds):
            erased.left.append(incarnation.path)
        else:
            _Erasing(incarnation, frozenset(unit.encode() for unit in units), erased).run()
    return erased


def may_write(incarnation: Incarnation, now_us: int, silent_seconds: float) -> bool:
    """Whether a shipper may still write there, and would undo a new manifest: its router said no goodbye, and was heard
    of within `silent_seconds` or what its shipper's settings allow, or a segment is still open."""
    manifest = incarnation.manifest
    if manifest is not None and manifest.complete:
        return False
    heard = max([0, *(file.modified_us for file in incarnation.files)])
    return now_us - max(heard, manifest.written_us if manifest else 0) <= silence_us(manifest, silent_seconds)


class _Erasing:
    """One router's part of it."""

    def __init__(self, incarnation: Incarnation, units: frozenset[bytes], erased: Erased) -> None:
        self._incarnation = incarnation
        self._units = units
        self._erased = erased
        self._entries = dict(incarnation.entries)
        self._numbers: set[int] = set()
        """Sequence numbers erased from earlier segments: a record that came twice is counted once."""

    def run(self) -> None:
        """Find what is to be rewritten; then the manifest, and only then the segments (0014)."""
        rewritten = [file for file in self._incarnation.files if self._look(file)]
        manifest = self._incarnation.manifest
        if manifest is not None and tuple(self._entries.values()) != manifest.segments:
            changed = msgspec.structs.replace(manifest, segments=tuple(self._entries.values()))
            self._incarnation.store.write(self._incarnation.place(MANIFEST), msgspec.json.encode(changed))
        for file in rewritten:
            self._incarnation.store.write(file.name, self._without(file)[0])
            self._erased.segments.append(self._incarnation.label(file))

    def _look(self, file: Found) -> bool:
        """Whether anything of the segment has to go; its entry then is the one it will have."""
        data, kept, gone, torn = self._without(file)
        if not gone and not torn:
            return False
        if torn:
            self._erased.damaged.append(self._incarnation.label(file))
        fresh = len(gone - self._numbers)
        self._numbers |= gone
        self._erased.records += fresh
        entry = self._entries.get(file_name(file))
        if entry is None:
            self._erased.uncounted += fresh
        else:
            self._entries[entry.name] = _without_lines(entry, data, kept, fresh)
        return True

    def _without(self, file: Found) -> tuple[bytes, int, set[int], bool]:
        """The bytes without the units' lines, how many lines stay, which numbers go, whether it was torn."""
        compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
        lines = SegmentLines(self._incarnation.chunks(file), "", None, LogHealth())
        frames: list[bytes] = []
        kept, gone = 0, set[int]()
        for frame in _framed(self._staying(lines, gone)):
            frames.append(compressor.compress(b"".join(frame)))
            kept += len(frame)
        return b"".join(frames), kept, gone, lines.torn

    def _staying(self, lines: SegmentLines, gone: set[int]) -> Iterator[bytes]:
        for line in lines:
            if any(unit in line for unit in self._units):
                gone.add(_sequence(line))
            else:
                yield line + b"\n"


def _without_lines(entry: SegmentEntry, data: bytes, kept: int, gone: int) -> SegmentEntry:
    """The entry of a segment that is now `data`, with `kept` lines, after `gone` were taken out."""
    # `records` + `erased` never changes: so lines that an interrupted run counted already are not counted twice.
    erased = min(entry.erased + gone, max(0, entry.records + entry.erased - kept))
    digest = hashlib.sha256(data).hexdigest()
    return msgspec.structs.replace(entry, records=kept, erased=erased, bytes=len(data), sha256=digest)


def _sequence(line: bytes) -> int:
    try:
        return msgspec.json.decode(line, type=Numbered).sequence
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return -1


def _framed(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Lines in groups of the size that the writer gives its frames."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= FRAME_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held
