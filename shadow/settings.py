"""What the stories of this room take from the environment: the base of their child processes' environment.

The router has settings of its own (`shadow.router.settings`). Next module: `shadow.rehearsal`.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def available_cores() -> int:
    """The cores this process may use; its affinity where the system tells it."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bentoml_home() -> Path:
    """BENTOML_HOME: BentoML's store of models and bentos. Default: bentoml in the home directory, as BentoML has it."""
    return Path(os.environ.get("BENTOML_HOME") or Path.home() / "bentoml")


def child_environment(directory: Path) -> dict[str, str]:
    """The environment of every process of a run that lives in `directory`.

    The stores of BentoML and MLflow are inside `directory`, usage reports are off, numerical libraries use one thread
    (three services share the laptop's cores), and UNDERSTUDY_UNIT_KEY, the secret that hashes user ids, is new for
    every run: two runs' units cannot be joined.
    """
    return os.environ | {
        "BENTOML_HOME": str(directory / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "UNDERSTUDY_UNIT_KEY": secrets.token_hex(32),
    }
