"""Which routers a pair log holds: `LOCATION/<experiment>/<incarnation>/`, in each a manifest and segments.

`LOCATION` may also be one experiment or one incarnation, or a shipper's spool. Nothing but names and manifests is read.
Next module: `shadow.segments`, which reads the segments.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import msgspec

from shadow.contracts import READABLE_VERSIONS, Manifest, SegmentEntry
from shadow.log_store import Found, LogStore, PairLogError
from shadow.segment_writer import OPEN_SUFFIX, SUFFIX

MANIFEST: Final = "manifest.json"
_DIGITS: Final = re.compile("[0-9]{1,18}")


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

    @cached_property
    def entries(self) -> Mapping[str, SegmentEntry]:
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


@dataclass
class Listing:
    """One look at all names: by directory the segments by name, and whether a manifest is there."""

    files: dict[str, dict[str, Found]]
    manifests: set[str]

    @staticmethod
    def of(store: LogStore) -> Listing:
        """What `store` holds now. No instant: what is uploaded meanwhile may be in it or not, each for itself."""
        files: defaultdict[str, dict[str, Found]] = defaultdict(dict)
        manifests: set[str] = set()
        for each in store.list():
            directory, _, name = each.name.rpartition("/")
            if name == MANIFEST:
                manifests.add(directory)
            elif name.endswith((SUFFIX, SUFFIX + OPEN_SUFFIX)):
                files[directory][name] = each
        return Listing(dict(files), manifests)

    def files_of(self, directory: str) -> dict[str, Found]:
        """The segments in one directory, by name."""
        return self.files.get(directory, {})


def _directories(store: LogStore) -> Iterator[Incarnation]:
    """The directories that hold a manifest or segments.

    A shipper may be at work: it uploads segments in their order, and after them the manifest that lists them. So the
    manifests are read between two looks. What they list is there at the second look or gone; and of the rest only that
    is taken which is not behind the last one of the first look: all before it was there by then.
    """
    first = Listing.of(store)
    names = sorted(first.manifests | set(first.files))
    manifests = {name: _manifest(store, name) for name in names}
    differ = any(_listed(manifests[name]) != set(first.files_of(name)) for name in names)
    second = Listing.of(store) if differ else first
    for name in names:
        yield _incarnation(store, name, manifests[name], _taken(first, second, name, manifests[name]))


def _taken(first: Listing, second: Listing, directory: str, manifest: Manifest | None) -> tuple[Found, ...]:
    """The segments of a directory that may be read without a gap that is none."""
    last = max(map(first_number, first.files_of(directory)), default=-1)
    listed = _listed(manifest)
    files = second.files_of(directory).items()
    return tuple(file for name, file in files if name in listed or first_number(name) <= last)


def _listed(manifest: Manifest | None) -> set[str]:
    return {entry.name for entry in manifest.segments} if manifest is not None else set()


def first_number(name: str) -> int:
    """The sequence number that a segment is named after; −1 for a name that no shipper gives."""
    digits = _DIGITS.match(name)
    return int(digits[0]) if digits else -1


def _manifest(store: LogStore, directory: str) -> Manifest | None:
    """Of a directory; also when it came after the names were looked at."""
    try:
        return decode_manifest(store.read(f"{directory}/{MANIFEST}" if directory else MANIFEST))
    except FileNotFoundError:
        return None


def _incarnation(store: LogStore, directory: str, manifest: Manifest | None, files: tuple[Found, ...]) -> Incarnation:
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
