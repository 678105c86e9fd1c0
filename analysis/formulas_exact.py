"""Powers of exact tests, by enumeration of everything that can be observed.

Their size is below α, and their power saws up and down with n; hence whole numbers and the smallest n that suffices.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import bdtr, bdtrc

from analysis.formulas import MOST_WHOLE, check

Floats = npt.NDArray[np.float64]

MOST_FISHER = 2_000
"""Observations in an arm up to which Fisher's test is enumerated (its tables number n₁·n₂)."""
TIES = 1 + 1e-7
"""Tables as likely as the observed one up to this factor count as ties, as in R and scipy."""


def binomial_power(null: float, truth: float, n: int, alpha: float, sides: int) -> float:
    """The power of the binomial test of `null`, α/sides on each side; one-sided towards the truth."""
    check(n <= MOST_WHOLE, f"more than {MOST_WHOLE} observations: use a normal convention instead of an exact one")
    counts = np.arange(n + 1)
    above = bdtrc(counts - 1, n, null) <= alpha / sides
    below = bdtr(counts, n, null) <= alpha / sides
    above[0] = False
    rejected = (above | below) if sides == 2 else (above if truth >= null else below)
    return _clipped(stats.binom.pmf(counts, n, truth)[rejected].sum())


def equivalence_binomial_power(low: float, high: float, truth: float, n: int, alpha: float) -> float:
    """The power of two binomial tests at `alpha` each, of `low` from below and `high` from above."""
    check(n <= MOST_WHOLE, f"more than {MOST_WHOLE} observations: use a normal convention instead of an exact one")
    counts = np.arange(n + 1)
    above = bdtrc(counts - 1, n, low) <= alpha
    above[0] = False
    inside = above & (bdtr(counts, n, high) <= alpha)
    return _clipped(stats.binom.pmf(counts, n, truth)[inside].sum())


def mcnemar_power(discordant: float, share: float, pairs: int, alpha: float, sides: int) -> float:
    """The power of the exact McNemar test; `share` of the discordant pairs falls on the favoured side."""
    check(pairs <= MOST_WHOLE, f"more than {MOST_WHOLE} pairs: use a normal convention instead of an exact one")
    numbers = np.arange(pairs + 1)
    weights = stats.binom.pmf(numbers, pairs, discordant)
    used = numbers[(weights > 1e-16) & (numbers > 0)]
    powers = [binomial_power(0.5, share, int(number), alpha, sides) for number in used]
    return _clipped(float(weights[used] @ np.asarray(powers))) if len(used) else 0.0


def fisher_power(first: float, second: float, n: int, others: int, alpha: float, sides: int) -> float:
    """The power of Fisher's exact test; with two sides the less likely tables are rejected first."""
    check(max(n, others) <= MOST_FISHER, f"more than {MOST_FISHER} in an arm: use a normal convention instead of exact")
    ours, theirs = (stats.binom.pmf(np.arange(size + 1), size, p) for size, p in ((n, first), (others, second)))
    rise = second >= first
    total = 0.0
    for successes in range(n + others + 1):
        low, high = max(0, successes - n), min(others, successes)
        counts = np.arange(low, high + 1)
        chances = ours[successes - counts] * theirs[counts]
        if chances.sum() < 1e-18:
            continue
        total += float(chances[_fisher_rejects(counts, n, others, successes, alpha, sides, rise)].sum())
    return _clipped(total)


def _fisher_rejects(
    counts: npt.NDArray[np.int64], n: int, others: int, successes: int, alpha: float, sides: int, rise: bool
) -> npt.NDArray[np.bool_]:
    """Which numbers of successes in the second arm are rejected, given all successes."""
    null = stats.hypergeom.pmf(counts, n + others, others, successes)
    if sides == 1:
        tail = np.cumsum(null[::-1])[::-1] if rise else np.cumsum(null)
        return np.asarray(tail <= alpha)
    order = np.argsort(null)
    cumulated = np.cumsum(null[order])
    last = np.searchsorted(null[order], null * TIES, side="right") - 1
    return np.asarray(cumulated[last] <= alpha)


def _clipped(probability: float) -> float:
    return min(1.0, max(0.0, float(probability)))
