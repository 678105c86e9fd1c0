"""One router's log at the shipper: the segment that grows, the closed ones that wait, the manifest of them all.

A closed segment stays on the disk until the store has it, or the spool's bound takes it. What a killed shipper left is
closed and uploaded by the next one. All runs on the shipper's loop but what waits for the disk (`settle`). Next module:
`shadow.router.leftovers`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from shadow.contracts import DISK, OLDEST, Goodbye, Heartbeat, Hello, Manifest, SegmentEntry
from shadow.router.account import Account
from shadow.router.drops import Drops
from shadow.router.growing import Growing, Spool
from shadow.router.shelf import Shelf
from shadow.router.store import Doubt, Store
from shadow.segment_writer import SegmentWriter, open_path
from shadow.segments import MANIFEST

logger = logging.getLogger(__name__)

MANIFEST_SECONDS: Final = 60.0
"""So old the store's manifest may grow while segments are uploaded, one after the other."""
TELLINGS: Final = 5
"""For what a heartbeat tells alone the manifest is put at most so often in the time after which a segment is closed."""


@dataclass
class IncarnationLog:
    """The records of one router incarnation in `directory` (spool/experiment/incarnation)."""

    directory: Path
    spool: Spool
    known: InitVar[Manifest]
    """What is known of it already."""
    unshipped_manifest: bool = True
    ended: bool = False
    """The router said goodbye."""
    streams: int = 0
    """Connections of its router."""
    quiet_since: float = field(default_factory=time.monotonic)
    """When the last of them ended."""
    _closing: list[SegmentWriter] = field(default_factory=list)
    _disk: asyncio.Lock = field(default_factory=asyncio.Lock)
    _manifest_at: float = field(default_factory=time.monotonic)
    _untold: bool = False
    """A heartbeat told more than the store's manifest does."""

    def __post_init__(self, known: Manifest) -> None:
        self._account = Account(known, self.spool.settings.segment_seconds)
        self.drops = Drops(self.name, self.spool.counters, known.drops)
        self._growing = Growing(self.directory, self.spool, self.drops)
        self._doubt = Doubt(self.spool.settings.put_seconds)
        self._shelf = Shelf(self.directory, self.name, self.spool)

    @staticmethod
    def open(spool: Spool, hello: Hello) -> IncarnationLog:
        """A new log for the router that said `hello`. It touches no disk: one that refuses costs records, no stream."""
        unknown = Manifest(experiment=hello.experiment, incarnation=hello.incarnation, router="", started_us=0)
        log = IncarnationLog(spool.settings.spool / hello.experiment / hello.incarnation, spool, unknown)
        log.greet(hello)
        return log

    @property
    def manifest(self) -> Manifest:
        """Of all that was closed, uploaded or not; `drops` apart."""
        return self._account.manifest

    @property
    def name(self) -> str:
        """`experiment/incarnation`, its place at the store."""
        return f"{self.manifest.experiment}/{self.manifest.incarnation}"

    @property
    def waiting(self) -> Sequence[SegmentEntry]:
        """Closed segments that the store does not have yet."""
        return self._shelf.waiting

    @property
    def settled(self) -> bool:
        """Whether nothing is being written, nor waits for the disk."""
        return not self._growing.open and not self._closing

    @property
    def shipped(self) -> bool:
        """Whether the store has all that there is."""
        return self.settled and not self.waiting and not self.unshipped_manifest

    @property
    def cleared(self) -> bool:
        """Whether the spool has nothing of it but the manifest, nor needs that: the one in the store is sure."""
        return self.settled and self.emptied and not self._doubt.stands and not self._untold

    @property
    def emptied(self) -> bool:
        """Whether no closed segment of it is on the disk any more."""
        return self._shelf.empty

    @property
    def pending(self) -> int:
        """Records in memory."""
        return self._growing.pending

    # --- records -----------------------------------------------------------------------------------------------------

    def greet(self, hello: Hello) -> None:
        """Its router is here, again or with other deadlines: what the manifest does not know yet is taken over."""
        if self._account.greet(hello):
            self._changed()

    def hear(self, heartbeat: Heartbeat) -> None:
        """Its router told of itself, and all that it sent before has come."""
        self._account.hear(heartbeat, self._growing.first_sequence)

    def append(self, line: bytes, sequence: int, event_us: int, now: float, arrival_us: int = -1) -> None:
        """Take one record; never raises: what cannot be written is counted among the drops."""
        if self._growing.append(line, sequence, event_us, now, arrival_us):
            self.close_segment()

    def tick(self, now: float) -> None:
        """Flush what has waited for its time, close a segment that is old enough, renew the manifest."""
        self.tell(now)
        if self._growing.tick(now) or (self.ended and self._growing.open):
            self.close_segment()
        self._untold |= self._account.settle(self._first_unshipped())
        age, often = now - self._manifest_at, self.spool.settings.segment_seconds
        if (self.streams and age >= often) or self._doubt.due(now):
            self.unshipped_manifest = True
        if self._untold and age >= often / TELLINGS:
            self._changed()

    def flush(self) -> None:
        """What is in memory goes to the disk now."""
        if self._growing.flush():
            self.close_segment()

    def tell(self, now: float) -> None:
        """Log what was given up, and let the manifest tell it; not twice in a second."""
        if self.drops.tell(now):
            self._changed()

    def close(self) -> None:
        """The shipper ends: nothing stays open, nor untold."""
        self.close_segment()
        self.tell(math.inf)
        if self._untold:
            self._changed()

    def close_segment(self) -> None:
        """The segment that grows, if any, grows no more; `settle` closes it."""
        writer = self._growing.release()
        if writer is not None:
            self._closing.append(writer)

    def finish(self, goodbye: Goodbye) -> None:
        """The router ended in order."""
        self.ended = True
        self.close_segment()
        self._account.finish(goodbye)
        self._changed()

    # --- the disk and the store --------------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Make durable, in a thread, what was closed; what the disk refuses is tried again at a later call."""
        # Whoever calls may be cancelled; a thread cannot be, and two must not write one manifest.
        self._settling = asyncio.ensure_future(self._settle())
        await asyncio.shield(self._settling)

    async def _settle(self) -> None:
        async with self._disk:
            for writer in list(self._closing):
                try:
                    entry = await asyncio.to_thread(writer.close)
                except OSError as error:
                    if isinstance(error, FileNotFoundError) and not open_path(writer.path).exists():
                        self._closing.remove(writer)
                        self._gone(writer)
                    else:
                        logger.error("%s: segment not closed yet (%s)", self.name, error)
                    continue
                self._closing.remove(writer)
                if entry is not None:
                    self.add(entry)
            await self._shelf.settle(self._whole)

    async def ship(self, store: Store) -> None:
        """Bring closed segments, then the manifest, to `store`; what it has may then leave the disk.

        Raises what putting raises; nothing is lost by it.
        """
        shelf = self._shelf
        while shelf.waiting:
            entry = shelf.uploading = shelf.waiting[0]
            path = self.directory / entry.name
            try:
                await store.put(f"{self.name}/{entry.name}", path)
                self._uploaded(entry)
            except FileNotFoundError:
                if path.exists():
                    raise
                shelf.lost(entry)
                self.drop(entry, DISK, f"{path} is gone from the spool")
            finally:
                shelf.uploading = None
            if time.monotonic() - self._manifest_at > MANIFEST_SECONDS:
                break  # A long backlog must not make a living router look dead: the rest has the next turn.
        if self.unshipped_manifest:
            self.unshipped_manifest = self._untold = False
            began = time.monotonic()
            try:
                await store.put(f"{self.name}/{MANIFEST}", msgspec.json.encode(self._uploaded_manifest()))
            except BaseException:
                self.unshipped_manifest = True
                self._doubt.failed(time.monotonic())
                raise
            self._doubt.succeeded(began)
            self._manifest_at = self.spool.counters.uploaded_at = time.monotonic()
        await self.settle()

    def forget(self) -> None:
        """Remove what the spool holds of it: all is shipped. `OSError` when that fails; nothing depends on it."""
        (self.directory / MANIFEST).unlink(missing_ok=True)
        if self.directory.exists():
            self.directory.rmdir()

    def give_up(self, entry: SegmentEntry) -> bool:
        """Let a closed segment go for newer records; False while it cannot be: it is being uploaded, say."""
        waits = entry in self._shelf.waiting
        if not self._shelf.make_room(entry):
            return False
        if waits:
            self.drop(entry, OLDEST, "the spool is full")
            self.spool.counters.segments_dropped += 1
        return True

    def add(self, entry: SegmentEntry) -> None:
        """A segment was closed: it waits for its upload, and the manifest lists it."""
        self.spool.counters.segments_closed += 1
        self._account.add(entry)
        self.wait(entry)
        self._changed()

    def wait(self, entry: SegmentEntry) -> None:
        """A closed segment that the manifest lists waits for its upload."""
        self._shelf.add(entry, self.give_up)

    def _uploaded(self, entry: SegmentEntry) -> None:
        counters = self.spool.counters
        counters.segments_uploaded += 1
        counters.uploaded_bytes += entry.bytes
        counters.uploaded_at = time.monotonic()
        # One that lists it goes up after it: the last may have gone while this one waited for the disk.
        self.unshipped_manifest = True
        self._shelf.uploaded(entry, self.give_up)

    def drop(self, entry: SegmentEntry, reason: str, told: str) -> None:
        """A closed segment is lost, or given up: the manifest counts it, and lists it no more."""
        self._account.remove(entry)
        self.drops.add(reason, entry.records, entry.bytes, (entry.first_sequence, entry.last_sequence), told)
        self._changed()

    # --- what is counted ---------------------------------------------------------------------------------------------

    def _changed(self) -> None:
        self.unshipped_manifest = True
        self._shelf.changed()

    def _gone(self, writer: SegmentWriter) -> None:
        """Somebody removed a segment before it was closed."""
        writer.abandon()
        self.spool.budget.used -= writer.bytes
        extent = writer.extent
        self.drops.add(DISK, extent.records, 0, extent.sequences, f"{writer.path} is gone from the spool")
        self._changed()

    def _first_unshipped(self) -> int | None:
        """The first number that the store does not have, of those that came; None when it has all."""
        firsts = [entry.first_sequence for entry in self.waiting[:1]]
        firsts += [writer.first_sequence for writer in self._closing]
        if self._growing.first_sequence is not None:
            firsts.append(self._growing.first_sequence)
        return min(firsts, default=None)

    def _whole(self) -> Manifest:
        return self._account.spools(self.drops.entries)

    def _uploaded_manifest(self) -> Manifest:
        self._account.settle(self._first_unshipped())
        unclosed = min((writer.first_sequence for writer in self._closing), default=None)
        return self._account.stores(self.drops.entries, self.waiting, unclosed, self.settled)
