"""How far a replay got, in a file, so that it can go on after Ctrl-C, a kill or a reboot.

The file is replaced once a second and at the end. After a kill at most the requests of the last second are sent again;
events among them change nothing then, for their ids are the same. Next module: `shadow.replay.compare`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from shadow.replay.compare import Comparison, Found
from shadow.replay.requests import Recorded, ReplayError
from shadow.replay.tally import Tally

SECONDS: Final = 1.0


class Saved(msgspec.Struct, frozen=True):
    """The file: which replay it is of (a digest of requests and times), the counts, and what a comparison found."""

    digest: str
    counts: dict[str, Any]
    found: Found | None = None


def digest_of(requests: Sequence[Recorded], due: Sequence[float], side: str = "") -> str:
    """SHA-256 over what is sent, when, and with what answers are compared."""
    digest = hashlib.sha256(side.encode())
    for request, at in zip(requests, due, strict=True):
        digest.update(msgspec.json.encode((request, round(at, 6))))
    return digest.hexdigest()


class Progress:
    """The file at `path` for the replay with that `digest`, and with that `comparison`, if it has one."""

    def __init__(self, path: Path, digest: str, comparison: Comparison | None = None) -> None:
        self.path, self._digest, self._comparison = path, digest, comparison

    def counts(self) -> dict[str, Any] | None:
        """What an earlier run had counted; None when there was none. What its comparison found, this one goes on from.

        `ReplayError` when the file is of another replay or cannot be read.
        """
        try:
            saved = msgspec.json.decode(self.path.read_bytes(), type=Saved)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ReplayError(f"{self.path}: is no state of a replay ({error}); name another file") from error
        if saved.digest != self._digest:
            raise ReplayError(
                f"{self.path}: is the state of another replay (other requests, another rhythm, another comparison). "
                "Give the same options as then, or remove it to begin anew"
            )
        if self._comparison is not None and saved.found is not None:
            self._comparison.found = saved.found
        return saved.counts

    def save(self, tally: Tally) -> None:
        """Write the counts as they are now. `ReplayError` when that fails."""
        found = None if self._comparison is None else self._comparison.found
        temporary = self.path.with_name(self.path.name + ".new")
        try:
            # Without fsync, which would hold up the requests that are due meanwhile.
            temporary.write_bytes(msgspec.json.encode(Saved(self._digest, tally.counts(), found)))
            temporary.replace(self.path)
        except OSError as error:
            raise ReplayError(f"{self.path}: cannot be written ({error.strerror})") from error

    async def keep(self, tally: Tally) -> None:
        """Save once a second, until cancelled."""
        while True:
            await asyncio.sleep(SECONDS)
            self.save(tally)
