"""One log's closed segments on the shipper's disk, from their closing to their removal, and the manifest beside them.

What the disk refuses is tried again every second, told once and counted: no upload waits for it. A file goes only after
the saved manifest tells what became of it, so a kill at any moment leaves a segment that the next shipper either knows
of or finds. Next module: `shadow.router.spool`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shadow.contracts import Manifest, SegmentEntry
from shadow.durable_files import write_atomically
from shadow.router.growing import REFUSED_SECONDS, Spool
from shadow.segments import MANIFEST

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leaving:
    """A file that is to be removed once the manifest with `change` is saved; the budget counts `size` until then."""

    entry: SegmentEntry
    size: int
    change: int


class Shelf:
    """The segments in `directory` that were closed and not removed; `name` is the log's. One `settle` at a time."""

    def __init__(self, directory: Path, name: str, spool: Spool) -> None:
        self._directory = directory
        self._name = name
        self._spool = spool
        self.waiting: list[SegmentEntry] = []
        """Closed segments that the store does not have yet, oldest first."""
        self.uploading: SegmentEntry | None = None
        self._changes = 1
        self._saved = 0
        """Of the changes, those that the manifest on the disk tells."""
        self._leaving: dict[str, Leaving] = {}
        self._refused_until = 0.0
        self._told = False

    @property
    def empty(self) -> bool:
        """Whether nothing waits for the store or for its removal."""
        return not self.waiting and not self._leaving

    def changed(self) -> None:
        """The manifest is another than the disk's."""
        self._changes += 1

    def add(self, entry: SegmentEntry, give_up: Callable[[SegmentEntry], bool]) -> None:
        """A closed segment waits for its upload; the budget may call `give_up` for it."""
        insort(self.waiting, entry, key=lambda each: each.first_sequence)
        self._spool.budget.closed(entry, give_up)

    def uploaded(self, entry: SegmentEntry, give_up: Callable[[SegmentEntry], bool]) -> None:
        """The store has it; it leaves the disk when the manifest there lists it, or the next shipper would not."""
        self.waiting.remove(entry)
        self._spool.budget.spent(entry, give_up)
        self._leaving[entry.name] = Leaving(entry, entry.bytes, self._changes)

    def lost(self, entry: SegmentEntry) -> None:
        """It is on the disk no more."""
        self.waiting.remove(entry)
        self._freed(entry, entry.bytes)

    def make_room(self, entry: SegmentEntry) -> bool:
        """Free its bytes at once, within the turn of the loop that needs them; False when that cannot be now.

        One that the store has is removed. Of another an empty file stays until the manifest tells that it was given up:
        by that the next shipper knows, should this one be killed before.
        """
        leaving = self._leaving.get(entry.name)
        if entry is self.uploading or (leaving is not None and leaving.change > self._saved):
            return False
        path = self._directory / entry.name
        try:
            if leaving is not None:
                path.unlink(missing_ok=True)
            else:
                os.truncate(path, 0)
        except FileNotFoundError:
            pass
        except OSError:
            return False
        if leaving is not None:
            self._removed(leaving)
        else:
            self.lost(entry)
            self.changed()
            self._leaving[entry.name] = Leaving(entry, 0, self._changes)
        return True

    async def settle(self, whole: Callable[[], Manifest]) -> None:
        """Save the manifest that `whole` gives if it changed, then remove what may go; both in a thread."""
        if time.monotonic() < self._refused_until:
            return
        try:
            if self._changes > self._saved:
                changes, manifest = self._changes, whole()
                await asyncio.to_thread(self._save, manifest)
                self._saved = changes
            await self._clear()
            self._told = False
        except OSError as error:
            self._spool.counters.spool_refused += 1
            self._refused_until = time.monotonic() + REFUSED_SECONDS
            if not self._told:
                self._told = True
                logger.error("%s: the spool refuses, will be tried again every second (%s)", self._name, error)

    async def _clear(self) -> None:
        for leaving in list(self._leaving.values()):
            if leaving.change <= self._saved:
                await asyncio.to_thread((self._directory / leaving.entry.name).unlink, missing_ok=True)
                self._removed(leaving)

    def _removed(self, leaving: Leaving) -> None:
        # Once: while a thread removed it, its room may have been needed.
        if self._leaving.pop(leaving.entry.name, None) is not None:
            self._freed(leaving.entry, leaving.size)

    def _freed(self, entry: SegmentEntry, size: int) -> None:
        self._spool.budget.left(entry)
        self._spool.budget.used -= size

    def _save(self, manifest: Manifest) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        write_atomically(self._directory / MANIFEST, msgspec.json.encode(manifest))
