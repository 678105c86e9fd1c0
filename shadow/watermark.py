"""How far a pair log is complete: the time up to which every live router's records are uploaded.

Pure arithmetic over manifests, no I/O but in `watermark_of`. Next module: `shadow.pairs_cli`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from shadow.contracts import Manifest, SegmentEntry
from shadow.incarnations import Incarnation, find_incarnations

UNDECIDED_SECONDS: Final = 30.0
"""Longest time from a request's arrival to its record, of a router that does not tell its own: the deadlines of primary
and arm as configured by default, the wait between them, and the time that the request itself may take to come."""
SILENT_SECONDS: Final = 900.0
"""A router whose manifest is older is given up, if `SILENT_RENEWALS` of it would have come by then."""
SILENT_RENEWALS: Final = 3


class Watermark(msgspec.Struct, frozen=True, kw_only=True):
    """Up to when a log is complete, in µs since the epoch; None when nothing tells it.

    **A router is live** when its manifest is not `complete` (it never said goodbye) and not older than `silence_us`;
    its age is that of `written_us`, which the shipper renews while the router is connected (of manifests without it:
    of its newest record). Routers that said goodbye have uploaded all they had and hold nothing back.

    `arrival_us` is in **arrival time**, each router's own wall clock: the least over live routers of what each has
    surely uploaded (its latest arrival less its `undecided_us`, or its start when it has uploaded none; `decided_us`,
    which its heartbeats tell, where that is later), and not later than the longest of these times before now; with no
    live router the latest arrival in the log, by the same bound.
    **What comes into the log later has an arrival time not below it**: segments are uploaded in the order in which
    records were decided, and none is decided later than `undecided_us` after its arrival. `event_us` says the same of
    event time, and is None as soon as a live router has uploaded an event time that came in a header: whoever sends it
    chooses the time, and nothing bounds it. A replay's event times are complete when its routers said goodbye.

    `live` holds back; `given_up` routers never said goodbye and are silent: they hold nothing back, and may have
    records that were never uploaded, or, if only their way to the store is cut, will come late. Routers whose clocks
    were `set_back` have records with times below watermarks that were given before; from then on they are counted by
    the clock as it is now. A router that has not uploaded its first manifest within `UNDECIDED_SECONDS` of its start is
    unknown, and its records come late, too; so may what was under way when a clock was set forward, and what a clock
    stamps that is behind the others.
    """

    arrival_us: int | None
    event_us: int | None
    live: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()
    set_back: tuple[str, ...] = ()


def watermark(
    manifests: Sequence[Manifest],
    now_us: int,
    undecided_seconds: float = UNDECIDED_SECONDS,
    silent_seconds: float = SILENT_SECONDS,
) -> Watermark:
    """The watermark of the routers with these manifests, at the wall-clock time `now_us`; see `Watermark`.

    `undecided_seconds` is of routers that do not tell theirs, `silent_seconds` the least that any may be silent.
    """
    untold_us = int(undecided_seconds * 1e6)
    unfinished = [manifest for manifest in manifests if not manifest.complete]
    live = [each for each in unfinished if now_us - _heard_us(each) <= silence_us(each, silent_seconds)]
    latest = now_us - max([untold_us, *(_undecided(each, untold_us) for each in manifests)])
    arrival, event = _of_ended(manifests, latest)
    if live:
        arrival = min(latest, *(_sure_us(each, untold_us) for each in live))
        event = None if any(map(_has_header_times, live)) else arrival
    return Watermark(
        arrival_us=arrival,
        event_us=event,
        live=_names(live),
        given_up=_names(each for each in unfinished if each not in live),
        set_back=_names(each for each in manifests if _reach(each, untold_us)[1] or _belied(each)),
    )


def watermark_of(location: str | Path, experiment: str | None = None, now_us: int | None = None) -> Watermark:
    """The watermark of the log at `location`, now. `PairLogError` as from `read_pairs`."""
    return watermark_among(find_incarnations(location, experiment), now_us)


def watermark_among(incarnations: Iterable[Incarnation], now_us: int | None = None) -> Watermark:
    """The watermark of what was found of a log, so that it says no more than what is then read of it."""
    manifests = [each.manifest for each in incarnations if each.manifest is not None]
    return watermark(manifests, time.time_ns() // 1000 if now_us is None else now_us)


def silence_us(manifest: Manifest | None, least_seconds: float = SILENT_SECONDS) -> int:
    """How long a router may be silent before it is given up: its shipper may close segments, and renew the manifest,
    less often than by default."""
    return max(int(least_seconds * 1e6), SILENT_RENEWALS * (manifest.segment_us if manifest is not None else 0))


def _heard_us(manifest: Manifest) -> int:
    """When the shipper last told of the router."""
    return manifest.written_us or max(map(_arrived, manifest.segments), default=manifest.started_us)


def _undecided(manifest: Manifest, untold_us: int) -> int:
    return manifest.undecided_us or untold_us


def _arrived(entry: SegmentEntry) -> int:
    # Before version 3 an entry does not tell it; of live traffic event time is the arrival.
    return entry.last_arrival_us if entry.last_arrival_us >= 0 else entry.last_event_us


def _sure_us(manifest: Manifest, untold_us: int) -> int:
    """Nothing that the router will upload arrived before."""
    reached, _ = _reach(manifest, untold_us)
    sure = manifest.started_us if reached is None else reached - _undecided(manifest, untold_us)
    return sure if _belied(manifest) else max(sure, manifest.decided_us)


def _belied(manifest: Manifest) -> bool:
    """Whether the clock was set back since the heartbeat: what was numbered after it has arrived before."""
    later = [entry for entry in manifest.segments if entry.last_sequence >= manifest.numbered]
    return manifest.numbered >= 0 and any(_arrived(entry) < manifest.decided_us for entry in later)


def _reach(manifest: Manifest, untold_us: int) -> tuple[int | None, bool]:
    """The latest arrival since the router's clock was set back, and whether it was: a segment that ends earlier than
    the ones before by more than a record may be late."""
    reached, set_back = None, False
    for arrived in map(_arrived, manifest.segments):
        jumped = reached is not None and arrived < reached - _undecided(manifest, untold_us)
        set_back = set_back or jumped
        reached = arrived if jumped or reached is None else max(reached, arrived)
    return reached, set_back


def _has_header_times(manifest: Manifest) -> bool:
    return any(map(_tells_header_times, manifest.segments))


def _tells_header_times(entry: SegmentEntry) -> bool:
    if entry.header_times >= 0:
        return entry.header_times > 0
    return 0 <= entry.last_arrival_us != entry.last_event_us  # a writer that did not count them


def _of_ended(manifests: Iterable[Manifest], latest: int) -> tuple[int | None, int | None]:
    """The latest arrival and event time of routers that will upload nothing more."""
    entries = [entry for manifest in manifests for entry in manifest.segments]
    if not entries:
        return None, None
    return min(latest, max(map(_arrived, entries))), min(latest, max(entry.last_event_us for entry in entries))


def _names(manifests: Iterable[Manifest]) -> tuple[str, ...]:
    return tuple(f"{manifest.experiment}/{manifest.incarnation}" for manifest in manifests)
