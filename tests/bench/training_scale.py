"""Training as the data grows: `python -m tests.bench.training_scale [--dir DIR] [--sizes 1 10 30] [--sweeps N]`.

MovieLens-1M, then synthetic data of 10 and 30 million interactions (`understudy data synth`, made in DIR if it is not
there). Every step is a process of its own: seconds by the clock, processor seconds, and its peak memory, which holds
the data as well. The fit is the champion's (iALS-64), on the first 80 % by time, with its checkpoint.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

SIZES = {10: (330_000, 60_000), 30: (1_000_000, 100_000)}
"""Users and items by millions of interactions."""
STEPS = ("parse", "from the cache", "fit", "facts", "export")
ROOT = Path(__file__).parents[2]


def data_of(arguments: argparse.Namespace) -> Any:
    from training.data_set import DataSet
    from training.movielens import ML_1M
    from training.settings import TrainingSettings

    if arguments.data == "ml-1m":
        return DataSet.read(TrainingSettings.load().data_dir / ML_1M.name, arguments.work, ML_1M.digest)
    return DataSet.read(Path(arguments.data), arguments.work)


def champion(sweeps: int) -> Any:
    import msgspec

    from training.experiment import read_experiment

    experiment = read_experiment(ROOT / "training" / "configs" / "champion.toml")
    return msgspec.structs.replace(experiment, ials=msgspec.structs.replace(experiment.ials, sweeps=sweeps))


def load(arguments: argparse.Namespace) -> str:
    data = data_of(arguments)
    known = data.interactions
    return f"{len(known):,} of {len(known.user_ids):,} × {len(known.item_ids):,}, split"


def fit(arguments: argparse.Namespace) -> str:
    from training.checkpoint import Checkpoint
    from training.model import fit_model
    from training.settings import TrainingSettings

    experiment, (before, _) = champion(arguments.sweeps), data_of(arguments).fitting("train")
    told = [time.perf_counter()]
    checkpoint = Checkpoint.of(arguments.work, before, experiment.ials)
    told.append(time.perf_counter())
    threads = TrainingSettings.load().torch_threads
    fitted = fit_model(before, {}, experiment, threads, lambda *_: told.append(time.perf_counter()), checkpoint)
    np.savez(arguments.work / "fitted.npz", users=fitted.users, items=fitted.items, ids=np.array(fitted.item_ids))
    each = np.diff(told)
    sweep = float(np.median(each[2:])) if len(each) > 2 else float(each[-1])
    return f"{sweep:.1f} s a sweep, {told[-1] - told[0]:.1f} s for {arguments.sweeps}, of which the key {each[0]:.1f} s"


def facts(arguments: argparse.Namespace) -> str:
    from training.export import write_facts

    rows = write_facts(arguments.work / "facts.parquet", data_of(arguments).fitting("train")[0])
    return f"{rows:,} rows"


def export(arguments: argparse.Namespace) -> str:
    from training.export import export_bundle
    from training.model import Fitted

    data = data_of(arguments)
    before, cut_us = data.fitting("train")
    with np.load(arguments.work / "fitted.npz") as found:
        fitted = Fitted(found["ids"].tolist(), found["items"], found["users"], [])
    started = time.perf_counter()
    bundle = arguments.work / "bundle"
    manifest = export_bundle(bundle, champion(1), fitted, before, data.movies, cut_us, data.labels)
    size = sum(each.bytes for each in manifest.files.values())
    return f"{manifest.users:,} × {manifest.items:,}, {size / 1e6:,.0f} MB, {time.perf_counter() - started:.1f} s"


DO: dict[str, Callable[[argparse.Namespace], str]] = {
    "parse": load, "from the cache": load, "fit": fit, "facts": facts, "export": export
}  # fmt: skip


def step(arguments: argparse.Namespace) -> None:
    """One step in this process; prints a line of JSON."""
    from training.command_parts import peak_bytes

    started = time.perf_counter()
    note = DO[arguments.step](arguments)
    seconds, processor = time.perf_counter() - started, time.process_time()
    print(json.dumps({"seconds": seconds, "cpu": processor, "peak": peak_bytes(), "note": note}))


def run(command: list[str]) -> dict[str, Any]:
    """The last line that a process prints, as JSON."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3_600)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def made(directory: Path, millions: int) -> tuple[str, str]:
    """Where the data is; makes it when it is not there and tells how long that took."""
    place = directory / f"synthetic-{millions}m"
    if (place / "synthetic.json").is_file():
        return str(place), ""
    users, items = SIZES[millions]
    sizes = ["--users", str(users), "--items", str(items), "--interactions", str(millions * 1_000_000)]
    command = [sys.executable, "-c", "from shadow.cli import run; run()", "data", "synth", *sizes, "--out", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=3_600)
    return str(place), done.stdout.splitlines()[-1]


def main() -> None:
    """Run the steps for every size and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 10, 30])
    parser.add_argument("--sweeps", type=int, default=8)
    parser.add_argument("--step", choices=STEPS)
    parser.add_argument("--data")
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    if arguments.step:
        step(arguments)
        return
    rows, notes = [], []
    with tempfile.TemporaryDirectory(dir=arguments.dir) as name:
        for millions in arguments.sizes:
            source, told = ("ml-1m", "") if millions == 1 else made(arguments.dir or Path(name), millions)
            if told:
                notes.append(f"{millions} M interactions were made in {told}.")
            work = Path(name) / str(millions)
            work.mkdir()
            for each in STEPS:
                options = ["--step", each, "--data", source, "--work", str(work), "--sweeps", str(arguments.sweeps)]
                found = run([sys.executable, "-m", "tests.bench.training_scale", *options])
                numbers = f"{found['seconds']:.1f} | {found['cpu']:.1f} | {found['peak'] / 1e6:,.0f} MB"
                rows.append(f"| {millions} M | {each} | {numbers} | {found['note']} |")
                print(rows[-1], file=sys.stderr, flush=True)
    print("| interactions | step | seconds | processor seconds | peak memory | |\n|---|---|---|---|---|---|")
    print("\n".join(rows))
    print("\n" + "\n".join(notes))


if __name__ == "__main__":
    main()
