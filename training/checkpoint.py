"""Where a fit stood after its last sweep, so that an interrupted one goes on there and ends with the same bytes.

A checkpoint belongs to one fit: its key is made of the data, the settings, the device and the library's version; one
with another key, or one that cannot be read, is not used. Next module: `training.ials`, which writes one after every
sweep.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from training.interactions import Interactions


@dataclass(frozen=True)
class State:
    """Vectors after as many sweeps as there are losses."""

    users: NDArray[np.float32]
    items: NDArray[np.float32]
    losses: list[float]


@dataclass(frozen=True)
class Checkpoint:
    """One file, for the fit that `key` names."""

    path: Path
    key: str

    @staticmethod
    def of(directory: Path, interactions: Interactions, settings: msgspec.Struct, device: str = "cpu") -> Checkpoint:
        """The checkpoint in `directory` of a fit of `settings` on `interactions`, on `device`."""
        digest = hashlib.sha256(msgspec.json.encode(settings, order="sorted"))
        digest.update(f"{torch.__version__} {device}".encode())
        for ids in (interactions.user_ids, interactions.item_ids):
            digest.update("\0".join(ids).encode())
        for column in (interactions.user, interactions.item, interactions.rating, interactions.timestamp_us):
            digest.update(np.ascontiguousarray(column).data)
        key = digest.hexdigest()
        return Checkpoint(directory / f"fit-{key[:16]}.npz", key)

    def load(self) -> State | None:
        """Where the fit stood; None when it never began, or when the file is of another fit or damaged."""
        try:
            with self.path.open("rb") as source, np.load(source, allow_pickle=False) as found:
                if str(found["key"]) != self.key:
                    return None
                return State(found["users"], found["items"], [float(each) for each in found["losses"]])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None

    def save(self, state: State) -> None:
        """Keep `state`, whole or not at all. `OSError` when it cannot be written; the one before stays."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.new")
        try:
            with temporary.open("wb") as out:
                np.savez(out, key=self.key, users=state.users, items=state.items, losses=np.array(state.losses))
            temporary.replace(self.path)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)

    def clear(self) -> None:
        """The fit is over."""
        self.path.unlink(missing_ok=True)
