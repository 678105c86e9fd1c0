"""What an earlier shipper left in the spool: closed, listed and ready to be uploaded, in the order of its writing.

Next module: `shadow.router.stream`, where records come in.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from shadow.contracts import OLDEST, Manifest, SegmentEntry
from shadow.router.growing import Spool
from shadow.router.shipper_settings import LOCK
from shadow.router.spool import IncarnationLog
from shadow.segment_recovery import recover
from shadow.segment_writer import OPEN_SUFFIX, SUFFIX, open_path
from shadow.segments import MANIFEST, read_manifest

logger = logging.getLogger(__name__)

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Experiments and incarnations become directories and keys."""
_SEGMENT: Final = re.compile(rf"[0-9]{{12,}}(-[0-9]+)?{re.escape(SUFFIX)}({re.escape(OPEN_SUFFIX)})?")
_OURS: Final = frozenset({MANIFEST, MANIFEST + ".new", LOCK})
MOST_TOLD: Final = 5


def left_over(spool: Spool) -> Iterator[IncarnationLog]:
    """The logs in the spool, every segment of them closed; what cannot be read, or is no shipper's, is left alone."""
    root = spool.settings.spool
    foreign: list[Path] = []
    experiments = _named(root, NAME, Path.is_dir, foreign) if root.is_dir() else []
    for directory in [each for experiment in experiments for each in _named(experiment, NAME, Path.is_dir, foreign)]:
        segments = _named(directory, _SEGMENT, Path.is_file, foreign)
        manifest = read_manifest(directory / MANIFEST)
        if manifest is None and not segments:
            continue  # Nothing of a log: an empty manifest must not replace the one that was uploaded.
        experiment, incarnation = directory.parent.name, directory.name
        manifest = manifest or Manifest(experiment=experiment, incarnation=incarnation, router="unknown", started_us=0)
        if (manifest.experiment, manifest.incarnation) != (experiment, incarnation):
            foreign.append(directory)  # A copy, say: what it holds belongs to another log.
            continue
        log = IncarnationLog(directory, spool, manifest, ended=manifest.complete)
        try:
            _recover(log, segments)
        except OSError as error:
            logger.error("%s: left as it is (%s)", directory, error)
            continue
        yield log
    if foreign:
        names = ", ".join(str(path.relative_to(root)) for path in foreign[:MOST_TOLD])
        logger.warning("%s: %d names are no shipper's, and ignored: %s", root, len(foreign), names)


def _named(directory: Path, name: re.Pattern[str], is_kind: Callable[[Path], bool], foreign: list[Path]) -> list[Path]:
    """What a shipper may have put into a directory: of that kind, by such a name. What is nobody's is added to
    `foreign`."""
    found = []
    for path in sorted(directory.iterdir()):
        if name.fullmatch(path.name) and is_kind(path):
            found.append(path)
        elif path.name not in _OURS:
            foreign.append(path)
    return found


def _recover(log: IncarnationLog, segments: list[Path]) -> None:
    """Close open segments, and list closed ones that the manifest does not know yet."""
    listed = {entry.name: entry for entry in log.manifest.segments}
    unclosed = []
    for path in segments:
        if path.name.endswith(OPEN_SUFFIX):
            unclosed.append(path)
        elif path.name in listed:
            _wait(log, listed[path.name], path)
        elif int(path.name.partition(".")[0].partition("-")[0]) <= log.drops.last(OLDEST):
            path.unlink()  # It was given up, and counted; only its removal was cut short.
        else:
            unclosed.append(path.rename(open_path(path)))
    for path in sorted(unclosed):
        try:
            entry = recover(path)
        except msgspec.DecodeError as error:
            logger.error("%s: left as it is, it holds no records (%s)", path, error)
            continue
        if entry is not None:
            log.spool.budget.used += entry.bytes
            log.add(entry)


def _wait(log: IncarnationLog, entry: SegmentEntry, path: Path) -> None:
    if path.stat().st_size:
        log.spool.budget.used += entry.bytes
        log.wait(entry)
    else:
        # It was given up; only the manifest could not tell it any more (`Shelf.make_room`).
        log.drop(entry, OLDEST, "the spool was full")
        path.unlink()
