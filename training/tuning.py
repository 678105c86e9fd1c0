"""Choosing settings: every combination of a search space, by pooled rolling-origin validation, all trials told.

The space is a file: an experiment, and for some of its settings a list of values. The winner is the trial with the
highest pooled MAP@10; beside it stand the standard error and, for every trial, the paired difference to the first one
(the settings as they are) with its standard error. The test period is not touched. Next module: `training.cli`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from training.errors import ConfigurationError
from training.evaluate import average_precisions
from training.experiment import Experiment
from training.interactions import Interactions, Movie
from training.layouts import NO_TAGS, Tags
from training.model import fit_model
from training.popularity import FAMILY, family_scores
from training.rolling import LEAST_ORIGINS, Asked, Pooled, origins, pooled
from training.settings import Machine
from training.task import Ranking, rank_by_popularity

MOST_TRIALS = 500


class Space(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A search space: `experiment` as it is, and by setting of `[experiment.ials]` the values to try."""

    experiment: Experiment
    try_: dict[str, list[Any]] = msgspec.field(name="try")
    origins: Annotated[int, Meta(ge=LEAST_ORIGINS, le=100)] = 5


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One combination: what was set, pooled MAP@10 with its error, and the difference to the first trial."""

    number: int
    settings: dict[str, Any]
    map_at_10: float
    standard_error: float
    difference: float
    difference_error: float
    rows: int


class Tuned(msgspec.Struct, frozen=True, kw_only=True):
    """What was found: all trials in the order of the space, popularity's best as a floor, the winner."""

    trials: list[Trial]
    baseline: str
    baseline_map_at_10: float
    origins_us: list[int]
    winner: Experiment


def read_space(path: Path) -> Space:
    """The space in `path`; `ConfigurationError` names file and key."""
    try:
        space = msgspec.toml.decode(path.read_bytes(), type=Space)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    try:
        experiments = list(combinations(space))
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if len(experiments) > MOST_TRIALS:
        raise ConfigurationError(f"{path}: {len(experiments)} combinations, at most {MOST_TRIALS}; try fewer values")
    return space


def combinations(space: Space) -> Iterator[tuple[dict[str, Any], Experiment]]:
    """(what is set, experiment): first the experiment as it is, then every other combination of the values."""
    yield {}, space.experiment
    names = list(space.try_)
    for values in itertools.product(*space.try_.values()):
        chosen = dict(zip(names, values, strict=True))
        document = msgspec.to_builtins(space.experiment)
        try:
            document["ials"] = msgspec.convert(document["ials"] | chosen, type(space.experiment.ials))
        except msgspec.ValidationError as error:
            raise ConfigurationError(f"try: {chosen}: {error}") from error
        if document["ials"] != space.experiment.ials:
            yield chosen, msgspec.structs.replace(space.experiment, ials=document["ials"])


def tune(
    before_test: Interactions,
    movies: Mapping[str, Movie],
    space: Space,
    machine: Machine,
    on_trial: Callable[[Trial], None],
    tags: Tags = NO_TAGS,
) -> Tuned:
    """Run every trial of `space` on what is before the test period."""
    many = [Asked.at(origin) for origin in origins(before_test, space.origins)]
    first: Pooled | None = None
    trials: list[Trial] = []
    best, winner = -math.inf, space.experiment
    for number, (chosen, experiment) in enumerate(combinations(space)):
        found = pooled(many, _ranker(experiment, movies, machine, tags))
        first = first or found
        difference, error = found.difference(first)
        trials.append(
            Trial(
                number=number,
                settings=chosen,
                map_at_10=found.mean,
                standard_error=found.standard_error,
                difference=difference,
                difference_error=error,
                rows=len(found.user),
            )
        )
        on_trial(trials[-1])
        if found.mean > best:
            best, winner = found.mean, experiment
    baseline, score = best_popularity(many)
    return Tuned(
        trials=trials,
        baseline=baseline,
        baseline_map_at_10=score,
        origins_us=[asked.origin.cut_us for asked in many],
        winner=winner,
    )


def best_popularity(many: list[Asked]) -> tuple[str, float]:
    """The best member of the popularity family over all origins, with its pooled MAP@10."""
    asked_with = [(asked, family_scores(asked.origin.before, asked.origin.cut_us)) for asked in many]

    def mean(name: str) -> float:
        rankings = [(asked, rank_by_popularity(asked.task, scores[name], asked.warm)) for asked, scores in asked_with]
        scored = [average_precisions(ranking, asked.task, asked.warm) for asked, ranking in rankings]
        return float(np.concatenate(scored).mean())

    means = {name: mean(name) for name in FAMILY}
    best = max(means, key=means.__getitem__)
    return best, means[best]


def _ranker(
    experiment: Experiment, movies: Mapping[str, Movie], machine: Machine, tags: Tags
) -> Callable[[Asked], Ranking]:
    def rank(asked: Asked) -> Ranking:
        before = asked.origin.before
        fitted = fit_model(before, movies, experiment, machine.threads, tags=tags, device=machine.device)
        # Only warm users are asked, so the fallback is never used.
        return fitted.rank(asked.task, before.item_ids, asked.task.liked_by.astype(float), asked.warm)

    return rank
