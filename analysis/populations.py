"""Coverage, Gini and entropy of all lists together: values of the whole log, not means over its users.

They grow with the number of lists, so each is that of `sample` lists drawn without replacement from all of an arm's:
an item that c of N lists show is in j of them with the hypergeometric probability (Hurlbert, Ecology 52 (1971)), which
gives the expectations exactly, without drawing. The spread comes from leaving out one of 30 groups of users at a time
(grouped jackknife): resampling users instead repeats lists, and covers too rarely. Next module: `analysis.evidence`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from analysis.estimates import NO_WIDTH, ROUNDING, Estimate, Spread
from analysis.list_arrays import Lists, firsts

GROUPS: Final = 30
SAMPLE: Final = 10_000
"""Most lists of a sample: with more than twice as many in the log, it is that of 10,000 lists whatever its length."""
REACH: Final = 12.0
"""Standard deviations of a hypergeometric count that are summed over; what lies outside is below 1e-30."""
JACKKNIFE: Final = "of {sample} lists drawn from the log; spread by leaving out one of {groups} groups of users"

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Exposures:
    """Per group of users, how many lists there were, shape (groups,), and in how many each item stood, (groups, items).

    Parts of a log are added.
    """

    lists: Counts
    shown: Counts

    def __add__(self, other: Exposures) -> Exposures:
        """Both parts together."""
        return Exposures(self.lists + other.lists, self.shown + other.shown)

    def without(self, group: int) -> tuple[int, Counts]:
        """Lists and item counts of all other groups; of all, for −1."""
        if group < 0:
            return int(self.lists.sum()), self.shown.sum(axis=0)
        return int(self.lists.sum() - self.lists[group]), self.shown.sum(axis=0) - self.shown[group]


@dataclass(frozen=True)
class Population:
    """The three values for `sample` lists: `coverage` in [0, 1], `gini` in [0, 1), `entropy` in bits.

    `gini` and `entropy` are None where nothing was shown. Gini is that of how often an item drawn at random from the
    catalogue is shown, entropy that of the expected shares of the slots (exact for lists of one length).
    """

    coverage: float
    gini: float | None
    entropy: float | None


def population(shown: Counts, lists: int, sample: int) -> Population:
    """Of `sample` of `lists` lists, `shown` (items,) of which show each item. `ValueError` for an impossible sample."""
    if not 1 <= sample <= lists:
        raise ValueError(f"cannot draw {sample} lists of {lists}")
    if not len(shown):
        raise ValueError("a catalogue without items has no coverage")
    seen, times, probability = _hypergeometric(shown, lists, sample)
    items, mean = len(shown), sample * float(shown.sum()) / lists
    missing = float(probability[seen == 0].sum()) if len(seen) else 0.0
    coverage = (float((shown > 0).sum()) - missing) / items
    if mean <= 0:
        return Population(coverage, None, None)
    some = seen > 0
    information = float((probability[some] * seen[some] * np.log2(seen[some])).sum())
    # Σ (1 − F(j))² is the mean of the smaller of two independent draws; F starts with the items no list shows.
    at = np.bincount(seen, weights=probability, minlength=1) / items
    at[0] += times / items
    above = np.clip(1 - np.cumsum(at), 0.0, None)
    return Population(
        coverage=coverage,
        gini=1 - float((above**2).sum()) / (mean / items),
        entropy=float(np.log2(mean)) - information / mean,
    )


def _hypergeometric(shown: Counts, lists: int, sample: int) -> tuple[Counts, int, Floats]:
    """How often items are in the sample: (count, probability summed over items), and the items in no list at all.

    Items shown alike are worked out once.
    """
    alike, items = np.unique(shown[shown > 0], return_counts=True)
    share = alike / lists
    centre = sample * share
    width = REACH * np.sqrt(centre * (1 - share) * (lists - sample) / max(lists - 1, 1)) + REACH
    low = np.maximum(np.maximum(0, sample - (lists - alike)), np.floor(centre - width)).astype(np.int64)
    high = np.minimum(np.minimum(alike, sample), np.ceil(centre + width)).astype(np.int64)
    sizes = high - low + 1
    owner = np.repeat(np.arange(len(alike)), sizes)
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    seen = np.arange(len(owner)) - first + low[owner]
    c = alike[owner]
    logarithm = _choose(c, seen) + _choose(lists - c, sample - seen) - _choose(np.array([lists]), np.array([sample]))
    return seen, int((shown == 0).sum()), np.exp(logarithm) * items[owner]


def _choose(n: Counts, k: Counts) -> Floats:
    """log C(n, k)"""
    most = int(n.max(initial=0))
    if most > TABLED:
        return np.asarray(gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0))
    factorial = _log_factorials(1 << most.bit_length())
    return np.asarray(factorial[n] - factorial[k] - factorial[n - k])


TABLED: Final = 1 << 21
"""Up to here logarithms of factorials are looked up: a quarter of the time. The table has 16 MiB at most."""


@lru_cache(maxsize=4)
def _log_factorials(most: int) -> Floats:
    """log n! for n = 0 … most."""
    return np.asarray(gammaln(np.arange(most + 1) + 1.0))


def sample_size(exposures: Exposures) -> int:
    """Half of the lists, at most SAMPLE, and no more than are left without the largest group; 0 for fewer than two."""
    total = int(exposures.lists.sum())
    return min(total // 2, SAMPLE, total - int(exposures.lists.max(initial=0)))


def population_differences(shadow: Exposures, primary: Exposures, spread: Spread, requests: int) -> dict[str, Estimate]:
    """Each value of the shadow's lists less the primary's, on the same requests; without those that are not defined.

    `spread` tells the clusters it rests on; variance and degrees of freedom are the jackknife's.
    """
    sample = min(sample_size(shadow), sample_size(primary))
    groups = np.flatnonzero(shadow.lists > 0)
    if sample < 1 or len(groups) < 2:
        return {}
    whole = _differences(shadow, primary, -1, sample)
    left_out = [_differences(shadow, primary, int(group), sample) for group in groups]
    found = {}
    for name, value in whole.items():
        others = [each[name] for each in left_out if name in each]
        if len(others) == len(groups):
            found[name] = Estimate(value, _jackknifed(others, sample, spread), requests)
    return found


def _jackknifed(left_out: list[float], sample: int, spread: Spread) -> Spread:
    variance = (len(left_out) - 1) * float(np.var(left_out))
    notes: tuple[str, ...] = (JACKKNIFE.format(groups=len(left_out), sample=sample),)
    if variance <= ROUNDING:
        variance, notes = 0.0, (*notes, NO_WIDTH)
    return replace(spread, variance=variance, notes=notes, freedom=len(left_out) - 1.0)


def _differences(shadow: Exposures, primary: Exposures, group: int, sample: int) -> dict[str, float]:
    parts = (arm.without(group) for arm in (shadow, primary))
    first, second = (population(shown, lists, sample) for lists, shown in parts)
    pairs = ((each.name, getattr(first, each.name), getattr(second, each.name)) for each in fields(Population))
    return {name: one - other for name, one, other in pairs if one is not None and other is not None}


def exposures(users: npt.NDArray[np.uint64], chosen: npt.NDArray[np.int32], lists: Lists, items: int) -> Exposures:
    """Count per group what requests showed: `users` and `chosen`, a row of `lists`, have one entry per request.

    A user's group is the remainder of the hash, so it is the same in every part of a log. An id that stands twice in a
    list, or not in the catalogue, is not counted.
    """
    groups = (users % GROUPS).astype(np.int64)
    pairs, times = np.unique(groups * len(lists) + chosen, return_counts=True)
    group, row = np.divmod(pairs, len(lists))
    counted = firsts(lists) & (lists >= 0)
    shown = np.zeros(GROUPS * items)
    for place in range(lists.shape[1]):
        some = counted[row, place]
        at = group[some] * items + lists[row[some], place]
        shown += np.bincount(at, weights=times[some], minlength=len(shown))
    return Exposures(np.bincount(groups, minlength=GROUPS), shown.astype(np.int64).reshape(GROUPS, items))
