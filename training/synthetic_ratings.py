"""How made-up users rate and when: stars and pauses in the shares of MovieLens-1M.

Next module: `training.synthetic`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

START_US: Final = 975_000_000_000_000
STARS: Final = np.array([0.056, 0.108, 0.261, 0.349, 0.226])
"""Shares of 1 to 5 stars in MovieLens-1M."""
QUALITY: Final = 0.22
"""Share of a rating's variance that is the item's, as in MovieLens-1M."""
MILDNESS: Final = 0.14
"""The user's."""
AFFINITY: Final = 0.08
"""Their affinity's, unless told otherwise; the rest is chance."""
POPULAR_IS_GOOD: Final = 0.5
"""Correlation of an item's quality with the logarithm of its popularity, over ratings."""
SESSION_SHARE: Final = 0.019
"""Of the pauses between a user's ratings: those of over half an hour, which begin a session."""
TIE_SHARE: Final = 0.54
"""Of the others: no pause at all, for a page of films is rated at once."""
SESSION_HOURS: Final = 111.0
"""Median of the pauses between sessions; the standard deviation of their logarithm is `SESSION_SIGMA`."""
SESSION_SIGMA: Final = 2.25
PAUSE_SECONDS: Final = 30.0
"""The same within a session."""
PAUSE_SIGMA: Final = 0.7


def quality(popularity: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float32]:
    """How good each item is: mean 0 and variance 1 over the ratings that items of this popularity (items,) get."""
    chance = (1 - POPULAR_IS_GOOD**2) ** 0.5 * rng.standard_normal(len(popularity))
    mixed = POPULAR_IS_GOOD * _standard(np.log(popularity), popularity) + chance
    return _standard(mixed, popularity).astype(np.float32)


def _standard(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """`values` with the weighted mean 0 and the weighted standard deviation 1 (0 when they do not differ)."""
    centred = values - np.average(values, weights=weights)
    deviation = np.average(centred**2, weights=weights) ** 0.5
    standard: NDArray[np.float64] = centred / deviation if deviation else centred
    return standard


def opinions(
    quality: NDArray[np.float32],
    mildness: NDArray[np.float32],
    fits: NDArray[np.float32],
    affinity: float,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """What users think of items, from standard normal parts of shape (interactions,), with chance added.

    `affinity` is the share of variance of `fits`, at most 1 − `QUALITY` − `MILDNESS`.
    """
    found: NDArray[np.float32] = QUALITY**0.5 * quality + MILDNESS**0.5 * mildness + affinity**0.5 * fits
    chance = max(0.0, 1 - QUALITY - MILDNESS - affinity)
    found += chance**0.5 * rng.standard_normal(len(found), dtype=np.float32)
    return found


def thresholds(opinions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where opinions are to be cut, so that these give stars in the shares of `STARS`; shape (4,)."""
    found: NDArray[np.float32] = np.quantile(opinions, np.cumsum(STARS)[:-1]).astype(np.float32)
    return found


def stars(opinions: NDArray[np.float32], thresholds: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 to 5."""
    found: NDArray[np.float32] = (1 + np.searchsorted(thresholds, opinions)).astype(np.float32)
    return found


def pauses(count: int, session_share: float, session_hours: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Seconds before interactions: ties, pauses within a session, pauses between sessions; log-normal but for ties."""
    kind, normal = rng.random(count, dtype=np.float32), rng.standard_normal(count, dtype=np.float32)
    between = np.log(3_600 * session_hours) + SESSION_SIGMA * normal
    found: NDArray[np.float64] = np.exp(
        np.where(kind < session_share, between, np.log(PAUSE_SECONDS) + PAUSE_SIGMA * normal), dtype=float
    )
    found[kind > 1 - TIE_SHARE * (1 - session_share)] = 0
    return found


def times(
    pauses: NDArray[np.float64], counts: NDArray[np.int64], days: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Microseconds, whole seconds, ascending for each user, who have `counts` of the interactions; all within `days`.

    A user arrives at any time that leaves room for all `pauses`; a history longer than `days` is shortened to them.
    """
    starts = np.cumsum(counts) - counts
    elapsed = np.cumsum(pauses)
    # From a user's first rating on: the pause before it is nobody's.
    elapsed -= np.repeat(elapsed[starts], counts)
    whole, span = days * 86_400 - 1, elapsed[starts + counts - 1]
    arrival = rng.random(len(counts)) * np.maximum(0, whole - span)
    shorter = np.minimum(1, whole / np.maximum(span, 1))
    seconds = np.repeat(arrival, counts) + elapsed * np.repeat(shorter, counts)
    found: NDArray[np.int64] = START_US + seconds.astype(np.int64) * 1_000_000
    return found
