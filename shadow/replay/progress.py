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

from shadow.replay.requests import Recorded, ReplayError
from shadow.replay.tally import Tally

SECONDS: Final = 1.0


class Saved(msgspec.Struct, frozen=True):
    """The file: which replay it is of, by the digest of its requests and times, and the counts so far."""

    digest: str
    counts: dict[str, Any]


def digest_of(requests: Sequence[Recorded], due: Sequence[float]) -> str:
    """SHA-256 over what is sent and when."""
    digest = hashlib.sha256()
    for request, at in zip(requests, due, strict=True):
        digest.update(msgspec.json.encode((request, round(at, 6))))
    return digest.hexdigest()


class Progress:
    """The file at `path` for the replay with that `digest`."""

    def __init__(self, path: Path, digest: str) -> None:
        self.path, self._digest = path, digest

    def counts(self) -> dict[str, Any] | None:
        """What an earlier run had counted; None when there was none.

        `ReplayError` when the file is of another replay or cannot be read.
        """
        try:
            saved = msgspec.json.decode(self.path.read_bytes(), type=Saved)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise ReplayError(f"{self.path}: is no state of a replay ({error}); name another file") from error
        if saved.digest != self._digest:
            raise ReplayError(
                f"{self.path}: is the state of another replay (other requests, or another rhythm). "
                "Give the same options as then, or remove it to begin anew"
            )
        return saved.counts

    def save(self, tally: Tally) -> None:
        """Write the counts as they are now. `ReplayError` when that fails."""
        temporary = self.path.with_name(self.path.name + ".new")
        try:
            temporary.write_bytes(msgspec.json.encode(Saved(self._digest, tally.counts())))
            temporary.replace(self.path)
        except OSError as error:
            raise ReplayError(f"{self.path}: cannot be written ({error.strerror})") from error

    async def keep(self, tally: Tally) -> None:
        """Save once a second, until cancelled."""
        while True:
            await asyncio.sleep(SECONDS)
            self.save(tally)
