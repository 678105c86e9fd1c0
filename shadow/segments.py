"""Reading a pair log: every record that can be trusted is yielded, everything else is counted (`LogHealth`).

A log is `LOCATION/<experiment>/<incarnation>/`, in each a `manifest.json` and segments `<first sequence>.jsonl.zst`;
`LOCATION` may also be one experiment or one incarnation, or a shipper's spool. A crash may leave segments without a
manifest, or open ones: they are read too, and reported. Files are streamed, so memory does not grow with the log.
A log holds pairs and, from a split, exposures. Other rooms read through `read_pairs` and `read_exposures` only.
Next module: `shadow.pairs_cli`, which shows a log to people.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import unquote, urlsplit

import msgspec

from shadow.contracts import READABLE_VERSIONS, Exposure, Manifest, PairRecord, SegmentEntry
from shadow.log_health import LogHealth, SequenceRuns
from shadow.segment_lines import SegmentLines
from shadow.segment_writer import OPEN_SUFFIX, SUFFIX

MANIFEST: Final = "manifest.json"


class PairLogError(Exception):
    """A location that cannot be read as a pair log; the text names it and the remedy."""


class Envelope(msgspec.Struct, frozen=True):
    """What is read of a line that is no record of this schema version: whose it is, and its number."""

    schema_version: int
    sequence: int = -1
    incarnation: str = ""
    experiment: str = ""


@dataclass(frozen=True)
class Incarnation:
    """One router's directory in a log."""

    directory: Path
    experiment: str
    name: str
    manifest: Manifest | None

    def segments(self) -> list[Path]:
        """Its segments in the order of their first sequence numbers, open ones included."""
        found = [*self.directory.glob("*" + SUFFIX), *self.directory.glob("*" + SUFFIX + OPEN_SUFFIX)]
        return sorted(found, key=lambda path: path.name)

    def label(self, path: Path) -> str:
        """How a segment is called in a report."""
        return f"{self.experiment}/{self.name}/{path.name}"


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
        health = LogHealth(incarnations=len(self.incarnations))
        try:
            for incarnation in self.incarnations:
                for record in _records(incarnation, health):
                    if isinstance(record, self.kind):
                        health.records += 1
                        yield record
                    else:
                        health.other_kind += 1
        except OSError as error:
            raise PairLogError(f"{error.filename}: cannot be read ({error.strerror})") from error
        health.settle()
        self._health = health


PairLog = Log[PairRecord]
ExposureLog = Log[Exposure]


def read_pairs(location: str | Path, experiment: str | None = None) -> PairLog:
    """The pairs of the log at `location` (a path or a file:// URL), or of one `experiment` of it.

    `PairLogError` when nothing is there, the scheme is not supported, or the experiment is unknown (it names those
    that are there). Nothing but the manifests is read yet.
    """
    return Log(_open(location, experiment), PairRecord)


def read_exposures(location: str | Path, experiment: str | None = None) -> ExposureLog:
    """The exposures of a log, which a split leaves; everything else is as in `read_pairs`."""
    return Log(_open(location, experiment), Exposure)


def _open(location: str | Path, experiment: str | None) -> list[Incarnation]:
    """The incarnations of a log, or of one experiment of it, in the order in which they are read."""
    root = local_path(location)
    found = [_incarnation(directory) for directory in _directories(root)]
    if not found:
        raise PairLogError(
            f"{location}: no pair log there (no {MANIFEST}, no *{SUFFIX}). Is this what the shipper got?"
        )
    names = sorted({each.experiment for each in found})
    if experiment is not None and experiment not in names:
        raise PairLogError(f"{location}: no experiment {experiment!r} there, only {', '.join(names)}")
    chosen = [each for each in found if experiment in (None, each.experiment)]
    started = {each.directory: each.manifest.started_us if each.manifest else 0 for each in chosen}
    return sorted(chosen, key=lambda each: (each.experiment, started[each.directory], each.name))


def local_path(location: str | Path) -> Path:
    """The directory behind a path or a file:// URL; `PairLogError` for other schemes and for what is no directory."""
    text = str(location)
    if "://" in text:
        parts = urlsplit(text)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
            raise PairLogError(f"{text}: only paths and file:///… can be read; copy the log to a directory first")
        text = unquote(parts.path)
    path = Path(text)
    if not path.is_dir():
        raise PairLogError(f"{location}: {'not a directory' if path.exists() else 'nothing there'}. Give a pair log's.")
    return path


