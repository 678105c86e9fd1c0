"""Which routers a pair log holds: `LOCATION/<experiment>/<incarnation>/`, in each a manifest and segments.

`LOCATION` may also be one experiment or one incarnation, or a shipper's spool. Nothing but names and manifests is read.
Next module: `shadow.segments`, which reads the segments.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from shadow.contracts import READABLE_VERSIONS, Manifest, SegmentEntry
from shadow.log_store import Found, LogStore, PairLogError
from shadow.segment_writer import OPEN_SUFFIX, SUFFIX

MANIFEST: Final = "manifest.json"


@dataclass(frozen=True)
class Incarnation:
    """One router's directory in a log: `files` are its segments by name, open ones included."""

    store: LogStore
    directory: str
    """Relative to the store; "" for the store's own."""
    experiment: str
    name: str
    manifest: Manifest | None
    files: tuple[Found, ...]

    @property
    def owner(self) -> tuple[str, str]:
        """Experiment and incarnation: whose records are its own."""
        return self.experiment, self.name

    @property
    def path(self) -> str:
        """How it is called in a report."""
        return f"{self.experiment}/{self.name}"

    @property
    def entries(self) -> dict[str, SegmentEntry]:
        """What the manifest says of the segments, by file name."""
        return {entry.name: entry for entry in self.manifest.segments} if self.manifest else {}

    def place(self, name: str) -> str:
        """Where the store has the file `name` of this directory."""
        return f"{self.directory}/{name}" if self.directory else name

    def label(self, file: Found) -> str:
        """How a segment is called in a report."""
        return f"{self.path}/{file_name(file)}"

    def chunks(self, file: Found) -> Iterator[bytes]:
        """The bytes of a segment. `FileNotFoundError` when it is gone."""
        return self.store.chunks(file.name)


def file_name(file: Found) -> str:
    """Its name without directories."""
    return file.name.rpartition("/")[2]


def find_incarnations(location: str | Path, experiment: str | None = None) -> list[Incarnation]:
    """All routers of the log at `location`, or of one experiment of it, in the order of their start.

    `PairLogError` when nothing is there, the scheme is not supported, or the experiment is unknown (it names those that
    are there).
    """
    store = LogStore(location)
    found = list(_directories(store))
    if not found:
        raise PairLogError(
            f"{location}: no pair log there (no {MANIFEST}, no *{SUFFIX}). Is this what the shipper got?"
        )
    names = sorted({each.experiment for each in found})
    if experiment is not None and experiment not in names:
        raise PairLogError(f"{location}: no experiment {experiment!r} there, only {', '.join(names)}")
    chosen = [each for each in found if experiment in (None, each.experiment)]
    return sorted(chosen, key=_order)


def _order(incarnation: Incarnation) -> tuple[str, int, str, str]:
    started = incarnation.manifest.started_us if incarnation.manifest else 0
    return incarnation.experiment, started, incarnation.name, incarnation.directory


def _directories(store: LogStore) -> Iterator[Incarnation]:
    """The directories that hold a manifest or segments."""
    files: defaultdict[str, list[Found]] = defaultdict(list)
    manifests: set[str] = set()
    for each in store.list():
        directory, _, name = each.name.rpartition("/")
        if name == MANIFEST:
            manifests.add(directory)
        elif name.endswith((SUFFIX, SUFFIX + OPEN_SUFFIX)):
            files[directory].append(each)
    for directory in sorted(manifests | set(files)):
        yield _incarnation(store, directory, directory in manifests, tuple(files[directory]))


def _incarnation(store: LogStore, directory: str, has_manifest: bool, files: tuple[Found, ...]) -> Incarnation:
    manifest = None
    if has_manifest:
        try:
            manifest = decode_manifest(store.read(f"{directory}/{MANIFEST}" if directory else MANIFEST))
        except FileNotFoundError:
            manifest = None
    if manifest is not None:
        return Incarnation(store, directory, manifest.experiment, manifest.incarnation, manifest, files)
    experiment, name = (*store.tail, *directory.split("/"))[-2:] if directory else store.tail
    return Incarnation(store, directory, experiment, name, None, files)


def read_manifest(path: Path) -> Manifest | None:
    """The manifest in the file `path`; None when there is none, or none that this version can read."""
    try:
        return decode_manifest(path.read_bytes())
    except OSError:
        return None


def decode_manifest(data: bytes) -> Manifest | None:
    """The manifest in `data`; None when it is none that this version can read."""
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return manifest if manifest.schema_version in READABLE_VERSIONS else None
