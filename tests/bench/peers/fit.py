"""Fits models on one split file and writes their lists: `python -m tests.bench.peers.fit SPLIT ORDER ANSWERS`.

A process of its own, in the environment of the models, so that seconds and memory are theirs. Fitting is timed, from
the arrays of the split to a model that can score; ranking is not. Next modules: `tests.bench.peers.theirs` and
`tests.bench.peers.ours`, the models.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.bench.peers.split_file import NOTHING, Split

LENGTH = 20
BATCH_USERS = 256


def ranked(scores: NDArray[np.floating], seen: list[NDArray[np.int32]]) -> NDArray[np.int32]:
    """The `LENGTH` best items of each row of `scores` (users, items) without those seen; equal scores in id order."""
    lists = np.full((len(scores), LENGTH), NOTHING, np.int32)
    for row, (each, items) in enumerate(zip(scores, seen, strict=True)):
        unseen = np.setdiff1d(np.arange(len(each)), items)
        best = unseen[np.lexsort((unseen, -each[unseen]))][:LENGTH]
        lists[row, : len(best)] = best
    return lists


def peak_megabytes() -> float:
    """The most memory that this process ever had. On Linux getrusage would begin with its parent's: /proc does not."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(each for each in status.read_text().splitlines() if each.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main(split_path: str, order_path: str, answers_path: str) -> None:
    """Fit every job of the order ({"module", "threads", "jobs": [{"model", "settings"}]}); write lists and costs."""
    split = Split.read(Path(split_path))
    order = json.loads(Path(order_path).read_bytes())
    models = importlib.import_module(f"tests.bench.peers.{order['module']}")
    everybody = split.seen_by()
    seen = [everybody[user] for user in split.asked]
    before = peak_megabytes()
    lists, seconds, cpu, peak = [], [], [], []
    for job in order["jobs"]:
        wall, used = time.perf_counter(), time.process_time()
        scores = models.MODELS[job["model"]](split, order["threads"], **job["settings"])
        seconds.append(time.perf_counter() - wall)
        cpu.append(time.process_time() - used)
        peak.append(peak_megabytes())
        parts = [slice(at, at + BATCH_USERS) for at in range(0, len(split.asked), BATCH_USERS)]
        lists.append(np.concatenate([ranked(scores(split.asked[part]), seen[part]) for part in parts]))
    costs = {"seconds": seconds, "cpu": cpu, "peak": peak, "before": before}
    np.savez(answers_path, lists=np.stack(lists), environment=models.environment(), **costs)


if __name__ == "__main__":
    main(*sys.argv[1:])
