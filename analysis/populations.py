"""Coverage, Gini and entropy of all lists together: values of the whole log, not means over its users.

They grow with the number of lists, so each is that of `sample` lists drawn without replacement from all of an arm's:
an item that c of N lists show is in j of them with the hypergeometric probability (Hurlbert, Ecology 52 (1971)), which
gives the expectations exactly, without drawing. The spread comes from leaving out one of 30 groups of users at a time
(grouped jackknife): resampling users instead repeats lists, and covers too rarely. Next module: `analysis.evidence`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from analysis.estimates import NO_WIDTH, Estimate, Spread

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
    return np.asarray(gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0))


def sample_size(exposures: Exposures) -> int:
    """Half of the lists, at most SAMPLE, and no more than are left without the largest group; 0 for fewer than two."""
    total = int(exposures.lists.sum())
    return min(total // 2, SAMPLE, total - int(exposures.lists.max(initial=0)))


def population_difference(
    shadow: Exposures, primary: Exposures, name: str, spread: Spread, requests: int
) -> Estimate | None:
    """The value `name` of the shadow's lists less the primary's, on the same requests; None where one is not defined.

    `spread` tells the clusters it rests on; variance and degrees of freedom are the jackknife's.
    """
    sample = min(sample_size(shadow), sample_size(primary))
    groups = np.flatnonzero(shadow.lists > 0)
    if sample < 1 or len(groups) < 2:
        return None
    whole = _difference(shadow, primary, name, -1, sample)
    left_out = [_difference(shadow, primary, name, int(group), sample) for group in groups]
    known = [each for each in left_out if each is not None]
    if whole is None or len(known) < len(left_out):
        return None
    variance = (len(known) - 1) * float(np.var(known))
    jackknifed = Spread(
        variance=variance,
        users=spread.users,
        blocks=spread.blocks,
        effective_users=spread.effective_users,
        effective_blocks=spread.effective_blocks,
        notes=(JACKKNIFE.format(groups=len(known), sample=sample), *((NO_WIDTH,) if variance == 0 else ())),
        freedom=len(known) - 1.0,
    )
    return Estimate(whole, jackknifed, requests)


def _difference(shadow: Exposures, primary: Exposures, name: str, group: int, sample: int) -> float | None:
    values = []
    for arm in (shadow, primary):
        lists, shown = arm.without(group)
        values.append(getattr(population(shown, lists, sample), name))
    return None if None in values else float(values[0] - values[1])
