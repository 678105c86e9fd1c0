"""Means, rates, ratios and log-ratios with intervals that survive repeating users and shared incidents.

The variance of an estimate is V_user + V_time − V_both (Cameron, Gelbach and Miller 2011), each a sum of squared
cluster totals of the influence function times G/(G−1). Its reference is Student's t with (Σn)²/Σn² − 1 degrees of
freedom, n being the clusters' weights, on the side (users or blocks) that has fewer. Every degenerate case has a
defined result; no number here is ever NaN. Next module: `analysis.quantiles`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.aggregates import CellSums, Floats, numbered, same_cells, totals
from analysis.formulas_student import LEAST, t_critical
from analysis.measures import MEAN_OF_USERS

ROUNDING: Final = 1e-24
"""A variance below this is rounding error of a constant, not variation (values are of order 1 to 1e5)."""

CANCELLED: Final = 1e-13
"""A sum smaller than this part of its terms' sizes is the rounding error of a zero."""

NOT_POSITIVE: Final = "two-way variance not positive: the larger one-way variance is used"
NO_VARIATION: Final = "no variation at all: limits from the rule of three over effective users"
NO_WIDTH: Final = "no variation at all: no interval can be given"
"""The same where a value has no bounds that the rule of three could go by."""


@dataclass(frozen=True)
class Spread:
    """A variance with its degrees of freedom and what it rests on; `freedom` where they do not follow from clusters."""

    variance: float
    users: int
    blocks: int
    effective_users: float
    effective_blocks: float
    notes: tuple[str, ...] = ()
    freedom: float | None = None

    @property
    def degrees_of_freedom(self) -> float:
        """Effective clusters of the smaller side, less one; 0 when there is no second cluster."""
        if self.freedom is not None:
            return self.freedom
        return max(0.0, min(self.effective_users, self.effective_blocks) - 1)


@dataclass(frozen=True)
class Estimate:
    """A point estimate on the scale it is judged on (`log` for relative differences) and what is needed to bound it.

    `span` is how far one unseen user could move a mean (0: unbounded). `at_least`: the true value is this or more,
    since latencies were cut off at the deadline.
    """

    value: float
    spread: Spread
    requests: int
    span: float = 0.0
    log: bool = False
    at_least: bool = False

    @property
    def standard_error(self) -> float:
        """The square root of the variance."""
        return float(np.sqrt(self.spread.variance))

    @property
    def bounded(self) -> bool:
        """Whether limits can be given at all: two clusters on each side, and variation or a bounded span.

        Of two clusters one of which holds nearly everything there is no more than of one: t would be beyond 1e6.
        """
        return self.spread.degrees_of_freedom >= LEAST and (self.spread.variance > 0 or self.span > 0)

    def mirrored(self) -> Estimate:
        """The same with its sign turned, so that harm is always up."""
        return replace(self, value=-self.value)

    def upper(self, alpha: float) -> float | None:
        """One-sided upper limit with error `alpha`; None where there is none.

        For bounded values it is never below the rule of three, so that one rare event does not seem to prove more than
        none: of n users of whom none showed harm, up to 1 − α^(1/n) of all may (exact binomial limit for 0 of n).
        """
        if not self.bounded or self.at_least:
            return None
        if self.spread.variance == 0:
            return self.value + self._unseen(alpha)
        return max(self.value + self._student(alpha), min(self.value, 0.0) + self._unseen(alpha))

    def lower(self, alpha: float) -> float | None:
        """One-sided lower limit with error `alpha`; None where there is none."""
        if not self.bounded:
            return None
        return self.value - (self._student(alpha) if self.spread.variance > 0 else self._unseen(alpha))

    def p_above_zero(self) -> float:
        """One-sided p-value of "the true value is not above zero"; 1 where no limit can be given."""
        if not self.bounded:
            return 1.0
        if self.spread.variance > 0:
            return float(stats.t.sf(self.value / self.standard_error, self.spread.degrees_of_freedom))
        share = min(max(self.value / self.span, 0.0), 1.0)
        return float((1 - share) ** self.spread.effective_users)

    def _student(self, alpha: float) -> float:
        return t_critical(self.spread.degrees_of_freedom, alpha) * self.standard_error

    def _unseen(self, alpha: float) -> float:
        return self.span * float(1 - alpha ** (1 / max(self.spread.effective_users, 1.0)))


