"""Reading a pair log: every record that can be trusted is yielded, everything else is counted (`LogHealth`).

A crash may leave segments without a manifest, or open ones: they are read too, and reported. Files are streamed, so
memory does not grow with the log. A log holds pairs and, from a split, exposures. Other rooms read through
`read_pairs`, `read_exposures` and `shadow.batches` only. Next module: `shadow.batches`, the same as Arrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

import msgspec

from shadow.contracts import READABLE_VERSIONS, Exposure, PairRecord, SegmentEntry
from shadow.incarnations import MANIFEST, Incarnation, file_name, find_incarnations, first_number, read_manifest
from shadow.log_health import LogHealth, SequenceRuns
from shadow.log_store import Found, PairLogError, local_path
from shadow.segment_lines import SegmentLines
from shadow.segment_writer import OPEN_SUFFIX

__all__ = ["MANIFEST", "Log", "PairLogError", "local_path", "read_exposures", "read_manifest", "read_pairs"]

Owner = tuple[str, str]
"""Experiment and incarnation."""


class Envelope(msgspec.Struct, frozen=True):
    """What is read of a line that is no record of this schema version: whose it is, and its number."""

    schema_version: int
    sequence: int = -1
    incarnation: str = ""
    experiment: str = ""


Record = TypeVar("Record", PairRecord, Exposure)


@dataclass
class Log(Generic[Record]):
    """The records of one `kind` in a log, in segment order; can be iterated again. `health` is known after a full
    iteration."""

    incarnations: list[Incarnation]
    kind: type[Record]
    _health: LogHealth | None = field(default=None, repr=False)

    @property
    def health(self) -> LogHealth:
        """What the last full iteration found. `PairLogError` when there was none."""
        if self._health is None:
            raise PairLogError("the health of a pair log is known only after all of it was read: iterate over it first")
        return self._health

    def __iter__(self) -> Iterator[Record]:
        reading = Reading()
        for incarnation in self.incarnations:
            for record in reading.records(incarnation):
                if isinstance(record, self.kind):
                    reading.health.records += 1
                    yield record
                else:
                    reading.health.other_kind += 1
        reading.settle(self.incarnations)
        self._health = reading.health


PairLog = Log[PairRecord]
ExposureLog = Log[Exposure]


def read_pairs(location: str | Path, experiment: str | None = None) -> PairLog:
    """The pairs of the log at `location` (a path, or a URL: file, s3, gs, az), or of one `experiment` of it.

    `PairLogError` when nothing is there, the scheme is not supported, or the experiment is unknown (it names those
    that are there). Nothing but the manifests is read yet.
    """
    return Log(find_incarnations(location, experiment), PairRecord)


def read_exposures(location: str | Path, experiment: str | None = None) -> ExposureLog:
    """The exposures of a log, which a split leaves; everything else is as in `read_pairs`."""
    return Log(find_incarnations(location, experiment), Exposure)


class Reading:
    """One pass over a log: which numbers were seen of each router, and what is wrong."""

    def __init__(self) -> None:
        self.health = LogHealth()
        self._runs: dict[Owner, SequenceRuns] = {}
        self._compared: set[Owner] = set()

    def records(self, incarnation: Incarnation) -> Iterator[PairRecord | Exposure]:
        """The trusted records in one router's directory."""
        self.compare(incarnation)
        for file in incarnation.files:
            label, entry = incarnation.label(file), incarnation.entries.get(file_name(file))
            yield from self.segment(incarnation.owner, label, entry, incarnation.chunks(file))

    def segment(
        self, owner: Owner, label: str, entry: SegmentEntry | None, chunks: Iterable[bytes]
    ) -> Iterator[PairRecord | Exposure]:
        """The trusted records in one segment of `owner`'s."""
        health, runs = self.health, self._runs.setdefault(owner, SequenceRuns())
        health.segments += 1
        try:
            lines = SegmentLines(chunks, label, entry, health)
            yield from (each for each in map(Decoder(owner, runs, health), lines) if each is not None)
        except FileNotFoundError:
            health.absent.append(label)  # it went while we read: shipped, erased or removed

    def add(self, other: Reading) -> int:
        """Take in a pass over other segments; how many of its numbers had been seen here already, by the same router.

        They are counted as duplicates, but both have yielded them: who puts the records together leaves one out.
        """
        self.health.add(other.health)
        seen = sum(self._runs.setdefault(owner, SequenceRuns()).merge(runs) for owner, runs in other._runs.items())
        self.health.duplicates += seen
        return seen

    def settle(self, incarnations: Iterable[Incarnation]) -> None:
        """Count what is missing of each router, however many directories it has."""
        by_owner: dict[Owner, list[Incarnation]] = {}
        for each in incarnations:
            by_owner.setdefault(each.owner, []).append(each)
        for owner, directories in by_owner.items():
            _settle(self._runs.setdefault(owner, SequenceRuns()), max(map(_account, directories)), self.health)
        self.health.incarnations = len(by_owner)
        self.health.settle()

    def compare(self, incarnation: Incarnation) -> None:
        """What manifest and directory say about each other."""
        health, entries, name = self.health, incarnation.entries, incarnation.path
        if incarnation.owner in self._compared:
            health.doubled.append(f"{name} in {incarnation.directory or '.'}")
        self._compared.add(incarnation.owner)
        manifest = incarnation.manifest
        if manifest is None:
            health.without_manifest.append(name)
        elif not manifest.complete:
            health.unfinished.append(name)
        if manifest is not None and manifest.key_id:
            health.key_ids[name] = manifest.key_id
        if manifest is None or (not manifest.complete and not manifest.told_us):
            health.drops_unknown[name] = manifest.started_us if manifest is not None else 0
        elif not manifest.complete:
            health.drops_known[name] = manifest.told_us
        there = {file_name(file) for file in incarnation.files}
        health.absent += [f"{name}/{entry}" for entry in entries if entry not in there]
        for file in incarnation.files:
            if file.name.endswith(OPEN_SUFFIX):
                health.unclosed.append(incarnation.label(file))
            elif manifest and file_name(file) not in entries:
                (health.ahead if _is_ahead(incarnation, file) else health.unlisted).append(incarnation.label(file))


