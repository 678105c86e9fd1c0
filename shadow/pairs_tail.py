"""Following a pair log as it grows: only what is new is read, each record is told once.

Next module: `shadow.replay.cli`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from heapq import nlargest
from itertools import chain
from pathlib import Path
from typing import Any, Final

from shadow.contracts import Exposure, PairRecord
from shadow.incarnations import Incarnation, file_name, find_incarnations
from shadow.log_health import LogHealth, SequenceRuns
from shadow.log_store import Found, PairLogError
from shadow.segment_lines import SegmentLines
from shadow.segment_writer import OPEN_SUFFIX
from shadow.segments import Decoder, Owner

PATIENCE: Final = 60
"""Looks in a row that may fail."""


class Tail:
    """The records of the log at `location`, in the order in which they are found; `PairLogError` as `read_pairs`."""

    def __init__(self, location: str | Path, experiment: str | None = None) -> None:
        self._where = (location, experiment)
        self._runs: dict[Owner, SequenceRuns] = {}
        self._read: dict[tuple[Owner, str], int] = {}
        """How much of each segment was read, by its closed name."""
        self.health = LogHealth()

    def last(self, number: int) -> list[PairRecord | Exposure]:
        """The last `number` records that are there now, by their arrival; no segment is read that is too old for it."""
        found: list[PairRecord | Exposure] = []
        segments = [
            (incarnation, file) for incarnation in find_incarnations(*self._where) for file in incarnation.files
        ]
        for incarnation, file in sorted(segments, key=_newest, reverse=True):
            newest = _newest((incarnation, file))
            if newest < math.inf and len(found) == number and (not found or newest <= found[-1].arrival_us):
                self._read[_key(incarnation, file)] = file.bytes  # passed over: not to be told as new
            else:
                # One more than asked for: with none asked for, nlargest would not look at all.
                several = chain(found, self._new_in(incarnation, file))
                found = nlargest(number + 1, several, key=_arrival)[:number]
        return found[::-1]

    def coming(self, seconds: float, sleep: Callable[[float], Any] = time.sleep) -> Iterator[PairRecord | Exposure]:
        """What comes from now on, looked for every `seconds`; without end, or `PairLogError` after `PATIENCE` looks in
        vain: a spool is empty for a moment when all was shipped, and a store may be out of reach."""
        failures = 0
        while True:
            sleep(seconds)
            try:
                yield from self.look()
                failures = 0
            except PairLogError:
                failures += 1
                if failures == PATIENCE:
                    raise

    def look(self) -> Iterator[PairRecord | Exposure]:
        """What is new since the last look."""
        for incarnation in find_incarnations(*self._where):
            for file in incarnation.files:
                yield from self._new_in(incarnation, file)

    def _new_in(self, incarnation: Incarnation, file: Found) -> Iterator[PairRecord | Exposure]:
        runs = self._runs.setdefault(incarnation.owner, SequenceRuns())
        key = _key(incarnation, file)
        start = self._read.get(key, 0)
        if start >= file.bytes:
            return
        lines = SegmentLines(incarnation.store.chunks(file.name, start), "", None, self.health)
        try:
            for record in map(Decoder(incarnation.owner, runs, self.health), lines):
                if record is not None:
                    yield record
        except FileNotFoundError:
            return  # shipped, or closed: it is met again under its other name
        self._read[key] = start + lines.whole_bytes


def _key(incarnation: Incarnation, file: Found) -> tuple[Owner, str]:
    return incarnation.owner, file.name.removesuffix(OPEN_SUFFIX)


def _newest(segment: tuple[Incarnation, Found]) -> float:
    """No record of the segment arrived later; infinite when no manifest tells, as of what is still being written."""
    incarnation, file = segment
    entry = incarnation.entries.get(file_name(file))
    return entry.last_arrival_us if entry is not None and entry.last_arrival_us >= 0 else math.inf


def _arrival(record: PairRecord | Exposure) -> int:
    return record.arrival_us