def mean(cells: CellSums, average: str, span: float = 1.0) -> Estimate | None:
    """The mean of a metric with its spread; None when there is no value at all.

    `average` is MEAN_OF_USERS (each user's mean counts once) or MEAN_OF_REQUESTS (each request counts once). The
    influence of a cell is Σ w (value − mean), w being a request's weight in the estimate.
    """
    if not cells.requests:
        return None
    users = numbered(cells.users)
    weights = request_weights(cells, users, average)
    value = float((weights * cells.sums).sum())
    influence = weights * (cells.sums - cells.counts * value)
    return Estimate(value, two_way(influence, weights * cells.counts, users, cells.blocks), cells.requests, span)


def ratio(numerator: CellSums, denominator: CellSums) -> Estimate | None:
    """Σ numerator / Σ denominator over the same requests; None when the denominator's sum is zero, or nothing there.

    A ratio of sums, not the mean of ratios. The influence of a cell is (numerator − ratio × denominator) / Σ
    denominator (the delta method). `ValueError` when both were not summed over the same requests.
    """
    over = _total(numerator, denominator)
    if over == 0:
        return None
    value = float(numerator.sums.sum()) / over
    return _of_cells(value, (numerator.sums - value * denominator.sums) / over, numerator)


def log_ratio(numerator: CellSums, denominator: CellSums) -> Estimate | None:
    """log(Σ numerator / Σ denominator) over the same requests; None unless both sums are above zero.

    The influence of a cell is numerator / Σ numerator − denominator / Σ denominator. `ValueError` as for `ratio`.
    """
    under, over = _total(denominator, numerator), _total(numerator, denominator)
    if min(under, over) <= 0:
        return None
    influence = numerator.sums / under - denominator.sums / over
    return replace(_of_cells(float(np.log(under / over)), influence, numerator), log=True)


def _total(other: CellSums, summed: CellSums) -> float:
    """The sum of `summed`, rounding of a cancelled sum taken as the zero that it is."""
    if not same_cells(other, summed):
        raise ValueError("numerator and denominator were summed over different requests: they cannot be divided")
    total, size = float(summed.sums.sum()), float(np.abs(summed.sums).sum())
    return total if abs(total) > CANCELLED * size else 0.0


def _of_cells(value: float, influence: Floats, cells: CellSums) -> Estimate:
    users = numbered(cells.users)
    spread = two_way(influence, cells.counts, users, cells.blocks)
    notes = tuple(NO_WIDTH if note == NO_VARIATION else note for note in spread.notes)
    return Estimate(value, replace(spread, notes=notes), cells.requests)


def request_weights(cells: CellSums, users: npt.NDArray[np.intp], average: str) -> Floats:
    """The weight of one request of each cell in the estimate; weights × counts sum to 1."""
    if average != MEAN_OF_USERS:
        return np.full(len(cells.counts), 1 / cells.counts.sum())
    per_user = totals(users, cells.counts)
    return np.asarray(1 / (len(per_user) * per_user[users]))


def two_way(influence: Floats, weights: Floats, users: npt.NDArray[np.intp], blocks: npt.NDArray[np.int64]) -> Spread:
    """The two-way clustered variance of a sum of `influence`; one entry per distinct (user, block) cell."""
    block_codes = numbered(blocks)
    by_user, by_block = totals(users, influence), totals(block_codes, influence)
    one_way = [_corrected(by_user), _corrected(by_block)]
    variance = sum(one_way) - _corrected(influence)
    notes: tuple[str, ...] = ()
    if variance <= ROUNDING:
        variance, notes = max(one_way), (NOT_POSITIVE,)
    if variance <= ROUNDING:
        variance, notes = 0.0, (NO_VARIATION,)
    return Spread(
        variance=float(variance),
        users=len(by_user),
        blocks=len(by_block),
        effective_users=effective(totals(users, weights)),
        effective_blocks=effective(totals(block_codes, weights)),
        notes=notes,
    )


def effective(weights: Floats) -> float:
    """(Σn)²/Σn²: how many equal clusters carry as much information; 0 when there are none."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def _corrected(clusters: Floats) -> float:
    """Σ of squared cluster totals × G/(G−1); 0 for a single cluster, which can say nothing of its variance."""
    groups = len(clusters)
    return float((clusters**2).sum()) * groups / (groups - 1) if groups > 1 else 0.0
