"""The room's settings: where data is kept, what computes, how MLflow behaves. Reads the environment.

Next module: `training.movielens`.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta


class MachineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an experiment's file or a command's flags say of the machine; None: nothing. No part of a model."""

    threads: Annotated[int, Meta(ge=1)] | None = None
    """Cores that training may use."""
    device: str | None = None
    """Torch's name of what computes: cpu, cuda, cuda:1."""


NOTHING: Final = MachineSettings()
PREFIX: Final = "UNDERSTUDY_"
VARIABLES: Final = ("UNDERSTUDY_DATA_DIR", "UNDERSTUDY_TORCH_THREADS", "UNDERSTUDY_TORCH_DEVICE")
OURS: Final = ("UNDERSTUDY_DATA_", "UNDERSTUDY_TORCH_", "UNDERSTUDY_TRAINING_")
"""No other room's variable begins like this."""
ALIKE: Final = 0.65
"""Names that agree so well (difflib's ratio, without the prefix) are one misspelt; other rooms' are below 0.55."""


@dataclass(frozen=True)
class Machine:
    """What a fit runs on."""

    threads: int = 1
    device: str = "cpu"


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of the training commands. A flag goes before the environment, the environment before a file."""

    data_dir: Path
    """UNDERSTUDY_DATA_DIR: the cache of downloaded data. Default: `understudy` in XDG_CACHE_HOME, else in ~/.cache.

    Outside the repository, because MovieLens files may not be redistributed with it.
    """

    torch_threads: int
    """UNDERSTUDY_TORCH_THREADS, --threads, [machine] threads: cores that training may use.

    Default: all this process may run on, at most 4.
    """

    torch_device: str
    """UNDERSTUDY_TORCH_DEVICE, --device, [machine] device: torch's name of what computes. Default: cpu."""

    @property
    def machine(self) -> Machine:
        """What a fit runs on."""
        return Machine(self.torch_threads, self.torch_device)

    @staticmethod
    def load(
        environment: Mapping[str, str] = os.environ,
        file: MachineSettings = NOTHING,
        flags: MachineSettings = NOTHING,
    ) -> TrainingSettings:
        """The settings of this process. `ValueError` names a variable that cannot be read, or is none of training's."""
        ensure_known(environment)
        cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        named = environment.get("UNDERSTUDY_TORCH_THREADS")
        if named and (not named.isdecimal() or int(named) < 1):
            raise ValueError(f"UNDERSTUDY_TORCH_THREADS must be a whole number from 1, not {named!r}")
        threads = flags.threads or int(named or 0) or file.threads or min(4, available_cores())
        device = flags.device or environment.get("UNDERSTUDY_TORCH_DEVICE") or file.device or "cpu"
        return TrainingSettings(
            data_dir=Path(environment.get("UNDERSTUDY_DATA_DIR") or cache / "understudy"),
            torch_threads=threads,
            torch_device=device,
        )


def ensure_known(environment: Mapping[str, str]) -> None:
    """`ValueError` names a variable that is meant for training and unknown, and the nearest one that there is.

    Meant for training is what begins like its variables or nearly reads as one; other rooms' variables pass.
    """
    for name in sorted(environment.keys() - set(VARIABLES)):
        if not name.startswith(PREFIX):
            continue
        alike = {known: _likeness(name, known) for known in VARIABLES}
        nearest = max(alike, key=alike.__getitem__)
        if name.startswith(OURS) or alike[nearest] >= ALIKE:
            where = "the settings of a model stand in its TOML file"
            raise ValueError(f"{name} is no variable of training; the nearest is {nearest}, and {where}. Unset it")


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one.removeprefix(PREFIX), other.removeprefix(PREFIX)).ratio()


def available_cores() -> int:
    """The cores this process may use; its affinity where the system tells it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare_mlflow(environment: MutableMapping[str, str] = os.environ) -> None:
    """Before MLflow is imported: it sends no usage statistics, and does not ask a dead server for minutes.

    Each is MLflow's own variable, and what the user has set stays.
    """
    environment.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    environment.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    environment.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
