"""What a router must know again after a restart, on disk: the last configuration that a server gave, an abort by hand.

Written beside the loop, whole or not at all, for the owner's eyes alone (it may hold keys). A disk that fails costs
this copy, nothing else. Next module: `shadow.router.polling`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec

from shadow.durable_files import write_atomically

FILE: Final = "last-good.json"
BY_HAND: Final = "by-hand.json"
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


class ByHand(msgspec.Struct, frozen=True, kw_only=True):
    """What people did to a router whose configuration is a file."""

    aborted: bool


Kept = TypeVar("Kept", bound=msgspec.Struct)


class FileKeeper(Generic[Kept]):
    """Keeps the newest of one `kind` in the file at `path`; `trouble` hears what the disk says, in its thread."""

    def __init__(self, path: Path, kind: type[Kept], trouble: Callable[[str], None]) -> None:
        self.path = path
        self._kind = kind
        self._trouble = trouble
        self._lock = threading.Lock()
        self._next: bytes | None = None
        self._writing = False
        self._settled = threading.Event()
        self._settled.set()
        self._error = ""

    def read(self) -> Kept | None:
        """What is kept; None, and told, when there is nothing or nothing usable."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=self._kind)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            self._trouble(f"{self.path}: {error}")
            return None

    def save(self, kept: Kept) -> None:
        """Keep it; of several that come while the disk is busy, the last one."""
        with self._lock:
            self._next = msgspec.json.encode(kept)
            self._settled.clear()
            if self._writing:
                return
            self._writing = True
        # A thread of its own: a disk that hangs must hold up neither the loop nor the end of the process.
        threading.Thread(target=self._write, daemon=True).start()

    def settled(self, seconds: float) -> str:
        """Wait for the disk to have all that was saved, and say what is wrong; "" when nothing is. Blocks."""
        if not self._settled.wait(seconds):
            return f"{self.path}: the disk has not answered for {seconds:.0f} s"
        return self._error

    def _write(self) -> None:
        while True:
            with self._lock:
                data, self._next = self._next, None
                if data is None:
                    self._writing = False
                    self._settled.set()
                    return
            try:
                write_atomically(self.path, data, OWNER)
                self._error = ""
            except OSError as error:
                self._error = f"{self.path}: {error.strerror or error}"
                self._trouble(self._error)


def in_loop(tell: Callable[[str], None]) -> Callable[[str], None]:
    """`tell` for a keeper: it is called in the loop that runs now, whatever thread has something to say."""
    loop = asyncio.get_running_loop()

    def told(text: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop may have ended meanwhile
            loop.call_soon_threadsafe(tell, text)

    return told


class Keeper(FileKeeper[LastGood]):
    """Keeps the last good configuration of a server in `directory`."""

    def __init__(self, directory: Path, trouble: Callable[[str], None]) -> None:
        super().__init__(directory / FILE, LastGood, trouble)
