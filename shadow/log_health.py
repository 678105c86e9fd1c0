"""What a reader found wrong with a pair log, counted: nothing that is missing, torn or foreign goes unsaid.

Pure bookkeeping, no I/O. `SequenceRuns` remembers which numbers of one router it has seen in memory proportional to the
number of gaps, not of records; `LogHealth` is the result. Next module: `shadow.segments`, which fills it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

import msgspec

MOST_NAMED: Final = 3
"""Routers of one unit key that a sentence names."""


class SequenceRuns:
    """The sequence numbers seen of one router incarnation, as disjoint ascending runs [first, last]."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self.seen = 0

    def add(self, number: int) -> bool:
        """Remember `number`; False when it was seen before."""
        # Records come in order but for reconnects, so nearly always the last run grows.
        if self._lasts and number == self._lasts[-1] + 1:
            self._lasts[-1] = number
            self.seen += 1
            return True
        position = bisect_right(self._firsts, number)
        if position and number <= self._lasts[position - 1]:
            return False
        self._insert(position, number)
        self.seen += 1
        return True

    def _insert(self, position: int, number: int) -> None:
        touches_before = position > 0 and self._lasts[position - 1] == number - 1
        touches_after = position < len(self._firsts) and self._firsts[position] == number + 1
        if touches_before and touches_after:
            self._lasts[position - 1] = self._lasts.pop(position)
            del self._firsts[position]
        elif touches_before:
            self._lasts[position - 1] = number
        elif touches_after:
            self._firsts[position] = number
        else:
            self._firsts.insert(position, number)
            self._lasts.insert(position, number)

    def merge(self, other: SequenceRuns) -> int:
        """Take in the numbers that `other` has seen; how many of them had been seen here."""
        runs = sorted([*zip(self._firsts, self._lasts, strict=True), *zip(other._firsts, other._lasts, strict=True)])
        firsts: list[int] = []
        lasts: list[int] = []
        for first, last in runs:
            if lasts and first <= lasts[-1] + 1:
                lasts[-1] = max(lasts[-1], last)
            else:
                firsts.append(first)
                lasts.append(last)
        both = self.seen + other.seen
        self._firsts, self._lasts = firsts, lasts
        self.seen = sum(last - first + 1 for first, last in zip(firsts, lasts, strict=True))
        return both - self.seen

    def missing(self, numbered: int) -> int:
        """How many numbers are missing from 0 to the highest seen, or to `numbered` − 1 where that is higher."""
        highest = self._lasts[-1] if self._lasts else -1
        return max(highest + 1, numbered) - self.seen

    def seen_below(self, number: int) -> int:
        """How many numbers below `number` were seen."""
        runs = zip(self._firsts, self._lasts, strict=True)
        return sum(min(last + 1, number) - first for first, last in runs if first < number)


