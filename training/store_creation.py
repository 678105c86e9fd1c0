"""An sqlite store of MLflow is opened by one process at a time: opening makes the tables of one that is not there yet.

MLflow makes them by dozens of migrations, and two processes that do so at once break each other's. The lock is that of
the store's directory (flock(2)), so it leaves no file and goes with its process. Next module: `training.mlflow_store`.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from training.errors import TrackingError

SQLITE: Final = "sqlite:///"
DEADLINE_S: Final = 120.0
"""How long another process may take to make a store; it takes seconds."""
PAUSE_S: Final = 0.05
"""Between two attempts to get the lock."""


def path_of(uri: str) -> Path | None:
    """The file of an sqlite store; None for any other."""
    return Path(uri.removeprefix(SQLITE)).absolute() if uri.startswith(SQLITE) else None


def artifact_root(uri: str) -> str:
    """Where the artifacts of a store without a server lie: beside the file of an sqlite store."""
    path = path_of(uri)
    return (path.parent / "mlartifacts").as_uri() if path else "mlartifacts"


@contextmanager
def opening(uri: str) -> Iterator[None]:
    """Nobody else opens the sqlite store at `uri` meanwhile; other stores know how to share themselves.

    `TrackingError` when another process does not let go. Not to be nested: the second would wait for the first.
    """
    path = path_of(uri)
    try:
        held = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY) if path else None
    except OSError:
        held = None  # no such directory: what opens the store says so
    try:
        if held is not None:
            _lock(held, uri)
        yield
    finally:
        if held is not None:
            os.close(held)


def _lock(held: int, uri: str) -> None:
    until = time.monotonic() + DEADLINE_S
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > until:
                told = f"another process has been opening the MLflow store {uri} for {DEADLINE_S:g} s"
                raise TrackingError(f"{told}. End it, or name another store with --tracking.") from error
        except OSError:
            return  # this file system knows no locks
        time.sleep(PAUSE_S)
