"""The cluster bootstrap: the same spread by another road, to hold the intervals of `analysis.estimates` against.

A draw takes as many clusters as there are, with replacement, so each request has the weight of its cluster; arms of one
request stay together. It sees one kind of cluster (users, or time blocks), and costs a thousand times an influence
function: the gate does not use it. Next module: `analysis.quantiles`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from analysis.aggregates import CellSums, Floats, Labels, numbered, totals
from analysis.estimates import request_weights

Codes = npt.NDArray[np.intp]


def cluster_weights(clusters: int, draws: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """How often each cluster is in each draw; shape (draws, clusters), rows summing to `clusters`."""
    return rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=draws)


def bootstrap_mean(cells: CellSums, average: str, draws: int, rng: np.random.Generator) -> Floats:
    """The mean of `analysis.estimates.mean` in each of `draws` resamples of users; shape (draws,)."""
    users = numbered(cells.users)
    weights = request_weights(cells, users, average)
    sums, shares = totals(users, weights * cells.sums), totals(users, weights * cells.counts)
    times = cluster_weights(len(sums), draws, rng)
    return np.asarray(times @ sums / (times @ shares))


def bootstrap_quantile_difference(
    clusters: Labels, shadow: Floats, control: Floats, q: float, draws: int, rng: np.random.Generator
) -> Floats:
    """Q_q(shadow) − Q_q(control) in each of `draws` resamples of `clusters`, one entry per request; shape (draws,).

    Each arm is sorted once; a draw then only adds up weights in that order. The quantile is the smallest value whose
    share of the weight reaches q.
    """
    codes = numbered(clusters)
    arms = [(arm[order], codes[order]) for arm in (shadow, control) for order in (np.argsort(arm, kind="stable"),)]
    found = np.empty(draws)
    for draw, times in enumerate(cluster_weights(int(codes.max()) + 1, draws, rng)):
        first, second = (_weighted_quantile(values, times[of], q) for values, of in arms)
        found[draw] = first - second
    return found


def _weighted_quantile(ordered: Floats, weights: npt.NDArray[np.int64], q: float) -> float:
    reached = np.cumsum(weights)
    return float(ordered[np.searchsorted(reached, q * reached[-1])])
