"""The room's settings: where data is kept. Reads the environment. Next module: `training.movielens`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the training commands."""

    data_dir: Path
    """UNDERSTUDY_DATA_DIR: the cache of downloaded data. Default: `understudy` in XDG_CACHE_HOME, else in ~/.cache.

    Outside the repository, because MovieLens files may not be redistributed with it.
    """

    torch_threads: int
    """UNDERSTUDY_TORCH_THREADS: cores that training may use. Default: all this process may run on, at most 4."""

    @staticmethod
    def load(environment: Mapping[str, str] = os.environ) -> TrainingSettings:
        """The settings of this process. `ValueError` names a variable that cannot be read."""
        cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        threads = environment.get("UNDERSTUDY_TORCH_THREADS") or str(min(4, available_cores()))
        if not threads.isdecimal() or int(threads) < 1:
            raise ValueError(f"UNDERSTUDY_TORCH_THREADS must be a whole number from 1, not {threads!r}")
        return TrainingSettings(
            data_dir=Path(environment.get("UNDERSTUDY_DATA_DIR") or cache / "understudy"),
            torch_threads=int(threads),
        )


def available_cores() -> int:
    """The cores this process may use; its affinity where the system tells it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
