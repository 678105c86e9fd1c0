"""The directory of a story, which is its alone while it runs, and the signals that end it in order.

Next module: `shadow.demo`.
"""

from __future__ import annotations

import fcntl
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from shadow.cli import ignore_stops, on_stop
from shadow.processes import StepError

MARK: Final = ".understudy-demo"
"""A file that says: this directory was made by the demo, it may be emptied by the demo."""
DISK_BYTES: Final = 1_000_000_000
"""What a run may need in its directory: two model stores, two pair logs, an MLflow store."""


class Interrupted(BaseException):
    """Ctrl-C, SIGTERM or a closed terminal: unwinds the story so that everything is stopped."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}")
        self.exit_code = 128 + number


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first signal of `STOPPING` into `Interrupted`; later ones are ignored, for the stopping is bounded."""

    def interrupt(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the handler's signature
        ignore_stops()
        raise Interrupted(number)

    before = on_stop(interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def prepared(directory: Path) -> Iterator[None]:
    """Make `directory` empty, if it is new or the demo's own and no demo runs in it, and large enough.

    Held by a lock for the length of the block; `StepError` when it cannot be had.
    """
    if directory.is_dir() and any(directory.iterdir()) and not (directory / MARK).exists():
        raise StepError(f"{directory} is not empty and was not made by the demo. Choose another with --dir.")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        mark = (directory / MARK).open("a")
    except OSError as error:
        raise StepError(f"{directory}: {error.strerror}. Choose another with --dir.") from error
    with mark:
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StepError(f"{directory}: a demo runs in it. Stop that one, or choose another --dir.") from error
        for old in directory.iterdir():
            if old.name != MARK:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        free = shutil.disk_usage(directory).free
        if free < DISK_BYTES:
            told = f"{free / 1e9:.1f} GB free, {DISK_BYTES / 1e9:.0f} GB needed"
            raise StepError(f"{directory}: {told}. Choose another --dir.")
        yield
