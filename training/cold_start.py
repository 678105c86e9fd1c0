"""Items that lose all their ratings before a cut: what a model makes of a film that nobody has rated.

The few items that are new at a cut are too few to judge by, so seeded parts of the catalogue are held out, each item in
one part; results of several parts are pooled. Scores of cold items tie often, for items can share all that is known of
them, and an order by id would be an order by age: baselines are scored as the mean over random orders of what ties.
Next module: `training.tuning`, which can choose by them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.evaluate import average_precisions
from training.interactions import POSITIVE, Interactions
from training.rolling import Asked, Origin
from training.task import Task, rank_by_popularity

PARTS: Final = 10
"""Parts of the catalogue: a tenth is held out at a time."""
SEED: Final = 1
DRAWS: Final = 20
"""Random orders over which ties are averaged."""


def parts_of(items: int, seed: int = SEED) -> NDArray[np.int64]:
    """The part, 0 to `PARTS` − 1, of each item; parts differ in size by at most one; shape (items,)."""
    part = np.empty(items, np.int64)
    part[np.random.default_rng(seed).permutation(items)] = np.arange(items) % PARTS
    return part


@dataclass(frozen=True)
class HeldOut:
    """`cold` items, shape (items,), have no rating in `before`; what is asked of them, alone or with all candidates."""

    cold: NDArray[np.bool_]
    before: Interactions
    alone: Task
    whole: Task

    @staticmethod
    def of(before: Interactions, later: Interactions, cold: NDArray[np.bool_], at_least: float = POSITIVE) -> HeldOut:
        """Predicting the positives (`at_least` stars) of `later` among `cold` items from `before` without them."""
        known = before.where(~cold[before.item])
        whole = Task.of(known, later.where(cold[later.item]), at_least=at_least)
        return HeldOut(cold, known, replace(whole, candidates=cold), replace(whole, candidates=whole.candidates | cold))

    def asked(self, origin: Origin) -> Asked:
        """The question about cold items alone, at `origin`."""
        return Asked(replace(origin, before=self.before), self.alone, sorted(self.alone.warm))


def at_origins(many: list[Origin], parts: int, at_least: float = POSITIVE) -> list[tuple[Origin, HeldOut]]:
    """Every origin with each of the first `parts` parts of the catalogue held out, where somebody can be asked."""
    part = parts_of(len(many[0].before.item_ids))
    held = [
        (origin, HeldOut.of(origin.before, origin.window, part == number, at_least))
        for number in range(parts)
        for origin in many
    ]
    return [(origin, each) for origin, each in held if each.alone.warm]


def without_ties(scores: NDArray[np.float64], draws: int = DRAWS, seed: int = SEED) -> list[NDArray[np.float64]]:
    """`draws` scores in the order of `scores`, equal ones in random order; each of shape (items,)."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        place = np.empty(len(scores))
        place[np.lexsort((rng.random(len(scores)), scores))] = np.arange(len(scores))
        found.append(place)
    return found


def unpersonalised(scores: NDArray[np.float64], task: Task, users: list[int]) -> NDArray[np.float64]:
    """AP@10 of each of `users` for a list that is the same for everybody, ties averaged; shape (users,)."""
    draws = [average_precisions(rank_by_popularity(task, each, users), task, users) for each in without_ties(scores)]
    return np.mean(draws, axis=0)  # type: ignore[no-any-return]
