"""The last configuration that a server gave, on disk: what a router starts with when the server is away.

Written beside the loop, whole or not at all, for the owner's eyes alone (it may hold keys). A disk that fails costs
this copy, nothing else. Next module: `shadow.router.polling`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from shadow.durable_files import write_atomically

FILE: Final = "last-good.json"
OWNER: Final = 0o600


class LastGood(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration, and until when its lease runs (`expires_us` of the wall clock)."""

    generation: int
    lease_seconds: float
    expires_us: int
    aborted: bool = False
    config: msgspec.Raw

    def seconds_left(self, now_us: int) -> float:
        """Of the lease, at a wall clock that may have been turned back."""
        return min(max((self.expires_us - now_us) / 1e6, 0.0), self.lease_seconds)


class Keeper:
    """Keeps the newest `LastGood` in `directory`; `trouble` hears what the disk says, in the loop's turn."""

    def __init__(self, directory: Path, trouble: Callable[[str], None]) -> None:
        self._path = directory / FILE
        self._trouble = trouble
        self._lock = threading.Lock()
        self._next: bytes | None = None
        self._writing = False

    def read(self) -> LastGood | None:
        """What is kept; None, and told, when there is nothing or nothing usable."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=LastGood)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            self._trouble(f"{self._path}: {error}")
            return None

    def save(self, good: LastGood) -> None:
        """Keep it; of several that come while the disk is busy, the last one."""
        with self._lock:
            self._next = msgspec.json.encode(good)
            if self._writing:
                return
            self._writing = True
        # A thread of its own: a disk that hangs must hold up neither the loop nor the end of the process.
        threading.Thread(target=self._write, daemon=True).start()

    def _write(self) -> None:
        while True:
            with self._lock:
                data, self._next = self._next, None
                if data is None:
                    self._writing = False
                    return
            try:
                write_atomically(self._path, data, OWNER)
            except OSError as error:
                self._trouble(f"{self._path}: {error.strerror or error}")
