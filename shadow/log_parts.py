"""A pair log in parts, for several processes or machines: each reads segments, one adds what they found.

Nothing is lost by the cut: numbers that two parts have seen are counted as one reader would, and everything about the
log as a whole (what is missing, which routers live) is decided when the parts are added. Whoever adds the records must
leave out what came twice (same experiment, incarnation and sequence). Next module: `shadow.watermark`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shadow.contracts import PairRecord, SegmentEntry
from shadow.incarnations import file_name
from shadow.log_health import LogHealth
from shadow.log_store import LogStore
from shadow.segments import Owner, PairLog, Reading


@dataclass(frozen=True)
class Segment:
    """One segment of a log and where to read it; can be sent to another process. `bytes` are compressed."""

    location: str
    place: str
    owner: Owner
    label: str
    entry: SegmentEntry | None
    bytes: int


def segments_of(log: PairLog) -> list[Segment]:
    """All segments of a log, in its order."""
    return [
        Segment(
            each.store.location, file.name, each.owner, each.label(file), each.entries.get(file_name(file)), file.bytes
        )
        for each in log.incarnations
        for file in each.files
    ]


def batches_of(segments: Sequence[Segment], most_bytes: int) -> list[list[Segment]]:
    """Neighbours together up to `most_bytes`, at least one each."""
    batches: list[list[Segment]] = []
    size = 0
    for segment in segments:
        if not batches or size + segment.bytes > most_bytes:
            batches.append([])
            size = 0
        batches[-1].append(segment)
        size += segment.bytes
    return batches


def read_segments(segments: Iterable[Segment], reading: Reading) -> Iterator[PairRecord]:
    """The trusted pairs in these segments; what is wrong with them goes to `reading`."""
    for segment in segments:
        chunks = LogStore(segment.location).chunks(segment.place)
        for record in reading.segment(segment.owner, segment.label, segment.entry, chunks):
            if isinstance(record, PairRecord):
                reading.health.records += 1
                yield record
            else:
                reading.health.other_kind += 1


def whole_health(log: PairLog, parts: Iterable[Reading]) -> tuple[LogHealth, int]:
    """What is wrong with the log, from the passes over all its segments, in the log's order; and the numbers that more
    than one pass has seen, whose records were yielded more than once."""
    whole = Reading()
    for incarnation in log.incarnations:
        whole.compare(incarnation)
    twice = sum(whole.add(part) for part in parts)
    whole.settle(log.incarnations)
    return whole.health, twice
