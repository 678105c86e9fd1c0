"""The popularity family: what everybody liked, over several memories. The best of them is the baseline to beat.

Counting is over positives before `now_us`, the moment the model is made. Next module: `training.ials`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bentos.catalogue import recent_suffices
from training.interactions import POSITIVE, Interactions

DAY_US: Final = 86_400_000_000
HALF_LIFE_DAYS: Final = 30.0


def popularity(
    interactions: Interactions,
    now_us: int,
    weight: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    at_least: float = POSITIVE,
) -> NDArray[np.float64]:
    """Σ weight(age in days) over each item's positives (`at_least` stars); shape (items,). Items without any have 0."""
    liked = interactions.liked(at_least)
    age = (now_us - liked.timestamp_us) / DAY_US
    totals = np.zeros(len(interactions.item_ids))
    np.add.at(totals, liked.item, weight(age))
    return totals


def _within(days: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return lambda age: (age <= days).astype(np.float64)


ALL_TIME: Final = "popularity all-time"
"""What cold users get when nothing better is known."""
RECENT: Final = "popularity 30 days"
"""What the bundle calls recent."""
FAMILY: Final[dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    ALL_TIME: np.ones_like,
    RECENT: _within(30),
    "popularity 7 days": _within(7),
    "popularity decayed": lambda age: np.exp2(-age / HALF_LIFE_DAYS),
}
"""Weights by age in days; decayed halves every `HALF_LIFE_DAYS`."""


def family_scores(
    interactions: Interactions, now_us: int, at_least: float = POSITIVE
) -> dict[str, NDArray[np.float64]]:
    """Name → scores of all items, for every member of the family."""
    return {name: popularity(interactions, now_us, weight, at_least) for name, weight in FAMILY.items()}


def cold_scores(interactions: Interactions, now_us: int, at_least: float = POSITIVE) -> NDArray[np.float64]:
    """What cold users get, offline as in serving: the positives of the last 30 days where they are enough to go by,
    equal ones in the order of all time; else those of all time. Shape (items,).
    """
    recent, ever = (popularity(interactions, now_us, FAMILY[name], at_least) for name in (RECENT, ALL_TIME))
    return recent * (ever.max(initial=0) + 1) + ever if recent_suffices(recent) else ever
