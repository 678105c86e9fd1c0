"""What one log's manifests say: what was closed, what was given up, and what the router told of itself.

The spool's manifest tells all that was closed, the store's what the store has; of the router's heartbeats each tells
the last one of which all has come. No I/O. Next module: `shadow.router.spool`.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final

import msgspec

from shadow.contracts import SCHEMA_VERSION, Goodbye, Heartbeat, Hello, Manifest, SegmentEntry, SpoolDrop

TOLD: Final = ("numbered", "dropped", "told_us", "decided_us")
"""The manifest's fields that are of heartbeats, until it is complete."""
NOTHING: Final = (-1, 0, 0, 0)


class Heartbeats:
    """A router's heartbeats until all that came before them is at the store; of each segment only the last is kept."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Heartbeat]] = []

    def hear(self, heartbeat: Heartbeat, growing: int | None) -> None:
        """One came; `growing` is the first number in the segment that is open, None without one."""
        segment = heartbeat.numbered if growing is None else growing
        if self._waiting and self._waiting[-1][0] == segment:
            self._waiting.pop()
        self._waiting.append((segment, heartbeat))

    def before(self, first: int | None) -> Heartbeat | None:
        """The last of those that all records below `first` precede, once; `first` is the first number that the store
        does not have yet, None when it has all."""
        told = [each for _, each in self._waiting if first is None or each.numbered <= first]
        self._waiting = [each for each in self._waiting if each[1] not in told]
        return told[-1] if told else None


class Account:
    """The manifest of one log: `manifest` is of all that was closed, uploaded or not; the spool's drops apart."""

    def __init__(self, manifest: Manifest, segment_seconds: float) -> None:
        self.manifest = manifest
        self._segment_us = int(segment_seconds * 1e6)
        self._heartbeats = Heartbeats()
        # Of a manifest that an earlier shipper left with a goodbye in it nobody knows what the heartbeats said.
        self._told: dict[str, int] = (
            {name: getattr(manifest, name) for name in TOLD}
            if not manifest.complete
            else dict(zip(TOLD, NOTHING, strict=True))
        )

    def greet(self, hello: Hello) -> bool:
        """What the manifest does not know yet of its router is taken over; whether there was any."""
        manifest = self.manifest
        known = bool(manifest.started_us)
        return self._change(
            router=manifest.router if known else hello.router,
            started_us=manifest.started_us if known else hello.started_us,
            undecided_us=max(manifest.undecided_us, hello.undecided_us),
            key_id=manifest.key_id or hello.key_id,
        )

    def hear(self, heartbeat: Heartbeat, growing: int | None) -> None:
        """The router told of itself; `growing` is as in `Heartbeats.hear`."""
        self._heartbeats.hear(heartbeat, growing)

    def settle(self, first: int | None) -> bool:
        """The store has all below the number `first` (None: all); whether that tells more than before."""
        told = self._heartbeats.before(first)
        if told is None or self.manifest.complete:
            return False
        self._told = dict(zip(TOLD, (told.numbered, told.dropped, told.sent_us, told.decided_us), strict=True))
        return self._change(**self._told)

    def finish(self, goodbye: Goodbye) -> None:
        """The router ended in order."""
        self._change(complete=True, records=goodbye.records, dropped=goodbye.dropped)

    def add(self, entry: SegmentEntry) -> None:
        """A segment was closed; it is listed in the order of the numbers, whatever order the disk let them close in."""
        segments = sorted((*self.manifest.segments, entry), key=lambda each: each.first_sequence)
        self._change(segments=tuple(segments))

    def remove(self, entry: SegmentEntry) -> None:
        """A closed segment is lost, or given up."""
        self._change(segments=tuple(each for each in self.manifest.segments if each is not entry))

    def spools(self, drops: tuple[SpoolDrop, ...]) -> Manifest:
        """The manifest of all that was closed, for the spool."""
        return msgspec.structs.replace(
            self.manifest,
            schema_version=SCHEMA_VERSION,
            written_us=time.time_ns() // 1000,
            segment_us=self._segment_us,
            drops=drops,
        )

    def stores(
        self,
        drops: tuple[SpoolDrop, ...],
        waiting: Collection[SegmentEntry],
        unclosed: int | None,
        settled: bool,
    ) -> Manifest:
        """The manifest of what the store has, `waiting` for their upload apart; complete only when that is all.

        `unclosed` is the first number in a segment that the disk did not let close: what lies behind is not listed
        before it is there, or a reader would take it for lost.
        """
        missing = [entry.first_sequence for entry in waiting] + ([] if unclosed is None else [unclosed])
        names = {entry.name for entry in waiting}
        uploaded = tuple(
            entry
            for entry in self.manifest.segments
            if entry.name not in names and entry.first_sequence <= min(missing, default=entry.first_sequence)
        )
        whole = self.spools(drops)
        if whole.complete and (not settled or waiting):
            whole = msgspec.structs.replace(whole, complete=False, records=-1, **self._told)
        return msgspec.structs.replace(whole, segments=uploaded)

    def _change(self, **fields: object) -> bool:
        before, self.manifest = self.manifest, msgspec.structs.replace(self.manifest, **fields)
        return self.manifest != before
