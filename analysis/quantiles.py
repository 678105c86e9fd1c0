"""The difference of two 95th percentiles on the same requests, with a two-way clustered interval.

The influence of a request on a quantile is (q − 1{x ≤ Q}) / f(Q) / n; on a difference it is the difference of both
arms' influences, so what the arms share cancels. 1/f(Q) is the slope of the sample quantile function over a
Hall–Sheather bandwidth (1988). Latencies are cut off at a deadline: a percentile that reaches it is only known to be
"≥". Next module: `analysis.noise`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy import stats

from analysis.aggregates import CellSums, Clusters, Floats, Integers, Labels, numbered
from analysis.estimates import Estimate, two_way

NO_SLOPE = "the percentile sits on a single repeated value: no interval can be given"
CENSORED = "the shadow's percentile reaches the deadline: the true difference is this or more"


def quantile_difference(
    users: Labels,
    blocks: Integers,
    shadow: Floats,
    control: Floats,
    *,
    q: float = 0.95,
    deadline: float,
    log: bool = False,
) -> Estimate | None:
    """`difference_of_quantiles` of requests by their `users` and `blocks`, one entry per request in each array."""
    sums = Clusters.of(users, blocks).all_sums
    return difference_of_quantiles(sums, shadow, control, q=q, deadline=deadline, log=log)


def difference_of_quantiles(
    sums: Callable[[Floats], CellSums],
    shadow: Floats,
    control: Floats,
    *,
    q: float,
    deadline: float,
    log: bool = False,
) -> Estimate | None:
    """Q_q(shadow) − Q_q(control), or the log of their ratio; one entry per request, both arms cut at `deadline`.

    `sums` adds values, one per request, by user and block.

    None when there is no request, or when the control's own percentile reaches the deadline (then it is unknown), or
    for the log when a percentile is 0. `at_least` is set when only the shadow's reaches it.
    """
    if not len(shadow):
        return None
    first, second = (float(np.quantile(arm, q)) for arm in (shadow, control))
    if second >= deadline or (log and min(first, second) <= 0):
        return None
    influence = quantile_influence(shadow, q, deadline, log) - quantile_influence(control, q, deadline, log)
    value = float(np.log(first / second)) if log else first - second
    spread = two_way(*_cells(sums(influence)))
    notes = tuple(NO_SLOPE if spread.variance == 0 else note for note in spread.notes)
    censored = first >= deadline
    notes += (CENSORED,) if censored else ()
    return Estimate(value, replace(spread, notes=notes), len(shadow), span=0.0, log=log, at_least=censored)


def _cells(cells: CellSums) -> tuple[Floats, Floats, npt.NDArray[np.intp], Integers]:
    return cells.sums, cells.counts, numbered(cells.users), cells.blocks


def quantile_influence(values: Floats, q: float, deadline: float, log: bool = False) -> Floats:
    """Each request's influence on the quantile of `values` (or on its logarithm), summing to about 0."""
    at = float(np.quantile(values, q))
    below = (values < deadline) if at >= deadline else (values <= at)
    # Centring removes the rounding of n·q to a whole number of requests.
    score = below.mean() - below
    slope = _slope(values, q, at >= deadline) / (at if log else 1.0)
    return np.asarray(score * slope / len(values))


def _slope(values: Floats, q: float, censored: bool) -> float:
    """dQ/dq at `q`, from both sides; from below only where the values above are cut off."""
    width = bandwidth(q, len(values))
    low, high = np.quantile(values, [q - width, q if censored else q + width])
    return float(high - low) / (width if censored else 2 * width)


def bandwidth(q: float, n: int) -> float:
    """Hall and Sheather's half-width for the slope at `q` from `n` values, kept inside (0, 1)."""
    normal = float(stats.norm.ppf(q))
    shape = 1.5 * float(stats.norm.pdf(normal)) ** 2 / (2 * normal**2 + 1)
    width = n ** (-1 / 3) * float(stats.norm.ppf(0.975)) ** (2 / 3) * shape ** (1 / 3)
    return float(min(width, 0.5 * min(q, 1 - q)))
