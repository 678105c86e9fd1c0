"""Pair logs as the real writer leaves them, for tests that damage, follow, batch or erase them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from shadow.contracts import Answer, Exposure, Manifest, PairRecord, SegmentEntry
from shadow.segment_writer import SegmentWriter
from shadow.segments import MANIFEST

DAY_US = 86_400_000_000
START_US = 20_000 * DAY_US
UNITS = tuple(f"{number:032x}" for number in range(5))


def pair(sequence: int, incarnation: str = "one", **changes: Any) -> PairRecord:
    """A pair whose bodies do not compress, so that a damaged byte is likely to be one of theirs."""
    noise = random.Random(f"{incarnation}{sequence}")
    answer = Answer(version="champion:1", status=200, upstream_us=5_000, body=noise.randbytes(200).hex())
    whole = PairRecord(
        request_id=f"{incarnation}-{sequence}",
        experiment="test",
        incarnation=incarnation,
        sequence=sequence,
        arrival_us=START_US + sequence * 1_000_000,
        event_time_us=START_US + sequence * 1_000_000,
        method="GET",
        target=f"/recommend?user_id={UNITS[sequence % len(UNITS)]}",
        unit=UNITS[sequence % len(UNITS)],
        bucket=7,
        arm="shadow",
        outcome="paired",
        primary=answer,
        arm_answer=msgspec.structs.replace(answer, version="challenger:2"),
    )
    return msgspec.structs.replace(whole, **changes)


def exposure(sequence: int, incarnation: str = "one", **changes: Any) -> Exposure:
    """An exposure of the same log."""
    whole = Exposure(
        request_id=f"{incarnation}-{sequence}",
        experiment="test",
        incarnation=incarnation,
        sequence=sequence,
        arrival_us=START_US + sequence * 1_000_000,
        event_time_us=START_US + sequence * 1_000_000,
        unit=UNITS[sequence % len(UNITS)],
        bucket=7,
        assigned="shadow",
        served="shadow",
        version="challenger:2",
        status=200,
    )
    return msgspec.structs.replace(whole, **changes)


def segment(directory: Path, records: Sequence[PairRecord | Exposure], per_frame: int = 4) -> SegmentEntry:
    """One closed segment."""
    writer = SegmentWriter(directory, records[0].sequence, now=0.0)
    for number, each in enumerate(records):
        writer.append(msgspec.json.encode(each), each.sequence, each.event_time_us, 0.0, each.arrival_us)
        if number % per_frame == per_frame - 1:
            writer.flush()
    writer.flush()
    entry = writer.close()
    assert entry is not None
    return entry


def incarnation(
    root: Path,
    records: Sequence[PairRecord | Exposure],
    per_segment: int = 10,
    per_frame: int = 4,
    numbered: int | None = None,
    **manifest: Any,
) -> Path:
    """One router's whole directory below `root`; complete unless told otherwise."""
    first = records[0]
    directory = root / first.experiment / first.incarnation
    parts = [records[start : start + per_segment] for start in range(0, len(records), per_segment)]
    entries = tuple(segment(directory, part, per_frame) for part in parts)
    whole = Manifest(
        experiment=first.experiment,
        incarnation=first.incarnation,
        router="here",
        started_us=first.arrival_us,
        complete=True,
        records=len(records) if numbered is None else numbered,
        segments=entries,
    )
    write_manifest(directory, msgspec.structs.replace(whole, **manifest))
    return directory


def manifest_of(directory: Path) -> Manifest:
    return msgspec.json.decode((directory / MANIFEST).read_bytes(), type=Manifest)


def write_manifest(directory: Path, manifest: Manifest) -> None:
    (directory / MANIFEST).write_bytes(msgspec.json.encode(manifest))
