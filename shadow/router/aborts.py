"""An abort by hand outlasts the process: it is on disk before whoever asked for it is told that it is.

A router with a server keeps it beside the last good configuration; one with a file in its `--state`, or not at all, and
then says so. Next module: `shadow.router.admin`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from shadow.router.control import ABORTED, Control
from shadow.router.last_good import BY_HAND, ByHand, FileKeeper, in_loop

DISK_SECONDS: Final = 2.0
"""How long whoever aborts waits to hear that the disk has it; nothing is copied meanwhile."""
NOWHERE: Final = "a restart takes an abort back: no --state was given to keep it in; set mode off in the file too"


def keep_aborts(control: Control, directory: Path | None) -> None:
    """Keep aborts of a router whose configuration is a file in `directory`, and take up the one that is there."""
    if directory is None:
        control.unkept = NOWHERE
        return
    keeper = FileKeeper(directory / BY_HAND, ByHand, in_loop(lambda text: control.trouble("disk", text)))
    kept = keeper.read()
    # A file that cannot be read may have been an abort: copying is what can wait until somebody has looked.
    if kept.aborted if kept is not None else keeper.path.exists():
        control.suspend(ABORTED)
    control.kept = lambda: keeper.save(ByHand(aborted=ABORTED in control.suspended))
    control.settled = keeper.settled
    control.kept()  # a directory that cannot be written is told now, not when it matters


async def settle(control: Control) -> None:
    """Wait until the disk has the last abort or resume; `control.unkept` says why it has not."""
    if control.settled is not None:
        control.unkept = await asyncio.to_thread(control.settled, DISK_SECONDS)
