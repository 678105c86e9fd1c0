"""How active made-up users are and how popular made-up items: the laws of MovieLens, extended to any count.

Both are stretched exponentials, P(X > x) = exp(−(x/s)^k) with k < 1, cut off below: heavier than any exponential, and
what fits MovieLens best among the heavy-tailed (docs/synthetic.md shows the fits). Popularity is a propensity: an
item's share of the draws when nobody had rated it yet. What is counted saturates, for nobody rates an item twice.
Nothing is drawn here: counts are quantiles of the law. Next module: `training.synthetic_vectors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class StretchedExponential:
    """P(X > x) = exp(floor^k − x^k) for x ≥ `floor`, with k = `shape`; the scale is 1."""

    shape: float
    floor: float

    def quantiles(self, count: int) -> NDArray[np.float64]:
        """The quantiles (i + ½) / count, ascending; shape (count,)."""
        beyond = 1 - (np.arange(count) + 0.5) / count
        found: NDArray[np.float64] = (self.floor**self.shape - np.log(beyond)) ** (1 / self.shape)
        return found


ACTIVITY: Final = StretchedExponential(shape=0.64, floor=0.24)
"""Of the users of MovieLens-1M, who have at least 20 ratings."""
POPULARITY_1M: Final = StretchedExponential(shape=0.60, floor=0.0024)
"""Of the 3,706 films of MovieLens-1M."""
POPULARITY_LONG: Final = StretchedExponential(shape=0.32, floor=0.65)
"""Of the 9,066 films of MovieLens latest-small (2016), whose catalogue is that of the sets of 20 M ratings and more."""
LONG_CATALOGUE: Final = 5_800
"""Items from which a catalogue is nearer to that of latest-small than to that of 1M (the geometric mean of the two)."""


GENTLE: Final = StretchedExponential(shape=1.0, floor=0.3)
"""Of small tables, where a rare item would not occur: the least popular item has a quarter of the mean."""
RANK_NOISE: Final = 0.12
"""Noise on the logarithm of a length, in its standard deviations, for a Spearman correlation of about .99."""


def popularity_law(items: int) -> StretchedExponential:
    """The law of the real catalogue that is nearest in size."""
    return POPULARITY_LONG if items >= LONG_CATALOGUE else POPULARITY_1M


def check_counts(users: int, items: int, interactions: int) -> None:
    """`ValueError` when `interactions` are fewer than one per user, or more than half the items per user."""
    most = max(1, items // 2)
    if not users <= interactions <= users * most:
        raise ValueError(
            f"{interactions:,} interactions of {users:,} users: at least 1 and at most {most:,} each (half the "
            f"{items:,} items), so between {users:,} and {users * most:,}"
        )


def activity_counts(law: StretchedExponential | None, users: int, items: int, interactions: int) -> NDArray[np.int64]:
    """How many interactions each of `users` has, ascending, at least 1 and at most half the items; shape (users,).

    They add up to `interactions`, for which `check_counts` holds. Without a law all have the same, but for 1.
    """
    most = max(1, items // 2)
    weights = law.quantiles(users) if law else np.ones(users)
    room, capped = most - 1, 0
    while True:
        # Who would have too many has the most allowed, and the others share the rest.
        free = weights[: users - capped]
        shares = free * ((interactions - users - room * capped) / free.sum())
        over = int((shares > room * (1 + 1e-9)).sum())
        if not over:
            break
        capped += over
    shares = np.concatenate([shares, np.full(capped, float(room))])
    # Rounding up at a half, and a little before it, so that a whole share stays whole in spite of what sums lose.
    counts: NDArray[np.int64] = 1 + np.diff(np.floor(np.cumsum(shares) + 0.500001), prepend=0).astype(np.int64)
    return counts


def like_lengths(vectors: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """Ranks of the rows by their lengths, nearly: 0 for the shortest; shape (rows,).

    In MovieLens-1M the length of a vector of iALS and the number of positives rank alike (Spearman .99), so the most
    popular item and the most active user are given the longest vectors; the noise leaves as much between them.
    """
    lengths = np.log(np.linalg.norm(vectors, axis=1))
    noisy = lengths + RANK_NOISE * lengths.std() * rng.standard_normal(len(lengths))
    ranks = np.empty(len(lengths), np.int64)
    ranks[np.argsort(noisy, kind="stable")] = np.arange(len(lengths))
    return ranks
