"""The same model under several protocols: how much of a lift is the split, and how much the meaning of "relevant".

Global temporal splits with every rating, ratings of 3 and of 4 or more as relevant, and a split at random, which lets
the model learn from ratings given after those that it is tested on. Every model has two rows where a space is given:
with the settings of its file, and with settings chosen for the protocol by rolling origins before its own test period,
what the model takes for a positive among them. All of it uses the test period, so it is logged, and refused a second
time, as `evaluate` is. Lifts over all-time popularity are what the research note expects (§2b:
+13.5, +16.0, +22.9 %); those over the best of the family are what this project judges by. Next module:
`training.evaluate_cli`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import numpy as np

from training import tracking
from training.data_set import DataSet
from training.evaluate import Lift, average_precisions, best_of, lift
from training.experiment import Experiment
from training.interactions import POSITIVE, Interactions, Movie
from training.layouts import NO_TAGS, Tags
from training.model import fit_model
from training.popularity import ALL_TIME, family_scores
from training.settings import Machine
from training.split import QUANTILES, GlobalSplit, split_by_time
from training.task import Task, rank_by_popularity
from training.tuning import Space, Trial, tune
from training.uses import Use, begin

SEED: Final = 1
KIND: Final = "protocols"
"""The MLflow experiment of the rows."""


@dataclass(frozen=True)
class Protocol:
    """A split and a threshold: `quantiles` of time, `positive` stars; `shuffled`: times permuted among the ratings."""

    name: str
    quantiles: tuple[float, float]
    positive: float
    shuffled: bool = False


PROTOCOLS: Final = (
    Protocol("global, every rating", QUANTILES, 0.5),
    Protocol("global 70/10/20, ≥ 3", (0.7, 0.8), 3.0),
    Protocol("global, ≥ 4", QUANTILES, POSITIVE),
    Protocol("random, ≥ 4: leaks", QUANTILES, POSITIVE, shuffled=True),
)


class ProtocolRow(msgspec.Struct, frozen=True, kw_only=True):
    """One protocol's numbers on its warm users."""

    protocol: str
    settings: dict[str, Any] | None
    """What was chosen for this protocol instead of the settings of the file; None: those of the file."""
    users: int
    popularity: float
    """MAP@10 of all-time popularity."""
    model: float
    """MAP@10 of the model."""
    over_all_time: Lift
    over_best: Lift
    synthetic: str = ""
    """What made-up data says of itself; "" for real data."""


def rows_of(
    data: DataSet, experiment: Experiment, space: Space | None, machine: Machine, uri: str, again: str | None
) -> Iterator[ProtocolRow]:
    """Every protocol in turn; the use of the test period is on record, and a run open, before a row is computed.

    `ConfigurationError` when a model was scored on the test period of this data before and `again` does not say why.
    """
    files = {each.name: as_in_file(experiment, each) for each in PROTOCOLS}
    use = begin(uri, KIND, list(files.values()), data.digest, again)
    # What this very command scores may come up under several protocols.
    uses = {each.model_digest: use for each in files.values()}
    for each in PROTOCOLS:
        split = split_of(data.interactions, each)
        with tracking.scoring_run(uri, KIND, files[each.name], data.logged, _tags(each, use)) as run:
            row = _logged(run, row_of(split, data.movies, files[each.name], each, machine, data.tags), data.synthetic)
        yield row
        if space and not each.shuffled:
            trial, winner = chosen_for(split, data.movies, space, each, machine, data.tags)
            if winner.model_digest not in uses:
                uses[winner.model_digest] = begin(uri, KIND, [winner], data.digest, again)
            tags = _tags(each, uses[winner.model_digest])
            with tracking.scoring_run(uri, KIND, winner, data.logged, tags) as run:
                row = row_of(split, data.movies, winner, each, machine, data.tags, trial.settings)
                row = _logged(run, row, data.synthetic)
            yield row


def _tags(protocol: Protocol, use: Use) -> dict[str, str]:
    return {"protocol": protocol.name, **use.tags}


def _logged(run: tracking.OpenRun, row: ProtocolRow, synthetic: str) -> ProtocolRow:
    """`row` with the mark of the data, after it was logged."""
    best = row.over_best
    values = {"map_at_10": row.model, "popularity": row.popularity, "users": float(row.users)}
    values |= {"lift": best.relative, "lift_lower": best.lower, "lift_upper": best.upper}
    run.log(values, {"lift_over": best.over})
    return msgspec.structs.replace(row, synthetic=synthetic)


def split_of(interactions: Interactions, protocol: Protocol) -> GlobalSplit:
    """The split of `protocol`."""
    return split_by_time(shuffled(interactions) if protocol.shuffled else interactions, protocol.quantiles)


def row_of(
    split: GlobalSplit,
    movies: Mapping[str, Movie],
    experiment: Experiment,
    protocol: Protocol,
    machine: Machine,
    tags: Tags = NO_TAGS,
    settings: dict[str, Any] | None = None,
) -> ProtocolRow:
    """Fit `experiment` on what is before the test period of `split` and score it there, once."""
    task = Task.of(split.before_test, split.test, at_least=protocol.positive)
    warm = sorted(task.warm)
    family = family_scores(split.before_test, split.test_from_us, protocol.positive)
    scores = {
        name: average_precisions(rank_by_popularity(task, each, warm), task, warm) for name, each in family.items()
    }
    fitted = fit_model(split.before_test, movies, experiment, machine.threads, tags=tags, device=machine.device)
    ranking = fitted.rank(task, split.before_test.item_ids, family[ALL_TIME], warm)
    model = average_precisions(ranking, task, warm)
    best = best_of(scores)
    return ProtocolRow(
        protocol=protocol.name,
        settings=settings,
        users=len(warm),
        popularity=float(scores[ALL_TIME].mean()),
        model=float(model.mean()),
        over_all_time=lift(model, scores[ALL_TIME], ALL_TIME, SEED),
        over_best=lift(model, scores[best], best, SEED),
    )


def as_in_file(experiment: Experiment, protocol: Protocol) -> Experiment:
    """The settings of the file, but for the threshold of a positive, which is that of the protocol."""
    return msgspec.structs.replace(
        experiment, ials=msgspec.structs.replace(experiment.ials, positive=protocol.positive)
    )


def chosen_for(
    split: GlobalSplit,
    movies: Mapping[str, Movie],
    space: Space,
    protocol: Protocol,
    machine: Machine,
    tags: Tags = NO_TAGS,
) -> tuple[Trial, Experiment]:
    """The best trial of `space` on rolling origins before the test period of `split`, and what it sets."""
    wanted = msgspec.structs.replace(space, relevant=protocol.positive)
    found = tune(split.before_test, movies, wanted, machine, lambda _: None, tags)
    return max(found.trials, key=lambda trial: trial.map_at_10), found.winner


def shuffled(interactions: Interactions) -> Interactions:
    """The same ratings with their times permuted: a split by time is then a split at random."""
    times = np.random.default_rng(SEED).permutation(interactions.timestamp_us)
    return replace(interactions, timestamp_us=times)
