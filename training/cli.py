"""The commands that fit models, `train` and `tune`, and what they share with those that judge. Thin: ask, print.

Heavy libraries are imported inside the commands, so that `--help` stays fast. Next module: `training.evaluate_cli`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training.command_parts import data_option, data_set, ensure_apart, ensure_writable, path_option, peak_bytes, told
from training.store_creation import path_of

if TYPE_CHECKING:
    from training.experiment import Experiment
    from training.settings import Machine, MachineSettings

TRACKING = "sqlite:///.understudy/mlflow.db"
tracking_option = click.option(
    "--tracking",
    envvar="UNDERSTUDY_TRACKING",
    default=TRACKING,
    show_default=True,
    show_envvar=True,
    help="MLflow store.",
)


def machine_options(command: Callable[..., None]) -> Callable[..., None]:
    """--threads and --device, given to the command as `flags`."""

    @click.option("--threads", type=click.IntRange(min=1), help="Cores to use; else UNDERSTUDY_TORCH_THREADS.")
    @click.option("--device", help="Torch's name of what computes, cpu or cuda; else UNDERSTUDY_TORCH_DEVICE.")
    @functools.wraps(command)
    def run(*args: Any, threads: int | None, device: str | None, **kwargs: Any) -> None:
        from training.settings import MachineSettings

        command(*args, flags=MachineSettings(threads=threads, device=device), **kwargs)

    return run


@click.command()
@click.argument("configuration", type=path_option(exists=True, dir_okay=False))
@click.option("--fit", "until", type=click.Choice(["train", "train+validation"]), default="train", show_default=True)
@click.option("--bundle", type=path_option(file_okay=False), required=True, help="Where the bundle goes.")
@click.option("--alias", help="MLflow alias for the new version, for instance champion.")
@data_option
@tracking_option
@machine_options
@told
def train(
    configuration: Path, until: str, bundle: Path, alias: str | None, source: str, tracking: str, flags: MachineSettings
) -> None:
    """Fit the model of CONFIGURATION, export its bundle, register the version."""
    from bentos.registry import checked
    from training.experiment import read_experiment
    from training.jobs import train_job
    from training.registering import point

    started = time.monotonic()
    experiment = read_experiment(configuration)
    if alias:
        checked(alias)
    make_room(tracking)
    machine = machine_of(experiment, flags)
    with _sweeps(experiment.name, experiment.ials.sweeps) as sweep:
        trained = train_job(data_set(source), experiment, until, bundle, tracking, machine, sweep)
    pointed = ""
    try:
        if alias:
            point(tracking, alias, trained.number)
            pointed = f", alias {alias}"
    finally:
        again = "" if trained.new else " (the same bundle again)"
        what = f"{trained.tag}: model version {trained.number}{again}{pointed}"
        click.echo(f"{what}, run {trained.run_id[:8]}, fitted on {until} → {bundle}")
        click.echo(costs(started))


@click.command()
@click.argument("space", type=path_option(exists=True, dir_okay=False))
@click.option("--out", type=path_option(dir_okay=False), required=True, help="All trials as JSON.")
@data_option
@tracking_option
@machine_options
@told
def tune(space: Path, out: Path, source: str, tracking: str, flags: MachineSettings) -> None:
    """Try every combination of SPACE by pooled rolling-origin validation; the test period is not touched."""
    import msgspec

    from training.tracking import log_trial
    from training.tuning import Trial, combinations, read_space
    from training.tuning import tune as run

    ensure_apart([out], [space])
    wanted = read_space(space)
    experiments = [experiment for _, experiment in combinations(wanted)]
    machine = machine_of(wanted.experiment, flags)
    ensure_writable(out)
    make_room(tracking)
    data = data_set(source)
    click.echo(f"{'trial':>5}{'MAP@10':>9}{'± SE':>8}{'to trial 0':>12}{'± SE':>8}  settings")
    started = time.monotonic()

    def told_trial(trial: Trial) -> None:
        numbers = f"{trial.number:5}{trial.map_at_10:9.4f}{trial.standard_error:8.4f}"
        numbers += f"{trial.difference:+12.4f}{trial.difference_error:8.4f}"
        click.echo(f"{numbers}  {msgspec.json.encode(trial.settings).decode()}")
        log_trial(tracking, experiments[trial.number], trial, data.logged)

    found = run(data.split.before_test, data.movies, wanted, machine, told_trial, data.tags)
    found = msgspec.structs.replace(found, synthetic=data.synthetic)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    best = max(found.trials, key=lambda trial: trial.map_at_10)
    click.echo(
        f"{len(found.trials)} trials at {len(found.origins_us)} origins, {best.rows:,} users × origins, "
        f"{time.monotonic() - started:.0f} s; best: trial {best.number}; {found.baseline} has "
        f"{found.baseline_map_at_10:.4f} → {out}"
    )


def machine_of(experiment: Experiment, flags: MachineSettings) -> Machine:
    """Where `experiment` is fitted. `ConfigurationError`, before anything is read, for a device that is not there."""
    from training.device import usable
    from training.settings import TrainingSettings

    machine = TrainingSettings.load(file=experiment.machine, flags=flags).machine
    usable(machine.device)
    return machine


def costs(started: float) -> str:
    """Seconds since `started` (monotonic) and the most memory of this process, for people."""
    return f"{time.monotonic() - started:.1f} s, peak memory {peak_bytes() / 1e6:,.0f} MB"


def make_room(tracking: str) -> None:
    """The directory of an sqlite store must exist before MLflow opens it, and store and directory must be writable.

    `OSError` when they are not: MLflow would try for a minute, and tell it by tracebacks.
    """
    path = path_of(tracking)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        ensure_writable(path)
        # SQLite's journal is made beside the file.
        ensure_writable(path, replaced=True)


@contextmanager
def bars() -> Iterator[Callable[[str, int], Callable[[int, float | None], None]]]:
    """Progress bars on a terminal, silence elsewhere: `bar(name, total)` gives the function that moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:12}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def bar(name: str, total: int) -> Callable[[int, float | None], None]:
            task = progress.add_task(name, total=total, note="")

            def move(done: int, loss: float | None) -> None:
                note = "" if loss is None else f"sweep {done}, loss {loss:,.0f}"
                progress.update(task, completed=done, note=note)

            return move

        yield bar


@contextmanager
def _sweeps(name: str, total: int) -> Iterator[Callable[[int, float], None]]:
    with bars() as bar:
        yield bar(name, total)
