"""Starts the process that fits, and reads what it answered. Next module: `tests.bench.peer_tuning`."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[3]
PEER_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
CONSTRAINTS = Path(__file__).parent / "constraints.txt"
THREADS = 2
DEADLINE_SECONDS = 3_600


@dataclass(frozen=True)
class Model:
    """What to fit: `module` is ours or theirs, `model` a name in its MODELS."""

    module: str
    model: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class Answers:
    """Of every model: lists of shape (models, asked, length), seconds by the clock and of CPU, peak memory in MB.

    `before` is the memory in MB before the first fit: libraries and data.
    """

    lists: NDArray[np.int32]
    seconds: NDArray[np.float64]
    cpu: NDArray[np.float64]
    peak: NDArray[np.float64]
    before: float
    environment: str

    @staticmethod
    def read(path: Path) -> Answers:
        """What `tests.bench.peers.fit` wrote."""
        with np.load(path, allow_pickle=False) as found:
            arrays = {name: found[name] for name in ("lists", "seconds", "cpu", "peak")}
            return Answers(**arrays, before=float(found["before"]), environment=str(found["environment"]))


def ask_once(split: Path, models: list[Model], cache: Path) -> Answers:
    """`ask`, kept in `cache` for who asks the same of the same versions again: long searches are interrupted."""
    cache.mkdir(parents=True, exist_ok=True)
    asked = json.dumps([asdict(each) for each in models], sort_keys=True).encode()
    key = hashlib.sha256(split.read_bytes() + asked + CONSTRAINTS.read_bytes()).hexdigest()
    kept = cache / f"{key[:16]}.npz"
    if not kept.exists():
        ask(split, models)
        shutil.copyfile(split.with_suffix(".answers.npz"), kept)
    return Answers.read(kept)


def ask(split: Path, models: list[Model]) -> Answers:
    """Fit `models`, all of one module, on the file `split` in one process of that module's environment."""
    (module,) = {each.module for each in models}
    python = PEER_PYTHON if module == "theirs" else Path(sys.executable)
    if not python.exists():
        raise SystemExit(f"{python.relative_to(ROOT)} is missing: 'make bench-training' makes it")
    order, answers = split.with_suffix(".order.json"), split.with_suffix(".answers.npz")
    jobs = [{"model": each.model, "settings": each.settings} for each in models]
    order.write_text(json.dumps({"module": module, "threads": THREADS, "jobs": jobs}))
    command = [str(python), "-m", "tests.bench.peers.fit", str(split), str(order), str(answers)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False
    )
    if done.returncode:
        raise SystemExit(f"{', '.join(each.model for each in models)}: fitting failed\n{done.stderr[-2000:]}")
    return Answers.read(answers)


def environment() -> dict[str, str]:
    """This process's, with the same number of threads for every library that reads it from there."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(THREADS))
    return os.environ | threads | {"PYTHONPATH": str(ROOT)}
