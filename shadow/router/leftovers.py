"""What an earlier shipper left in the spool: closed, listed and ready to be uploaded, in the order of its writing.

Next module: `shadow.router.stream`, where records come in.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from shadow.contracts import OLDEST, Manifest, SegmentEntry
from shadow.router.growing import Spool
from shadow.router.spool import IncarnationLog
from shadow.segment_writer import OPEN_SUFFIX, SUFFIX, open_path, recover
from shadow.segments import MANIFEST, read_manifest

logger = logging.getLogger(__name__)


def left_over(spool: Spool) -> Iterator[IncarnationLog]:
    """The logs in the spool, every segment of them closed; what cannot be read is left alone."""
    for directory in sorted(path for path in spool.settings.spool.glob("*/*/") if path.is_dir()):
        manifest = read_manifest(directory / MANIFEST)
        if manifest is None and not any(directory.glob(f"*{SUFFIX}*")):
            continue  # Nothing of a log: an empty manifest must not replace the one that was uploaded.
        manifest = manifest or Manifest(
            experiment=directory.parent.name, incarnation=directory.name, router="unknown", started_us=0
        )
        log = IncarnationLog(directory, spool, manifest, ended=manifest.complete)
        try:
            _recover(log)
        except OSError as error:
            logger.error("%s: left as it is (%s)", directory, error)
            continue
        yield log


def _recover(log: IncarnationLog) -> None:
    """Close open segments, and list closed ones that the manifest does not know yet."""
    listed = {entry.name: entry for entry in log.manifest.segments}
    for path in sorted(log.directory.glob("*" + SUFFIX)):
        if path.name in listed:
            _wait(log, listed[path.name], path)
        elif int(path.name[:12]) <= log.drops.last(OLDEST):
            path.unlink()  # It was given up, and counted; only its removal was cut short.
        else:
            path.rename(open_path(path))
    for path in sorted(log.directory.glob("*" + SUFFIX + OPEN_SUFFIX)):
        entry = recover(path)
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
