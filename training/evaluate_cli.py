"""The commands that judge models: `evaluate`, on the test period or over time, and `protocols`. Thin: ask, print.

Heavy libraries are imported inside the commands, so that `--help` stays fast. Next module: `training.models_cli`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from training.cli import bars, costs, machine_of, machine_options, make_room, tracking_option
from training.command_parts import data_option, data_set, ensure_apart, ensure_writable, path_option, told

if TYPE_CHECKING:
    from training.data_set import DataSet
    from training.evaluate import Lift
    from training.experiment import Experiment
    from training.jobs import EvaluationReport
    from training.protocols import ProtocolRow
    from training.rolling_evaluation import RollingReport
    from training.settings import Machine, MachineSettings


@click.command()
@click.argument("configurations", type=path_option(exists=True, dir_okay=False), nargs=-1, required=True)
@click.option("--out", type=path_option(dir_okay=False), required=True, help="The numbers as JSON.")
@click.option("--per-user", type=path_option(dir_okay=False), help="The numbers and lists of every user as Parquet.")
@click.option("--references", is_flag=True, help="EASE and item-kNN beside the models.")
@click.option("--again", metavar="REASON", help="Score on the test period once more; the reason is logged.")
@click.option("--rolling", type=click.IntRange(min=4), metavar="N", help="Not the test period: N moments before it.")
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
    rolling: int | None,
    source: str,
    tracking: str,
    flags: MachineSettings,
) -> None:
    """Refit on train + validation, score on the test period: the models and the popularity family.

    The test period is for the end: a model that was scored on it before is refused, unless --again says why; one that
    was cut short counts. With --rolling N the same models are scored at N moments before it, pooled; that may be
    repeated.
    """
    import msgspec

    from training.uses import ensure_reason

    started = time.monotonic()
    if rolling is not None and (per_user is not None or again is not None):
        raise click.UsageError("--rolling goes with neither --per-user nor --again: it is not the test period")
    ensure_reason(again)
    ensure_apart([out, *([per_user] if per_user else [])], configurations)
    experiments = _distinct(configurations)
    machines = {each.name: machine_of(each, flags) for each in experiments}
    ensure_writable(out)
    if per_user is not None:
        ensure_writable(per_user, replaced=True)
    make_room(tracking)
    data = data_set(source)
    report: EvaluationReport | RollingReport
    if rolling is not None:
        report = _rolling(data, experiments, rolling, tracking, machines, references)
    else:
        report = _test_period(data, experiments, tracking, machines, per_user, references, again)
    out.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
    click.echo(costs(started))


def _distinct(configurations: tuple[Path, ...]) -> list[Experiment]:
    """The experiments, which must have names of their own: results are told by name."""
    from training.errors import ConfigurationError
    from training.experiment import read_experiment
    from training.popularity import FAMILY
    from training.references import REFERENCES

    found: dict[str, Experiment] = {}
    for path in configurations:
        experiment = read_experiment(path)
        if experiment.name in {*found, *FAMILY, *REFERENCES}:
            raise ConfigurationError(f"{path}: name = {experiment.name!r} is taken by another model of this evaluation")
        found[experiment.name] = experiment
    return list(found.values())


def _test_period(
    data: DataSet,
    experiments: list[Experiment],
    tracking: str,
    machines: dict[str, Machine],
    per_user: Path | None,
    references: bool,
    again: str | None,
) -> EvaluationReport:
    from training.jobs import evaluate_job

    with bars() as bar:
        sweeps = {each.name: bar(each.name, each.ials.sweeps) for each in experiments}
        report = evaluate_job(data, experiments, tracking, machines, sweeps, per_user, references, again)
    _show(report)
    return report


def _rolling(
    data: DataSet,
    experiments: list[Experiment],
    count: int,
    tracking: str,
    machines: dict[str, Machine],
    references: bool,
) -> RollingReport:
    from training.rolling_evaluation import names_of, rolling_job

    with bars() as bar:
        models = bar("models", len(names_of(experiments, references)))
        report = rolling_job(data, experiments, count, tracking, machines, references, models)
    head = f"{'warm users':22}{'MAP@10':>8}{'± SE':>8}{'to ' + report.baseline:>24}{'± SE':>8}"
    click.echo(f"{head}{'to ' + experiments[0].name:>16}{'± SE':>8}")
    for model in report.models:
        row = f"{model.name:22}{model.map_at_10:8.4f}{model.standard_error:8.4f}"
        row += f"{model.to_popularity.mean:+24.4f}{model.to_popularity.standard_error:8.4f}"
        click.echo(f"{row}{model.to_first.mean:+16.4f}{model.to_first.standard_error:8.4f}")
    click.echo(
        f"{report.rows:,} users × origins, {report.users:,} users, {len(report.origins_us)} origins, all before the "
        "test period; differences paired, errors clustered by user"
    )
    return report


@click.command()
@click.argument("configuration", type=path_option(exists=True, dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--space",
    type=path_option(exists=True, dir_okay=False),
    help="A search space: a second row with settings chosen for each protocol on its own rolling origins.",
)
@click.option("--again", metavar="REASON", help="Score on the test period once more; the reason is logged.")
@data_option
@tracking_option
@machine_options
@told
def protocols(
    configuration: Path,
    as_json: bool,
    space: Path | None,
    again: str | None,
    source: str,
    tracking: str,
    flags: MachineSettings,
) -> None:
    """The model of CONFIGURATION under several splits and thresholds: how much of a lift is the protocol.

    Every row is a use of the test period: it is logged, and a model that was scored there before, by this command or by
    evaluate, is refused unless --again says why.
    """
    import msgspec

    from training.experiment import read_experiment
    from training.protocols import rows_of
    from training.tuning import read_space
    from training.uses import ensure_reason

    ensure_reason(again)
    experiment = read_experiment(configuration)
    wanted = read_space(space) if space else None
    machine, data = machine_of(experiment, flags), data_set(source)
    make_room(tracking)
    rows = []
    if not as_json:
        head = f"{'protocol, warm users':24}{'users':>7}{'popular':>9}{experiment.name:>12}"
        click.echo(f"{head}  {'over all-time popularity':28}{'over the best of the family':49}settings")
    for row in rows_of(data, experiment, wanted, machine, tracking, again):
        rows.append(row)
        _show_protocol(row, as_json)
    if as_json:
        click.echo(msgspec.json.encode(rows).decode())


def _show_protocol(row: ProtocolRow, as_json: bool) -> None:
    """Print one row as soon as it is there, but for machines."""
    import msgspec

    if as_json:
        return
    numbers = f"{row.protocol:24}{row.users:>7,}{row.popularity:9.4f}{row.model:12.4f}"
    best = f"{_lift(row.over_best)} ({row.over_best.over})"
    settings = "as in the file" if row.settings is None else "chosen: " + msgspec.json.encode(row.settings).decode()
    click.echo(f"{numbers}  {_lift(row.over_all_time):28}{best:49}{settings}")


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
