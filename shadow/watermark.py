"""How far a pair log is complete: the time up to which every live router's records are uploaded.

Pure arithmetic over manifests, no I/O but in `watermark_of`. Next module: `shadow.pairs_cli`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from shadow.contracts import Manifest, SegmentEntry
from shadow.incarnations import Incarnation, find_incarnations

UNDECIDED_SECONDS: Final = 30.0
"""Longest time from a request's arrival to its record: the deadlines of primary and arm, and the wait between them (5 +
2 + 5 s as configured by default), and the time that the request itself may take to come."""
SILENT_SECONDS: Final = 900.0
"""A router whose manifest is older is given up: three times the age at which the shipper closes a segment, and with
it renews the manifest."""


class Watermark(msgspec.Struct, frozen=True, kw_only=True):
    """Up to when a log is complete, in µs since the epoch; None when no router has uploaded anything to tell it by.

    **A router is live** when its manifest is not `complete` (it never said goodbye) and is at most `silent` old; its
    age is that of `written_us`, which the shipper renews while the router is connected (of manifests without it: of
    its newest record). Routers that said goodbye have uploaded all they had and hold nothing back.

    `arrival_us` = min over live routers of (latest arrival among its uploaded records, or its start when it has none)
    − `undecided`; with no live router: the latest arrival in the log. **So every record that arrived at or before it
    is uploaded**, or was dropped or lost, which its sequence number tells (`LogHealth`): segments are uploaded in the
    order in which records were decided, and none is decided later than `undecided` after its arrival. `event_us` is
    the same in event time, for live traffic, where it is the arrival; a replay at n times the speed needs n times
    `undecided`.

    `live` holds back; `given_up` routers never said goodbye and are silent: they hold nothing back, and may have
    records that were never uploaded, or, if only their way to the store is cut, will come late. A router that has not
    uploaded its first manifest yet is unknown, and its records come late, too.
    """

    arrival_us: int | None
    event_us: int | None
    live: tuple[str, ...] = ()
    given_up: tuple[str, ...] = ()


def watermark(
    manifests: Sequence[Manifest],
    now_us: int,
    undecided_seconds: float = UNDECIDED_SECONDS,
    silent_seconds: float = SILENT_SECONDS,
) -> Watermark:
    """The watermark of the routers with these manifests, at the wall-clock time `now_us`; see `Watermark`."""
    unfinished = [manifest for manifest in manifests if not manifest.complete]
    live = [manifest for manifest in unfinished if now_us - _heard_us(manifest) <= silent_seconds * 1e6]
    given_up = [manifest for manifest in unfinished if manifest not in live]
    behind = int(undecided_seconds * 1e6)
    return Watermark(
        arrival_us=_least(live, behind, _last_arrival) if live else _latest(manifests, _last_arrival),
        event_us=_least(live, behind, _last_event) if live else _latest(manifests, _last_event),
        live=_names(live),
        given_up=_names(given_up),
    )


def watermark_of(location: str | Path, experiment: str | None = None, now_us: int | None = None) -> Watermark:
    """The watermark of the log at `location`, now. `PairLogError` as from `read_pairs`."""
    return watermark_among(find_incarnations(location, experiment), now_us)


def watermark_among(incarnations: Iterable[Incarnation], now_us: int | None = None) -> Watermark:
    """The watermark of what was found of a log, so that it says no more than what is then read of it."""
    manifests = [each.manifest for each in incarnations if each.manifest is not None]
    return watermark(manifests, time.time_ns() // 1000 if now_us is None else now_us)


def _heard_us(manifest: Manifest) -> int:
    """When the shipper last told of the router."""
    newest = max((_arrived(entry) for entry in manifest.segments), default=manifest.started_us)
    return manifest.written_us or newest


def _arrived(entry: SegmentEntry) -> int:
    # Before version 3 an entry does not tell it; of live traffic event time is the arrival.
    return entry.last_arrival_us if entry.last_arrival_us >= 0 else entry.last_event_us


def _last_arrival(manifest: Manifest) -> int | None:
    return max((_arrived(entry) for entry in manifest.segments), default=None)


def _last_event(manifest: Manifest) -> int | None:
    return max((entry.last_event_us for entry in manifest.segments), default=None)


def _least(live: Sequence[Manifest], behind: int, last: Callable[[Manifest], int | None]) -> int:
    ends = [last(manifest) for manifest in live]
    starts = [manifest.started_us for manifest in live]
    return min(start if end is None else end for start, end in zip(starts, ends, strict=True)) - behind


def _latest(manifests: Sequence[Manifest], last: Callable[[Manifest], int | None]) -> int | None:
    return max((end for end in map(last, manifests) if end is not None), default=None)


def _names(manifests: Sequence[Manifest]) -> tuple[str, ...]:
    return tuple(f"{manifest.experiment}/{manifest.incarnation}" for manifest in manifests)
