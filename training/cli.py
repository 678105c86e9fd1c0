"""The room's commands but for `data`: `train`, `tune`, `evaluate`, `protocols`. Thin: parse, settings, call, print.

Heavy libraries are imported inside the commands, so that `--help` stays fast.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from training.command_parts import data_option, data_set, path_option, peak_bytes, told

if TYPE_CHECKING:
    from training.evaluate import Lift
    from training.experiment import Experiment
    from training.jobs import EvaluationReport
    from training.settings import Machine, MachineSettings

TRACKING = "sqlite:///.understudy/mlflow.db"
tracking_option = click.option("--tracking", default=TRACKING, show_default=True, help="MLflow store.")


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
    _make_room(tracking)
    machine = _machine(experiment, flags)
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
        click.echo(f"{time.monotonic() - started:.1f} s, peak memory {peak_bytes() / 1e6:,.0f} MB")


@click.command()
@click.argument("configurations", type=path_option(exists=True, dir_okay=False), nargs=-1, required=True)
@click.option("--out", type=path_option(dir_okay=False), required=True, help="The numbers as JSON.")
@click.option("--per-user", type=path_option(dir_okay=False), help="The numbers and lists of every user as Parquet.")
@click.option("--references", is_flag=True, help="EASE and item-kNN beside the models.")
@click.option("--again", metavar="REASON", help="Score on the test period once more; the reason is logged.")
@data_option
@tracking_option
@machine_options
@told
def evaluate(
    configurations: tuple[Path, ...],
    out: Path,
    per_user: Path | None,
    references: bool,
    again: str | None,
    source: str,
    tracking: str,
    flags: MachineSettings,
) -> None:
    """Refit on train + validation, score on the test period: the models and the popularity family.

    The test period is for the end: a model that was scored on it before is refused, unless --again says why.
    """
    import msgspec

    from training.experiment import read_experiment
    from training.jobs import ensure_first, evaluate_job

    experiments = [read_experiment(each) for each in configurations]
    machines = {each.name: _machine(each, flags) for each in experiments}
    _make_room(tracking)
    data = data_set(source)
    if again is None:
        ensure_first(tracking, experiments, data.digest)
    with _bars() as bar:
        bars = {each.name: bar(each.name, each.ials.sweeps) for each in experiments}
        report = evaluate_job(
            data, experiments, tracking, lambda each: machines[each.name], bars.__getitem__, per_user, references, again
        )
    out.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    _show(report)


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

    wanted = read_space(space)
    experiments = [experiment for _, experiment in combinations(wanted)]
    machine, data = _machine(wanted.experiment, flags), data_set(source)
    _make_room(tracking)
    click.echo(f"{'trial':>5}{'MAP@10':>9}{'± SE':>8}{'to trial 0':>12}{'± SE':>8}  settings")
    started = time.monotonic()

    def told_trial(trial: Trial) -> None:
        numbers = f"{trial.number:5}{trial.map_at_10:9.4f}{trial.standard_error:8.4f}"
        numbers += f"{trial.difference:+12.4f}{trial.difference_error:8.4f}"
        click.echo(f"{numbers}  {msgspec.json.encode(trial.settings).decode()}")
        log_trial(tracking, experiments[trial.number], trial, data.logged)

    found = run(data.split.before_test, data.movies, wanted, machine, told_trial, data.tags)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=2))
    best = max(found.trials, key=lambda trial: trial.map_at_10)
    click.echo(
        f"{len(found.trials)} trials at {len(found.origins_us)} origins, {best.rows:,} users × origins, "
        f"{time.monotonic() - started:.0f} s; best: trial {best.number}; {found.baseline} has "
        f"{found.baseline_map_at_10:.4f} → {out}"
    )


@click.command()
@click.argument("configuration", type=path_option(exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@data_option
@machine_options
@told
def protocols(configuration: Path, as_json: bool, source: str, flags: MachineSettings) -> None:
    """The model of CONFIGURATION under several splits and thresholds: how much of a lift is the protocol."""
    import msgspec

    from training.experiment import read_experiment
    from training.protocols import PROTOCOLS, row_of

    experiment = read_experiment(configuration)
    machine, data = _machine(experiment, flags), data_set(source)
    rows = [row_of(data.interactions, data.movies, experiment, each, machine, data.tags) for each in PROTOCOLS]
    if as_json:
        click.echo(msgspec.json.encode(rows).decode())
        return
    head = f"{'protocol, warm users':24}{'users':>7}{'popular':>9}{experiment.name:>12}"
    click.echo(f"{head}  {'over all-time popularity':28}over the best of the family")
    for row in rows:
        numbers = f"{row.protocol:24}{row.users:>7,}{row.popularity:9.4f}{row.model:12.4f}"
        click.echo(f"{numbers}  {_lift(row.over_all_time):28}{_lift(row.over_best)} ({row.over_best.over})")


def _machine(experiment: Experiment, flags: MachineSettings) -> Machine:
    """Where `experiment` is fitted. `ConfigurationError`, before anything is read, for a device that is not there."""
    from training.device import usable
    from training.settings import TrainingSettings

    machine = TrainingSettings.load(file=experiment.machine, flags=flags).machine
    usable(machine.device)
    return machine


def _lift(gained: Lift | None) -> str:
    return f"{gained.relative:+.1%} [{gained.lower:+.1%}, {gained.upper:+.1%}]" if gained else ""


def _show(report: EvaluationReport) -> None:
    click.echo(
        f"{'warm users':22}{'MAP@10':>8}{'nDCG@10':>9}{'recall@20':>11}{'cover@10':>10}{'tail@10':>9}{'Gini':>7}"
        f"{'entropy':>9}{'novelty':>9}{'diversity':>11}  lift, 95 %"
    )
    for model in report.models:
        m = model.warm
        row = f"{model.name:22}{m.map_at_10:8.4f}{m.ndcg_at_10:9.4f}{m.recall_at_20:11.4f}{m.coverage_at_10:10.4f}"
        row += f"{m.long_tail_share_at_10:9.4f}{m.gini_at_10:7.3f}{m.entropy_at_10:9.2f}{m.novelty_at_10:9.2f}"
        click.echo(f"{row}{m.diversity_at_10:11.3f}  {_lift(model.lift)}".rstrip())
    first = report.models[0]
    click.echo(
        f"{first.warm.users:,} warm of {first.everyone.users:,} users; lift in MAP@10 over {report.baseline}, "
        "the best of its family, by paired bootstrap over users"
    )


def _make_room(tracking: str) -> None:
    """The directory of an sqlite store must exist before MLflow opens it."""
    if tracking.startswith("sqlite:///"):
        Path(tracking.removeprefix("sqlite:///")).absolute().parent.mkdir(parents=True, exist_ok=True)


@contextmanager
def _bars() -> Iterator[Callable[[str, int], Callable[[int, float], None]]]:
    """Progress bars on a terminal, silence elsewhere: `bar(name, total)` gives the function that moves it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description:12}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def bar(name: str, total: int) -> Callable[[int, float], None]:
            task = progress.add_task(name, total=total, note="")
            return lambda sweep, loss: progress.update(task, completed=sweep, note=f"sweep {sweep}, loss {loss:,.0f}")

        yield bar


@contextmanager
def _sweeps(name: str, total: int) -> Iterator[Callable[[int, float], None]]:
    with _bars() as bar:
        yield bar(name, total)