class LogHealth(msgspec.Struct, kw_only=True):
    """The state of a pair log after reading all of it once.

    `records` were yielded; `other_kind` are whole records of the kind that was not asked for (exposures when pairs are
    read, pairs when exposures are); `bytes` are compressed. `missing` counts sequence numbers that no record bears, of
    which `dropped_before_shipping` were dropped, and counted, by the router itself and `dropped_by_shipper` by the
    shipper (full spool, disk that refused); `lost` are those that nobody dropped. A router tells its drops with its
    goodbye, and before that with its heartbeats: `drops_known` names those that said no goodbye, and until when their
    drops are counted (µs since the epoch), `drops_unknown` those that told nothing, and since when (0 when no manifest
    tells); `undetermined` are their missing records since then that the shipper did not drop. `awaited` numbers are not
    among the missing: their router has not uploaded all that it numbered, and they lie behind the last segment that
    its manifest lists. `erased` ones were taken out on request and are not missing. `duplicates` (a number seen
    before) and `foreign` (another router's or experiment's record) were not yielded, nor were lines of an
    `unknown_schema` or `undecodable` ones. `torn` segments end in the middle of a frame or record or are damaged,
    `checksum_failures` are not the bytes that the manifest names, `unlisted` are in no manifest, `absent` are in a
    manifest but not there, `ahead` came after their manifest, whose next one will list them (no problem); `unclosed`
    segments were still being written. `doubled` names second directories of one router, `without_manifest`
    incarnations, `unfinished` those whose router never said goodbye. `key_ids` are of the unit keys, by incarnation,
    where they are told: two in one experiment make two units of each user.
    `complete`: every router said goodbye and all it shipped is there, whole.
    """

    segments: int = 0
    records: int = 0
    erased: int = 0
    other_kind: int = 0
    bytes: int = 0
    missing: int = 0
    lost: int = 0
    undetermined: int = 0
    awaited: int = 0
    dropped_before_shipping: int = 0
    dropped_by_shipper: int = 0
    duplicates: int = 0
    foreign: int = 0
    unknown_schema: int = 0
    undecodable: int = 0
    torn: list[str] = msgspec.field(default_factory=list)
    checksum_failures: list[str] = msgspec.field(default_factory=list)
    doubled: list[str] = msgspec.field(default_factory=list)
    unlisted: list[str] = msgspec.field(default_factory=list)
    ahead: list[str] = msgspec.field(default_factory=list)
    unclosed: list[str] = msgspec.field(default_factory=list)
    absent: list[str] = msgspec.field(default_factory=list)
    without_manifest: list[str] = msgspec.field(default_factory=list)
    unfinished: list[str] = msgspec.field(default_factory=list)
    incarnations: int = 0
    drops_known: dict[str, int] = msgspec.field(default_factory=dict)
    drops_unknown: dict[str, int] = msgspec.field(default_factory=dict)
    key_ids: dict[str, str] = msgspec.field(default_factory=dict)
    complete: bool = False

    def add(self, other: LogHealth) -> None:
        """Take in what was found in other segments of the same log, before `settle`."""
        for name in self.__struct_fields__:
            mine, its = getattr(self, name), getattr(other, name)
            if isinstance(mine, dict):
                mine.update(its)
            elif name != "complete":
                setattr(self, name, mine + its)

    def settle(self) -> None:
        """Decide `complete` from the rest."""
        flawed = (
            self.torn,
            self.checksum_failures,
            self.doubled,
            self.unlisted,
            self.unclosed,
            self.absent,
            self.without_manifest,
            self.unfinished,
        )
        self.complete = self.incarnations > 0 and not any(flawed)

    def problems(self) -> list[str]:
        """One sentence for each thing that is not as it should be, in plain words; empty for a perfect log."""
        counts = [
            (self.lost, "records are missing: numbered by the router, never seen here (crash or lost segment)"),
            (
                self.undetermined,
                "records are missing of routers that never said goodbye: lost, or dropped by them and not told",
            ),
            (
                self.awaited,
                "records are not uploaded yet, or were dropped and not told yet: their router may still live",
            ),
            (min(self.missing, self.dropped_before_shipping), "records were dropped by the router: its pipe was full"),
            (self.dropped_by_shipper, "records were dropped by the shipper: its spool was full or its disk refused"),
            (self.duplicates, "records came twice; the second was left out"),
            (self.foreign, "records of another router or experiment were left out"),
            (self.unknown_schema, "records have an unknown schema version and were left out: use a newer reader"),
            (self.undecodable, "lines are no records and were left out"),
        ]
        names = [
            (self.torn, "torn or damaged, read without its damaged frames"),
            (self.checksum_failures, "checksum differs from the manifest"),
            (self.doubled, "a second directory of the same router: what is in both was read once"),
            (self.unlisted, "in no manifest (its shipper crashed, or the file was put there)"),
            (self.unclosed, "still being written, or its shipper crashed"),
            (self.absent, "in the manifest, but not there"),
            (
                self.without_manifest,
                "has no manifest yet, or none that can be read (crash, damage, or a newer version)",
            ),
            (self.unfinished, "its router never said goodbye (crashed, or still running)"),
        ]
        return [
            *(f"{number} {text}" for number, text in counts if number),
            *(f"{name}: {text}" for found, text in names for name in found),
            *_second_keys(self.key_ids),
        ]


def routers_by_key(key_ids: Mapping[str, str]) -> dict[str, dict[str, list[str]]]:
    """`LogHealth.key_ids` by experiment, then by key id."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, key_id in key_ids.items():
        found.setdefault(name.rpartition("/")[0], {}).setdefault(key_id, []).append(name)
    return found


def _second_keys(key_ids: Mapping[str, str]) -> list[str]:
    return [
        f"{experiment}: {len(keys)} unit keys, so its users are counted once under each: "
        f"{', '.join(f'{key_id} ({_some(names)})' for key_id, names in keys.items())}. See docs/pair-log.md, Two keys"
        for experiment, keys in routers_by_key(key_ids).items()
        if len(keys) > 1
    ]


def _some(names: list[str]) -> str:
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