def _directories(root: Path) -> list[Path]:
    """`root`, its children and grandchildren, as far as they hold a manifest or segments."""
    candidates = [root, *root.glob("*/"), *root.glob("*/*/")]
    patterns = (MANIFEST, "*" + SUFFIX, "*" + SUFFIX + OPEN_SUFFIX)
    return [path for path in candidates if path.is_dir() and any(any(path.glob(pattern)) for pattern in patterns)]


def _incarnation(directory: Path) -> Incarnation:
    manifest = read_manifest(directory / MANIFEST)
    if manifest is None:
        resolved = directory.resolve()
        return Incarnation(directory, resolved.parent.name, resolved.name, None)
    return Incarnation(directory, manifest.experiment, manifest.incarnation, manifest)


def read_manifest(path: Path) -> Manifest | None:
    """The manifest at `path`; None when there is none, or none that this version can read."""
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None
    return manifest if manifest.schema_version in READABLE_VERSIONS else None


def _records(incarnation: Incarnation, health: LogHealth) -> Iterator[PairRecord | Exposure]:
    """The trusted records of one router; adds what is found to `health`."""
    manifest, runs, paths = incarnation.manifest, SequenceRuns(), incarnation.segments()
    entries = {entry.name: entry for entry in manifest.segments} if manifest else {}
    _compare(incarnation, entries, paths, health)
    for path in paths:
        health.segments += 1
        for line in SegmentLines(path, incarnation.label(path), entries.get(path.name), health):
            record = _decode(line, incarnation, runs, health)
            if record is not None:
                yield record
    if manifest and manifest.complete:
        health.dropped_before_shipping += manifest.dropped
    if manifest:
        health.dropped_by_shipper += sum(drop.records for drop in manifest.drops)
    health.missing += runs.missing(manifest.records if manifest else -1)


def _compare(incarnation: Incarnation, entries: dict[str, SegmentEntry], paths: list[Path], health: LogHealth) -> None:
    """What manifest and directory say about each other."""
    name = f"{incarnation.experiment}/{incarnation.name}"
    if incarnation.manifest is None:
        health.without_manifest.append(name)
    elif not incarnation.manifest.complete:
        health.unfinished.append(name)
    there = {path.name for path in paths}
    health.absent += [f"{name}/{entry}" for entry in entries if entry not in there]
    for path in paths:
        if path.name.endswith(OPEN_SUFFIX):
            health.unclosed.append(incarnation.label(path))
        elif incarnation.manifest and path.name not in entries:
            health.unlisted.append(incarnation.label(path))


def _decode(
    line: bytes, incarnation: Incarnation, runs: SequenceRuns, health: LogHealth
) -> PairRecord | Exposure | None:
    """The record in `line`, or None with the reason counted."""
    owner = (incarnation.experiment, incarnation.name)
    try:
        record = _RECORD.decode(line)
    except msgspec.DecodeError:
        _count_stranger(line, owner, runs, health)
        return None
    if (record.experiment, record.incarnation) != owner:
        health.foreign += 1
    elif record.sequence < 0:
        health.undecodable += 1
    elif record.schema_version not in READABLE_VERSIONS:
        health.unknown_schema += 1
        runs.add(record.sequence)
    elif not runs.add(record.sequence):
        health.duplicates += 1
    else:
        return record
    return None


def _count_stranger(line: bytes, owner: tuple[str, str], runs: SequenceRuns, health: LogHealth) -> None:
    """A line that is no record of ours: of another version, or nothing at all."""
    try:
        envelope = _ENVELOPE.decode(line)
    except msgspec.DecodeError:
        health.undecodable += 1
        return
    if envelope.schema_version in READABLE_VERSIONS:
        health.undecodable += 1
        return
    health.unknown_schema += 1
    if (envelope.experiment, envelope.incarnation) == owner and envelope.sequence >= 0:
        runs.add(envelope.sequence)


_RECORD: Final[msgspec.json.Decoder[PairRecord | Exposure]] = msgspec.json.Decoder(PairRecord | Exposure)
_ENVELOPE = msgspec.json.Decoder(Envelope)
