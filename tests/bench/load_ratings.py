"""Loading a large ratings file: `python -m tests.bench.load_ratings [--rows N] [--dir DIR]`.

The file has the form of MovieLens-25M and its size, users and films; how active users are and how popular films are is
drawn from MovieLens-1M (which `understudy data fetch` brings), so the marginals are real and the pairs are made up.
Each step runs in a process of its own: seconds by the clock, peak memory as `training.command_parts.peak_bytes` tells.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv

USERS, ITEMS = 162_541, 59_047
STARS = np.array([1.57, 3.1, 1.6, 6.6, 5.1, 19.6, 12.7, 26.6, 8.8, 14.4])
"""Per cent of 0.5, 1.0 … 5.0 in MovieLens-25M, rounded."""
CHUNK = 1_000_000
LOAD = """
import json, sys, time
from pathlib import Path
from training.command_parts import peak_bytes
from training.layouts import Layout
from training.ratings import read_ratings
from training.table_cache import cached_ratings
directory, cache, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
layout = Layout.of(directory)
start = time.perf_counter()
path = directory / layout.ratings
table = read_ratings(path, layout) if how == "parse" else cached_ratings(path, layout, cache)
seconds = time.perf_counter() - start
shape = [len(table), len(table.user_ids), len(table.item_ids)]
print(json.dumps({"seconds": seconds, "peak": peak_bytes(), "shape": shape}))
"""


def write(directory: Path, rows: int) -> None:
    """ratings.csv and an empty movies.csv."""
    from training.data_set import DataSet
    from training.movielens import ML_1M
    from training.settings import TrainingSettings

    cache = TrainingSettings.load().data_dir
    real = DataSet.read(cache / ML_1M.name, cache, ML_1M.digest).split.before_test
    rng = np.random.default_rng(1)
    users = _cumulative(rng.choice(np.bincount(real.user), USERS))
    items = _cumulative(rng.choice(np.bincount(real.item), ITEMS))
    (directory / "movies.csv").write_text("movieId,title,genres\n")
    with (directory / "ratings.csv").open("wb") as out:
        out.write(b"userId,movieId,rating,timestamp\n")
        for start in range(0, rows, CHUNK):
            count = min(CHUNK, rows - start)
            table = pa.table(
                {
                    "user": np.searchsorted(users, rng.random(count)).astype(np.int32) + 1,
                    "item": np.searchsorted(items, rng.random(count)).astype(np.int32) + 1,
                    "rating": rng.choice(np.arange(1, 11) / 2, count, p=STARS / STARS.sum()),
                    "timestamp": rng.integers(789_652_004, 1_574_327_703, count),
                }
            )
            csv.write_csv(table, out, csv.WriteOptions(include_header=False))


def _cumulative(weights: np.ndarray) -> np.ndarray:
    total = np.cumsum(weights + 1)
    return total / total[-1]


def main() -> None:
    """Write the file, load it by parsing, then twice through the cache, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=25_000_095)
    parser.add_argument("--dir", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        directory = Path(name)
        started = time.perf_counter()
        write(directory, arguments.rows)
        size = (directory / "ratings.csv").stat().st_size
        print(f"written {size / 1e6:,.0f} MB in {time.perf_counter() - started:.0f} s", file=sys.stderr)
        print("| step | rows | users | films | seconds | peak memory |\n|---|---|---|---|---|---|")
        for title, how in (("parse", "parse"), ("parse and keep", "cache"), ("from the cache", "cache")):
            command = [sys.executable, "-c", LOAD, str(directory), str(directory / "cache"), how]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
            found = json.loads(done.stdout)
            shape = " | ".join(f"{number:,}" for number in found["shape"])
            print(f"| {title} | {shape} | {found['seconds']:.1f} | {found['peak'] / 1e6:,.0f} MB |")


if __name__ == "__main__":
    main()