def _is_ahead(incarnation: Incarnation, file: Found) -> bool:
    """Whether the segment was uploaded after the manifest, as each is, and the next manifest will list it."""
    manifest = incarnation.manifest
    if manifest is None or manifest.complete:
        return False
    return first_number(file_name(file)) > max((entry.last_sequence for entry in manifest.segments), default=-1)


class Account(NamedTuple):
    """What a router's manifest tells of its numbers; of two manifests the greater one tells more."""

    complete: bool = False
    listed: int = -1
    """Numbers up to the last one in a listed segment, that one too, or that is `told`; −1 without a manifest."""
    told: int = 0
    """Numbers below it came, or were dropped as is told here, or are lost."""
    numbered: int = 0
    """Numbers that were given out."""
    dropped: int = 0
    """Of those below `told` by the router before the shipper."""
    given_up: int = 0
    """Of them by the shipper."""
    behind: int = 0
    """Of these: those that lie behind the last listed one, all of them."""
    erased: int = 0


def _account(incarnation: Incarnation) -> Account:
    manifest = incarnation.manifest
    if manifest is None:
        return Account()
    told = max(0, manifest.records if manifest.complete else manifest.numbered)
    listed = max([told, *(1 + entry.last_sequence for entry in manifest.segments)])
    return Account(
        complete=manifest.complete,
        listed=listed,
        told=told,
        numbered=max([manifest.records, listed, *(1 + drop.last_sequence for drop in manifest.drops)]),
        dropped=manifest.dropped if manifest.complete or manifest.numbered >= 0 else 0,
        given_up=sum(drop.records for drop in manifest.drops),
        behind=sum(drop.records for drop in manifest.drops if drop.first_sequence >= listed),
        erased=sum(entry.erased for entry in manifest.segments),
    )


def _settle(runs: SequenceRuns, account: Account, health: LogHealth) -> None:
    """Add one router's numbers to `health`. Of one that has not uploaded all, a number behind the last listed segment
    is awaited: its record may be in the spool, or dropped, which the next manifest will tell."""
    whole = max(0, runs.missing(account.numbered) - account.erased)
    missing, given_up = whole, account.given_up
    if not account.complete and account.listed >= 0:
        missing = max(0, account.listed - runs.seen_below(account.listed) - account.erased)
        given_up -= account.behind
        health.awaited += max(0, whole - missing - account.behind)
    health.missing += missing
    health.erased += account.erased
    health.dropped_by_shipper += given_up
    health.dropped_before_shipping += account.dropped
    unexplained = max(0, missing - given_up - account.dropped)
    # Numbers since the router last told its drops: what is missing of them it may have dropped.
    since = account.listed - runs.seen_below(account.listed) - account.told + runs.seen_below(account.told)
    undetermined = 0 if account.complete else unexplained if account.listed < 0 else min(unexplained, since)
    health.undetermined += undetermined
    health.lost += unexplained - undetermined


class Decoder:
    """Called with a line of `owner`'s: the record in it, or None with the reason counted in `health`."""

    def __init__(self, owner: Owner, runs: SequenceRuns, health: LogHealth) -> None:
        self._owner, self._runs, self._health = owner, runs, health

    def __call__(self, line: bytes) -> PairRecord | Exposure | None:
        """See the class."""
        health = self._health
        try:
            record = _RECORD.decode(line)
        except _UNDECODABLE:
            self._count_stranger(line)
            return None
        if (record.experiment, record.incarnation) != self._owner:
            health.foreign += 1
        elif record.sequence < 0:
            health.undecodable += 1
        elif record.schema_version not in READABLE_VERSIONS:
            health.unknown_schema += 1
            self._runs.add(record.sequence)
        elif not self._runs.add(record.sequence):
            health.duplicates += 1
        else:
            return record
        return None

    def _count_stranger(self, line: bytes) -> None:
        """A line that is no record of ours: of another version, or nothing at all."""
        try:
            envelope = _ENVELOPE.decode(line)
        except _UNDECODABLE:
            envelope = None
        if envelope is None or envelope.schema_version in READABLE_VERSIONS:
            self._health.undecodable += 1
            return
        self._health.unknown_schema += 1
        if (envelope.experiment, envelope.incarnation) == self._owner and envelope.sequence >= 0:
            self._runs.add(envelope.sequence)


_UNDECODABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises: no JSON or not this shape, no UTF-8, nested without end."""
_RECORD: Final[msgspec.json.Decoder[PairRecord | Exposure]] = msgspec.json.Decoder(PairRecord | Exposure)
_ENVELOPE = msgspec.json.Decoder(Envelope)
