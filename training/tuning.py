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
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from msgspec import Meta

from training.cold_start import PARTS, at_origins
from training.errors import ConfigurationError
from training.evaluate import average_precisions
from training.experiment import Experiment
from training.ials import Factors, IalsSettings, fit
from training.interactions import POSITIVE, Interactions, Movie
from training.layouts import NO_TAGS, Tags
from training.model import combined
from training.popularity import FAMILY, family_scores
from training.rolling import LEAST_ORIGINS, Asked, Pooled, origins, pooled
from training.settings import Machine
from training.task import Ranking, rank_by_popularity

MOST_TRIALS: Final = 500
Values = Annotated[list[Any], Meta(min_length=1)]


class Tried(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By setting of `[experiment.ials]` and of `[experiment.content]` the values to try."""

    ials: dict[str, Values] = {}
    content: dict[str, Values] = {}


class Space(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A search space: `experiment` as it is, and what to try instead."""

    experiment: Experiment
    try_: Tried = msgspec.field(name="try")
    origins: Annotated[int, Meta(ge=LEAST_ORIGINS, le=100)] = 5
    held_out: Annotated[int, Meta(ge=0, le=PARTS)] = 0
    """So many tenths of the items lose all their ratings, one at a time, and only they are ranked; 0: all items are."""
    relevant: Annotated[float, Meta(ge=0.5, le=5)] = POSITIVE
    """What has so many stars or more is relevant, whatever the models call a positive."""


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
    synthetic: str = ""
    """What made-up data says of itself; "" for real data."""


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
    tried = {"ials": space.try_.ials, "content": space.try_.content}
    names = [(table, name) for table, settings in tried.items() for name in settings]
    for values in itertools.product(*(tried[table][name] for table, name in names)):
        experiment = space.experiment
        for (table, name), value in zip(names, values, strict=True):
            experiment = _with(experiment, table, name, value)
        if experiment != space.experiment:
            yield {f"{table}.{name}": value for (table, name), value in zip(names, values, strict=True)}, experiment


def _with(experiment: Experiment, table: str, name: str, value: Any) -> Experiment:
    """`experiment` with one setting changed. `ConfigurationError` names one that is unknown or cannot be so."""
    before = getattr(experiment, table)
    if before is None:
        raise ConfigurationError(f"try.{table}: there is no [experiment.{table}] whose settings could be tried")
    try:
        changed = msgspec.convert(msgspec.to_builtins(before) | {name: value}, type(before))
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"try.{table}.{name} = {value}: {error}") from error
    return msgspec.structs.replace(experiment, **{table: changed})


def tune(
    before_test: Interactions,
    movies: Mapping[str, Movie],
    space: Space,
    machine: Machine,
    on_trial: Callable[[Trial], None],
    tags: Tags = NO_TAGS,
) -> Tuned:
    """Run every trial of `space` on what is before the test period."""
    many = asked_of(before_test, space)
    fits = FactorsOf(machine)
    first: Pooled | None = None
    trials: list[Trial] = []
    best, winner = -math.inf, space.experiment
    for number, (chosen, experiment) in enumerate(combinations(space)):
        found = pooled(many, ranker(experiment, movies, fits, tags))
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
    baseline, score = best_popularity(many, space.relevant)
    return Tuned(
        trials=trials,
        baseline=baseline,
        baseline_map_at_10=score,
        origins_us=sorted({asked.origin.cut_us for asked in many}),
        winner=winner,
    )


def asked_of(before_test: Interactions, space: Space) -> list[Asked]:
    """What every trial of `space` is asked: at each origin of all items, or of each held-out part of them."""
    many = origins(before_test, space.origins)
    if not space.held_out:
        return [Asked.at(origin, space.relevant) for origin in many]
    return [held.asked(origin) for origin, held in at_origins(many, space.held_out, space.relevant)]


def best_popularity(many: list[Asked], at_least: float) -> tuple[str, float]:
    """The best member of the popularity family over all origins, with its pooled MAP@10."""
    asked_with = [(asked, family_scores(asked.origin.before, asked.origin.cut_us, at_least)) for asked in many]

    def mean(name: str) -> float:
        rankings = [(asked, rank_by_popularity(asked.task, scores[name], asked.warm)) for asked, scores in asked_with]
        scored = [average_precisions(ranking, asked.task, asked.warm) for asked, ranking in rankings]
        return float(np.concatenate(scored).mean())

    means = {name: mean(name) for name in FAMILY}
    best = max(means, key=means.__getitem__)
    return best, means[best]


class FactorsOf:
    """Factors of the last settings at each origin: trials that differ in their content alone share them."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._last: dict[int, tuple[IalsSettings, Factors]] = {}

    def __call__(self, asked: Asked, settings: IalsSettings) -> Factors:
        """Fitted on what is before `asked`, or known from the trial before."""
        known = self._last.get(id(asked))
        if known is None or known[0] != settings:
            fitted = fit(asked.origin.before, settings, self.machine.threads, device=self.machine.device)
            known = self._last[id(asked)] = settings, fitted
        return known[1]


def ranker(
    experiment: Experiment, movies: Mapping[str, Movie], factors: FactorsOf, tags: Tags
) -> Callable[[Asked], Ranking]:
    """Ranks by the model of `experiment`, fitted on what is before."""

    def rank(asked: Asked) -> Ranking:
        before = asked.origin.before
        found = factors(asked, experiment.ials)
        fitted = combined(before, movies, experiment, found, tags, factors.machine.device)
        # Only warm users are asked: the fallback is for those of whom the model learned nothing, by its own threshold.
        return fitted.rank(asked.task, before.item_ids, asked.task.liked_by.astype(float), asked.warm)

    return rank
