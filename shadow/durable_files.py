"""Files that survive a power cut, and are there whole or not at all. Next module: `shadow.segment_writer`."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """fsync a file or a directory; of a directory the names in it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def publish(temporary: Path, path: Path) -> None:
    """Rename `temporary` to `path` and make the new name durable."""
    temporary.replace(path)
    sync(path.parent)


def write_atomically(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Replace the file `path` by `data`: a reader sees the old bytes or the new ones, also after a crash.

    `mode`: of the new file, less the process's umask. One writer at a time. `OSError` when it cannot be written; then
    the old file is as it was and nothing else is left.
    """
    temporary = path.with_name(path.name + ".new")
    try:
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode), "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        publish(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
