"""The room's two jobs from end to end: train one model into a registered bundle; evaluate several on the test period.

Offline evaluation scores models, not bundles: an export that leaves users out is not seen by it. That is what shadow
traffic is for. Next module: `training.evaluate_cli`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from bentos.index_record import beside
from training import run_facts, tracking
from training.checkpoint import Checkpoint
from training.data_set import DataSet
from training.evaluate import Lift, Metrics, PerUser, best_of, lift, write_per_user
from training.experiment import Experiment
from training.export import export_bundle
from training.model import fit_model
from training.popularity import cold_scores, family_scores
from training.references import REFERENCES
from training.registering import register
from training.settings import Machine
from training.task import Task, rank_by_popularity
from training.uses import begin

BOOTSTRAP_SEED: Final = 1
Sweep = Callable[[int, float], None]


class Trained(NamedTuple):
    """What a training gave: the bento tag of its bundle, the number of its version, whether that is new, its run."""

    tag: str
    number: int
    new: bool
    run_id: str


class ModelReport(msgspec.Struct, frozen=True, kw_only=True):
    """One model's numbers on the test period: warm users (the headline), cold users, all users; lift on warm users."""

    name: str
    warm: Metrics
    cold: Metrics | None
    """None when there is no cold user."""
    everyone: Metrics
    lift: Lift | None = None


class EvaluationReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that `understudy evaluate` found. Times are microseconds since the epoch."""

    data_hash: str
    commit: str
    validation_from_us: int
    test_from_us: int
    ratings: dict[str, int]
    baseline: str
    models: list[ModelReport]
    configurations: dict[str, str]
    synthetic: str = ""
    """What made-up data says of itself; "" for real data."""


def train_job(
    data: DataSet, experiment: Experiment, until: str, bundle: Path, uri: str, machine: Machine, sweep: Sweep
) -> Trained:
    """Fit, export, register. A run in MLflow tells how far it came, whatever happens."""
    before, end_us = data.fitting(until)
    # Beside the bundle, which is what an interrupted command is repeated for.
    checkpoint = Checkpoint.of(bundle.absolute().parent, before, experiment.ials, machine.device)
    labels = {
        **data.labels,
        "commit": run_facts.commit(),
        "configuration": experiment.digest,
        "fitted_on": until,
        "fitted_before_us": str(end_us),
    }
    with tracking.training_run(uri, experiment, data.logged, labels, machine) as run:

        def swept(number: int, loss: float) -> None:
            run.sweep(number, loss)
            sweep(number, loss)

        fitted = fit_model(
            before, data.movies, experiment, machine.threads, swept, checkpoint, data.tags, machine.device
        )
        run.complete(fitted.losses)
        manifest = export_bundle(bundle, experiment, fitted, before, data.movies, end_us, labels)
        run.log_index(beside(bundle))
        number, new = register(uri, run, experiment, bundle, manifest)
    return Trained(manifest.tag, number, new, run.id)


def evaluate_job(
    data: DataSet,
    experiments: Sequence[Experiment],
    uri: str,
    machines: Mapping[str, Machine],
    sweeps: Mapping[str, Sweep],
    per_user: Path | None = None,
    references: bool = False,
    again: str | None = None,
) -> EvaluationReport:
    """Refit each on train + validation and score it on the test period beside the popularity family.

    By name, `machines` say where each is fitted and `sweeps` hear how far it is. `per_user`: where the numbers of every
    user go as Parquet. `references`: EASE and item-kNN beside them. `again`: why the test period is used once more;
    without it `ConfigurationError` for a model that was scored on it before. The use is on record, and a run open for
    each model, before the first number is there.
    """
    use = begin(uri, "evaluation", experiments, data.digest, again)
    with ExitStack() as running:
        runs = {
            each.name: running.enter_context(tracking.scoring_run(uri, "evaluation", each, data.logged, use.tags))
            for each in experiments
        }
        report = _scored(data, experiments, machines, sweeps, per_user, references)
        for model in report.models:
            if model.name in runs:
                _log(runs[model.name], model)
    return report


def _scored(
    data: DataSet,
    experiments: Sequence[Experiment],
    machines: Mapping[str, Machine],
    sweeps: Mapping[str, Sweep],
    per_user: Path | None,
    references: bool,
) -> EvaluationReport:
    before, end_us = data.fitting("train+validation")
    # A hybrid's bundle has films that nobody rated, and the service shows them.
    before, later = before.naming(data.movies), data.split.test.naming(data.movies)
    task = Task.of(before, later, data.movies)
    users = sorted(task.relevant)
    family, cold = family_scores(before, end_us), cold_scores(before, end_us)
    rankings = {name: rank_by_popularity(task, scores, users) for name, scores in family.items()}
    for experiment in experiments:
        on, told = machines[experiment.name], sweeps[experiment.name]
        fitted = fit_model(before, data.movies, experiment, on.threads, told, None, data.tags, on.device)
        instead = cold_scores(before, end_us, experiment.ials.positive)
        rankings[experiment.name] = fitted.served(task, before.item_ids, instead, users)
    if references:
        for name, reference in REFERENCES.items():
            rankings[name] = reference(before).rank(task, cold, users)
    scored = {name: PerUser.of(ranking, task, users) for name, ranking in rankings.items()}
    if per_user is not None:
        write_per_user(per_user, scored, task, before.user_ids, before.item_ids, data.synthetic)
    return _report(data, task, scored, list(family), experiments)


def _report(
    data: DataSet, task: Task, scored: dict[str, PerUser], family: list[str], experiments: Sequence[Experiment]
) -> EvaluationReport:
    warm = {name: each.where(task.warm) for name, each in scored.items()}
    precisions = {name: each.average_precision for name, each in warm.items()}
    baseline = best_of({name: precisions[name] for name in family})

    def model(name: str) -> ModelReport:
        gained = None
        if name not in family:
            gained = lift(precisions[name], precisions[baseline], baseline, BOOTSTRAP_SEED)
        cold = scored[name].where(frozenset(task.relevant) - task.warm)
        return ModelReport(
            name=name,
            warm=warm[name].metrics(task),
            cold=cold.metrics(task) if cold.users else None,
            everyone=scored[name].metrics(task),
            lift=gained,
        )

    split = data.split
    return EvaluationReport(
        data_hash=data.digest,
        commit=run_facts.commit(),
        validation_from_us=split.validation_from_us,
        test_from_us=split.test_from_us,
        ratings={"train": len(split.train), "validation": len(split.validation), "test": len(split.test)},
        baseline=baseline,
        models=[model(name) for name in scored],
        configurations={experiment.name: experiment.digest for experiment in experiments},
        synthetic=data.synthetic,
    )


def _log(run: tracking.OpenRun, model: ModelReport) -> None:
    numbers: dict[str, Any] = msgspec.to_builtins(model.warm)
    values = {key: value for key, value in numbers.items() if value is not None}
    assert model.lift is not None
    values |= {"lift": model.lift.relative, "lift_lower": model.lift.lower, "lift_upper": model.lift.upper}
    run.log(values, {"lift_over": model.lift.over})
