"""A directory that takes its place only when it is whole; what a killed process left of one is cleared by the next.

The work is done in a hidden directory beside the place, which its process keeps locked (flock(2)): a lock goes with
its process, however that ends, so a hidden directory without one belongs to nobody. Next module: `bentos.bundle`.
"""

from __future__ import annotations

import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

NEW: Final = "new"
OLD: Final = "old"


@contextmanager
def replacing_directory(directory: Path) -> Iterator[Path]:
    """An empty directory to fill, which then takes the place of `directory`; after an error nothing is changed."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    clear(directory)
    work = Path(tempfile.mkdtemp(prefix=f".{directory.name}.{NEW}-", dir=directory.parent))
    with _locked(work):
        try:
            (work / NEW).mkdir()
            yield work / NEW
            (work / NEW).chmod(0o755)
            if directory.exists():
                os.replace(directory, work / OLD)
            os.replace(work / NEW, directory)
        finally:
            _remove(work, directory)


def clear(directory: Path) -> None:
    """Remove what processes that are gone left of their work for `directory`.

    One that ended between its last two steps had moved away what was there: that is put back.
    """
    for work in directory.parent.glob(f".{glob.escape(directory.name)}.{NEW}-????????"):
        with _locked(work) as ours:
            if ours and {each.name for each in work.iterdir()} <= {NEW, OLD}:
                _remove(work, directory)


def _remove(work: Path, directory: Path) -> None:
    if (work / OLD).exists() and not directory.exists():
        os.replace(work / OLD, directory)
    shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _locked(work: Path) -> Iterator[bool]:
    """Hold the lock of `work`; False when another process does, or when this file system knows no locks."""
    try:
        held = os.open(work, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            ours = False
        else:
            ours = True
        yield ours
    finally:
        os.close(held)
