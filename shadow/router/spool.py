"""One router's records on the shipper's disk: the segment that grows, the closed ones that wait, the manifest.

A closed segment stays here until the destination has it. What a killed shipper left is closed and shipped by the next
one. Next module: `shadow.segments`, which reads what was shipped.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from shadow.contracts import Goodbye, Hello, Manifest, SegmentEntry
from shadow.segment_writer import (
    OPEN_SUFFIX,
    SUFFIX,
    FrameLostError,
    SegmentWriter,
    open_path,
    recover,
    write_atomically,
)
from shadow.segments import MANIFEST, read_manifest

logger = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 1.0
"""A record is in a frame on disk at most so long after it came: what a kill may cost."""


class Destination:
    """Where closed segments go, by URL; for now file:///… only. Uploads are atomic: whole or not there."""

    def __init__(self, url: str) -> None:
        from obstore.store import LocalStore

        from shadow.segments import PairLogError, local_path

        if not url.startswith("file:///"):
            raise ValueError(f"--destination {url!r}: only file:///… is supported yet")
        directory = Path(url.removeprefix("file://"))
        directory.mkdir(parents=True, exist_ok=True)
        try:
            self._store: Any = LocalStore(local_path(url))
        except PairLogError as error:
            raise ValueError(f"--destination {error}") from error

    def put(self, name: str, source: Path | bytes) -> None:
        """Store bytes or a file under `name`. Any failure is an exception of obstore or `OSError`."""
        import obstore

        obstore.put(self._store, name, source)


@dataclass
class IncarnationLog:
    """The records of one router incarnation in `directory` (spool/experiment/incarnation)."""

    directory: Path
    manifest: Manifest
    segment_bytes: int
    segment_seconds: float
    lost: int = 0
    """Records that came but could not be written (disk full): the reader sees the gap in their numbers."""
    waiting: list[SegmentEntry] = field(default_factory=list)
    """Closed segments that the destination does not have yet."""
    unshipped_manifest: bool = True
    ended: bool = False
    """The router said goodbye; a segment that could not be closed then is closed as soon as it can be."""
    _writer: SegmentWriter | None = None

    @staticmethod
    def open(spool: Path, hello: Hello, segment_bytes: int, segment_seconds: float) -> IncarnationLog:
        """A new log for the router that said `hello`. `OSError` when the spool cannot be written."""
        directory = spool / hello.experiment / hello.incarnation
        directory.mkdir(parents=True, exist_ok=True)
        manifest = Manifest(
            experiment=hello.experiment,
            incarnation=hello.incarnation,
            router=hello.router,
            started_us=hello.started_us,
        )
        log = IncarnationLog(directory, manifest, segment_bytes, segment_seconds)
        log._keep_manifest()
        return log

    @staticmethod
    def left_over(spool: Path) -> Iterator[IncarnationLog]:
        """The logs that an earlier shipper left in `spool`, closed; what cannot be read is left alone."""
        for directory in sorted(path for path in spool.glob("*/*/") if path.is_dir()):
            manifest = read_manifest(directory / MANIFEST) or Manifest(
                experiment=directory.parent.name, incarnation=directory.name, router="unknown", started_us=0
            )
            if not (directory / MANIFEST).exists() and not any(directory.glob(f"*{SUFFIX}*")):
                continue  # Nothing of a log: an empty manifest must not replace the one that was shipped.
            log = IncarnationLog(directory, manifest, 0, 0)
            try:
                log._recover()
            except OSError as error:
                logger.error("%s: left as it is (%s)", directory, error)
                continue
            yield log

    @property
    def name(self) -> str:
        """`experiment/incarnation`, its place at the destination."""
        return f"{self.manifest.experiment}/{self.manifest.incarnation}"

    @property
    def shipped(self) -> bool:
        """Whether the destination has all that there is."""
        return not self.waiting and not self.unshipped_manifest and self._writer is None

    def append(self, line: bytes, sequence: int, event_us: int, now: float) -> None:
        """Take one record; never raises: what cannot be written is counted in `lost`."""
        try:
            if self._writer is None:
                self._writer = SegmentWriter(self.directory, sequence, now)
            self._writer.append(line, sequence, event_us, now)
        except FrameLostError as error:
            self._count_lost(error.records, str(error))
        except OSError as error:
            self._count_lost(1, str(error))
        if self._writer is not None and self._writer.bytes >= self.segment_bytes:
            self.close_segment()

    def tick(self, now: float) -> None:
        """Flush what has waited for its time, close a segment that is old enough."""
        writer = self._writer
        if writer is None:
            return
        if self.ended or now - writer.opened_at >= self.segment_seconds:
            self.close_segment()
        elif writer.pending_since is not None and now - writer.pending_since >= FLUSH_SECONDS:
            self._flush(writer)

    def close_segment(self) -> None:
        """Close the segment that grows, if any; it then waits to be shipped. With a full disk: next tick."""
        writer = self._writer
        if writer is None:
            return
        self._flush(writer)
        try:
            entry = writer.close()
        except OSError as error:
            logger.error("%s: segment not closed yet (%s)", self.name, error)
            return
        self._writer = None
        if entry is not None:
            self.waiting.append(entry)
            self._list(entry)

    def finish(self, goodbye: Goodbye) -> None:
        """The router ended in order."""
        self.ended = True
        self.close_segment()
        self.manifest = msgspec.structs.replace(
            self.manifest, complete=True, records=goodbye.records, dropped=goodbye.dropped
        )
        self._keep_manifest()

    def ship(self, destination: Destination) -> None:
        """Bring closed segments, then the manifest, to `destination`. Raises what that raises; nothing is lost."""
        while self.waiting:
            entry = self.waiting[0]
            destination.put(f"{self.name}/{entry.name}", self.directory / entry.name)
            (self.directory / entry.name).unlink()
            self.waiting.pop(0)
        if self.unshipped_manifest:
            manifest = self.manifest
            destination.put(f"{self.name}/{MANIFEST}", msgspec.json.encode(manifest))
            self.unshipped_manifest = manifest is not self.manifest

    def forget(self) -> None:
        """Remove what the spool holds of it: all is shipped. `OSError` when that fails; nothing depends on it."""
        (self.directory / MANIFEST).unlink(missing_ok=True)
        self.directory.rmdir()

    def _flush(self, writer: SegmentWriter) -> None:
        try:
            writer.flush()
        except FrameLostError as error:
            self._count_lost(error.records, str(error))

    def _count_lost(self, records: int, reason: str) -> None:
        self.lost += records
        logger.error("%s: %d records lost so far: %s", self.name, self.lost, reason)

    def _list(self, entry: SegmentEntry) -> None:
        self.manifest = msgspec.structs.replace(self.manifest, segments=(*self.manifest.segments, entry))
        self._keep_manifest()

    def _keep_manifest(self) -> None:
        self.unshipped_manifest = True
        try:
            write_atomically(self.directory / MANIFEST, msgspec.json.encode(self.manifest))
        except OSError as error:
            logger.error("%s: manifest not written to the spool (%s)", self.name, error)

    def _recover(self) -> None:
        """Close open segments, and list closed ones that the manifest does not know yet."""
        listed = {entry.name: entry for entry in self.manifest.segments}
        for path in sorted(self.directory.glob("*" + SUFFIX)):
            if path.name in listed:
                self.waiting.append(listed[path.name])
            else:
                path.rename(open_path(path))
        for path in sorted(self.directory.glob("*" + SUFFIX + OPEN_SUFFIX)):
            entry = recover(path)
            if entry is not None:
                self.waiting.append(entry)
                self._list(entry)
