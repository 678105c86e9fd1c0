"""From an experiment to vectors: the factors alone, or factors and content as one hybrid.

Next module: `training.export`, which puts them into a bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.checkpoint import Checkpoint
from training.content import item_features
from training.experiment import Experiment
from training.hybrid import parts
from training.ials import Factors, fit
from training.interactions import Interactions, Movie
from training.layouts import NO_TAGS, Tags
from training.task import Ranking, Task, rank_by_factors


@dataclass(frozen=True)
class Fitted:
    """Vectors for the items in `item_ids` (ascending) and for the rows of the data's user ids; losses per sweep."""

    item_ids: list[str]
    items: NDArray[np.float32]
    users: NDArray[np.float32]
    losses: list[float]

    def items_of(self, item_ids: list[str]) -> NDArray[np.float32]:
        """Vectors in the order of other ids; zero for those that the model does not have."""
        row = {item: number for number, item in enumerate(self.item_ids)}
        found = np.zeros((len(item_ids), self.items.shape[1]), np.float32)
        for number, item in enumerate(item_ids):
            if item in row:
                found[number] = self.items[row[item]]
        return found

    def rank(self, task: Task, item_ids: list[str], fallback: NDArray[np.float64], users: list[int]) -> Ranking:
        """The lists of `users` for a task whose rows are `item_ids`; cold users get the `fallback` scores."""
        return rank_by_factors(task, self.users, self.items_of(item_ids), fallback, users)

    def served(self, task: Task, item_ids: list[str], fallback: NDArray[np.float64], users: list[int]) -> Ranking:
        """`rank` among all items that the model has, as its bundle is served: a hybrid's were not all rated before."""
        has = set(self.item_ids)
        candidates = np.fromiter((item in has for item in item_ids), np.bool_, len(item_ids))
        return self.rank(replace(task, candidates=candidates), item_ids, fallback, users)


def fit_model(
    before: Interactions,
    movies: Mapping[str, Movie],
    experiment: Experiment,
    threads: int,
    sweep: Callable[[int, float], None] | None = None,
    checkpoint: Checkpoint | None = None,
    tags: Tags = NO_TAGS,
    device: str = "cpu",
) -> Fitted:
    """Fit `experiment` on `before`, and on the tags that are no younger than its last rating.

    Factors alone know the items that occur in `before`. A hybrid knows every item of `movies` besides, rated or not:
    the catalogue is no knowledge of the future, who rated or tagged what would be.
    """
    factors = fit(before, experiment.ials, threads, sweep, checkpoint, device)
    return combined(before, movies, experiment, factors, tags, device)


def combined(
    before: Interactions,
    movies: Mapping[str, Movie],
    experiment: Experiment,
    factors: Factors,
    tags: Tags = NO_TAGS,
    device: str = "cpu",
) -> Fitted:
    """The model of `experiment` from its `factors`, which were fitted on `before`."""
    seen = np.unique(before.item)
    if experiment.content is None:
        return Fitted([before.item_ids[row] for row in seen], factors.items[seen], factors.users, factors.losses)
    ids, wide, spread = _widened(before, factors, movies)
    known = tags.before(int(before.timestamp_us.max()) + 1)
    features = item_features(ids, movies, known, experiment.content)
    halves = parts(wide, spread, features, experiment.ials, experiment.content, device)
    hybrid = halves.weighted(experiment.content.weight)
    return Fitted(ids, hybrid.items, hybrid.users, factors.losses)


def _widened(
    before: Interactions, factors: Factors, movies: Mapping[str, Movie]
) -> tuple[list[str], Interactions, Factors]:
    """Ids of all items of `movies` and `before`, and the interactions and factors in their rows."""
    seen = np.unique(before.item)
    ids = sorted({*movies, *(before.item_ids[row] for row in seen)})
    row = {item: number for number, item in enumerate(ids)}
    moved = np.zeros(len(before.item_ids), np.int32)
    items = np.zeros((len(ids), factors.items.shape[1]), np.float32)
    moved[seen] = [row[before.item_ids[old]] for old in seen]
    items[moved[seen]] = factors.items[seen]
    wide = Interactions(before.user_ids, ids, before.user, moved[before.item], before.rating, before.timestamp_us)
    return ids, wide, Factors(factors.users, items, factors.losses)
