"""How popular an item should be that nobody has rated: what its genres tell, for everybody alike.

The baselines of the cold-start comparison, several ways to count, for one weak baseline is a straw man. All are from
the positives of the items that were rated before the cut. Next module: `training.hybrid`, which has to beat them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.interactions import Movie

PRIOR_ITEMS: Final = 20.0
"""The mean item counts like so many items in the mean of a set of genres."""
Floats = NDArray[np.float64]


def genre_flags(item_ids: Sequence[str], movies: Mapping[str, Movie]) -> Floats:
    """1 where an item has a genre; shape (items, genres). Items that are not in `movies` have none."""
    names = sorted({genre for movie in movies.values() for genre in movie.genres})
    column = {name: number for number, name in enumerate(names)}
    flags = np.zeros((len(item_ids), len(names)))
    for row, item in enumerate(item_ids):
        if item in movies:
            flags[row, [column[genre] for genre in movies[item].genres]] = 1.0
    return flags


def genre_means(flags: Floats, counts: Floats, known: NDArray[np.bool_]) -> Floats:
    """Of each genre the mean count of the known items that have it; 0 when there is none; shape (genres,)."""
    found: Floats = flags[known].T @ counts[known] / np.maximum(flags[known].sum(0), 1)
    return found


def _sum_of_means(flags: Floats, counts: Floats, known: NDArray[np.bool_]) -> Floats:
    return flags @ genre_means(flags, counts, known)


def _mean_of_means(flags: Floats, counts: Floats, known: NDArray[np.bool_]) -> Floats:
    found: Floats = _sum_of_means(flags, counts, known) / np.maximum(flags.sum(1), 1)
    return found


def _best_of_means(flags: Floats, counts: Floats, known: NDArray[np.bool_]) -> Floats:
    found: Floats = (flags * genre_means(flags, counts, known)).max(1, initial=0.0)
    return found


def _sum_of_totals(flags: Floats, counts: Floats, known: NDArray[np.bool_]) -> Floats:
    return flags @ (flags[known].T @ counts[known])


def _mean_of_same(flags: Floats, counts: Floats, known: NDArray[np.bool_], prior: float = 0.0) -> Floats:
    """The mean count of the known items with exactly the same genres, and of `prior` items that are like the mean."""
    _, group = np.unique(flags, axis=0, return_inverse=True)
    size = np.bincount(group[known], minlength=int(group.max()) + 1)
    total = np.bincount(group[known], counts[known], minlength=len(size)) + prior * counts[known].mean()
    found: Floats = (total / np.maximum(size + prior, 1e-9))[group]
    return found


def _shrunk_mean_of_same(flags: Floats, counts: Floats, known: NDArray[np.bool_]) -> Floats:
    return _mean_of_same(flags, counts, known, PRIOR_ITEMS)


GENRE_POPULARITIES: Final[dict[str, Callable[[Floats, Floats, NDArray[np.bool_]], Floats]]] = {
    "same genres, mean": _mean_of_same,
    "same genres, shrunk mean": _shrunk_mean_of_same,
    "genres' means, summed": _sum_of_means,
    "genres' means, their mean": _mean_of_means,
    "genres' means, the largest": _best_of_means,
    "genres' totals, summed": _sum_of_totals,
}
"""By name: (flags (items, genres), counts (items,), known (items,)) → scores (items,)."""
