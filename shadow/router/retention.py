"""Of a file:// destination: logs whose last file changed long ago are deleted. Object stores have rules of their own.

Deleting hangs on the wall clock, as ages in days must; so it stops when that clock is seen to jump. Next module:
`shadow.router.cli`.
"""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path
from typing import Final

from shadow.segments import MANIFEST

logger = logging.getLogger(__name__)

DAY_SECONDS: Final = 86_400.0
JUMP_SECONDS: Final = 60.0
"""The wall clock may drift so far from the monotonic one; beyond it nothing is deleted any more."""


class Retention:
    """Deletes `destination/<experiment>/<incarnation>` when its newest file is older than `days`.

    `wall` and `monotonic` are now, in seconds; the two clocks are compared from here on.
    """

    def __init__(self, destination: Path, days: float, wall: float, monotonic: float) -> None:
        self._destination = destination
        self._seconds = days * DAY_SECONDS
        self._skew = wall - monotonic
        self._jumped = False

    @staticmethod
    def of(destination: Path | None, days: float) -> Retention | None:
        """None when nothing is to be deleted."""
        if destination is None or days <= 0:
            return None
        return Retention(destination, days, time.time(), time.monotonic())

    def sweep(self, wall: float, monotonic: float, kept: set[tuple[str, str]]) -> int:
        """Delete what is old enough, but no log of `kept` (experiment, incarnation); how many."""
        if not self._jumped and abs(wall - monotonic - self._skew) > JUMP_SECONDS:
            self._jumped = True
            logger.error("the wall clock has jumped: no log is deleted until this shipper is started again")
        if self._jumped:
            return 0
        old = [
            directory
            for directory in self._destination.glob("*/*/")
            if (directory / MANIFEST).exists()
            and (directory.parent.name, directory.name) not in kept
            and wall - max(path.stat().st_mtime for path in directory.iterdir()) > self._seconds
        ]
        for directory in old:
            logger.info("%s: deleted, its last file is %.0f days old or older", directory, self._seconds / DAY_SECONDS)
            shutil.rmtree(directory)
        return len(old)
