"""Following a pair log as it grows: only what is new is read, each record is told once.

Next module: `shadow.replay.cli`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from heapq import nlargest
from pathlib import Path
from typing import Any, Final

from shadow.contracts import Exposure, PairRecord
from shadow.incarnations import Incarnation, find_incarnations
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
        """The last `number` records that are there now, by their arrival."""
        # One more than asked for: with none asked for, nlargest would not look at all.
        newest = nlargest(number + 1, self.look(), key=lambda record: record.arrival_us)
        return newest[:number][::-1]

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
        key = (incarnation.owner, file.name.removesuffix(OPEN_SUFFIX))
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
