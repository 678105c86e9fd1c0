"""Several models and the popularity family over pooled rolling origins: what `understudy evaluate --rolling` shows.

It does not touch the test period, so it may be repeated. Every model is asked the same at the same moments, so the
differences are paired; standard errors are clustered by user. Next module: `training.evaluate_cli`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from training import run_facts, tracking
from training.data_set import DataSet
from training.experiment import Experiment
from training.interactions import Interactions
from training.popularity import ALL_TIME, FAMILY, family_scores
from training.references import REFERENCES, ItemModel
from training.rolling import Asked, Pooled, origins, pooled
from training.settings import Machine
from training.task import Ranking, rank_by_popularity
from training.tuning import FactorsOf, ranker


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Mean difference in AP@10 to `over` on the same users and origins, with its standard error."""

    over: str
    mean: float
    standard_error: float


class RollingModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model's pooled MAP@10, and its differences to the best of the popularity family and to the first model."""

    name: str
    map_at_10: float
    standard_error: float
    to_popularity: Difference
    to_first: Difference


class RollingReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found. Moments are microseconds since the epoch; `rows` are users × origins."""

    data_hash: str
    commit: str
    origins_us: list[int]
    rows: int
    users: int
    baseline: str
    models: list[RollingModel]
    synthetic: str = ""
    """What made-up data says of itself; "" for real data."""


def rolling_job(
    data: DataSet,
    experiments: Sequence[Experiment],
    count: int,
    uri: str,
    machines: Mapping[str, Machine],
    references: bool = False,
    on_model: Callable[[int, None], None] | None = None,
) -> RollingReport:
    """Fit each at `count` origins before the test period and score it in the window after each.

    `on_model` hears how many models are done. `ConfigurationError` when `count` is too small.
    """
    many = [Asked.at(origin) for origin in origins(data.split.before_test, count)]
    found: dict[str, Pooled] = {}
    for name, rank in _ranked(data, experiments, machines, references):
        found[name] = pooled(many, rank)
        if on_model:
            on_model(len(found), None)
    report = _report(data, found, many, experiments)
    for experiment in experiments:
        _log(uri, experiment, next(each for each in report.models if each.name == experiment.name), data, count)
    return report


def names_of(experiments: Sequence[Experiment], references: bool) -> list[str]:
    """The models of a report, in its order."""
    return [*FAMILY, *(experiment.name for experiment in experiments), *(REFERENCES if references else ())]


def _ranked(
    data: DataSet, experiments: Sequence[Experiment], machines: Mapping[str, Machine], references: bool
) -> Iterator[tuple[str, Callable[[Asked], Ranking]]]:
    """Name and ranking of every model: the family, the experiments, the references."""

    def popular(name: str) -> Callable[[Asked], Ranking]:
        def rank(asked: Asked) -> Ranking:
            scores = family_scores(asked.origin.before, asked.origin.cut_us)
            return rank_by_popularity(asked.task, scores[name], asked.warm)

        return rank

    def reference(fit: Callable[[Interactions], ItemModel]) -> Callable[[Asked], Ranking]:
        return lambda asked: fit(asked.origin.before).rank(asked.task, asked.task.liked_by.astype(float), asked.warm)

    for name in FAMILY:
        yield name, popular(name)
    for experiment in experiments:
        yield experiment.name, ranker(experiment, data.movies, FactorsOf(machines[experiment.name]), data.tags)
    if references:
        for name, fit in REFERENCES.items():
            yield name, reference(fit)


def _report(
    data: DataSet, found: dict[str, Pooled], many: list[Asked], experiments: Sequence[Experiment]
) -> RollingReport:
    baseline = max(FAMILY, key=lambda name: found[name].mean)
    first = experiments[0].name if experiments else ALL_TIME

    def difference(name: str, over: str) -> Difference:
        mean, error = found[name].difference(found[over])
        return Difference(over=over, mean=mean, standard_error=error)

    return RollingReport(
        data_hash=data.digest,
        commit=run_facts.commit(),
        origins_us=[asked.origin.cut_us for asked in many],
        rows=len(found[baseline].user),
        users=len(set(found[baseline].user.tolist())),
        baseline=baseline,
        models=[
            RollingModel(
                name=name,
                map_at_10=each.mean,
                standard_error=each.standard_error,
                to_popularity=difference(name, baseline),
                to_first=difference(name, first),
            )
            for name, each in found.items()
        ],
        synthetic=data.synthetic,
    )


def _log(uri: str, experiment: Experiment, model: RollingModel, data: DataSet, count: int) -> None:
    values = {"map_at_10": model.map_at_10, "standard_error": model.standard_error}
    for name, each in (("popularity", model.to_popularity), ("first", model.to_first)):
        values |= {f"difference_to_{name}": each.mean, f"difference_to_{name}_error": each.standard_error}
    tags = {"origins": str(count), "popularity": model.to_popularity.over, "first": model.to_first.over}
    tracking.log_rolling(uri, experiment, data.logged, values, tags)
