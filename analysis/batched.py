"""Many seeded logs at once: draws and estimates as arrays over runs, equal to `analysis.estimates` run by run.

Users come back with heavy tails, differ in their effect, and share the shocks of their time block: what makes a test
on requests err four times as often as it says. A test holds every estimator here to the one that judges real logs.
Next module: `analysis.batched_verdicts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import sparse

from analysis.aggregates import Floats
from analysis.estimates import effective
from analysis.quantiles import bandwidth

Codes = npt.NDArray[np.intp]

USER_SPREAD, BLOCK_SPREAD, REQUEST_SPREAD = 0.08, 0.02, 0.10
"""Standard deviations of a user's effect, of a block's shock, and of one request, whose law is Student's t with 4
degrees of freedom (its standard deviation is √2 times that)."""
HEAVY = 4


@dataclass(frozen=True)
class Design:
    """Who asks when: one entry per request, sorted by (user, block). `cells`: the number of its (user, block)."""

    users: Codes
    blocks: Codes
    cells: Codes

    @cached_property
    def cell_clusters(self) -> tuple[Codes, Codes]:
        """The user and the block of each cell."""
        first = np.unique(self.cells, return_index=True)[1]
        return self.users[first], self.blocks[first]

    def until(self, block: int) -> Design:
        """The part of the log before `block`, with its users, blocks and cells numbered anew."""
        rows = self.blocks < block
        parts = (np.unique(each[rows], return_inverse=True)[1] for each in (self.users, self.blocks, self.cells))
        return Design(*parts)


@dataclass(frozen=True)
class Batch:
    """Estimates with their standard errors, shape (runs,), and the degrees of freedom that they share.

    `naive_errors` is what a test on requests would take for the standard error. `span` is how far one unseen user of
    the effective ones could move the value; 0 where it is not bounded. `rate`: a rate, with the limit of one.
    """

    values: Floats
    errors: Floats
    freedom: float
    naive_errors: Floats
    effective_users: float
    span: float = 0.0
    rate: bool = False


def design(rng: np.random.Generator, users: int, blocks: int, most: int = 30, growth: float = 1.0) -> Design:
    """`users` users with 1 to `most` requests (Pareto, exponent 2), each within three blocks after a first one.

    By a part t of all blocks t^`growth` of the users have come.
    """
    counts = 1 + np.minimum(rng.pareto(2.0, users) * 3, most - 1).astype(np.intp)
    owners = np.repeat(np.arange(users), counts)
    first = rng.integers(0, blocks, users)
    if growth != 1:
        first = (blocks * rng.random(users) ** (1 / growth)).astype(np.int64)
    when = (first[owners] + rng.integers(0, 3, len(owners))) % blocks
    order = np.lexsort((when, owners))
    owners, when = owners[order], when[order]
    return Design(owners, when, np.unique(owners * blocks + when, return_inverse=True)[1])


def draws(rng: np.random.Generator, who: Design, runs: int) -> Floats:
    """Values without any effect, shape (requests, runs)."""
    by_user = rng.standard_t(HEAVY, (int(who.users.max()) + 1, runs)) * USER_SPREAD / np.sqrt(2)
    by_block = rng.normal(0, BLOCK_SPREAD, (int(who.blocks.max()) + 1, runs))
    noise = rng.standard_t(HEAVY, (len(who.users), runs)) * REQUEST_SPREAD
    return np.asarray(by_user[who.users] + by_block[who.blocks] + noise)


def means(who: Design, values: Floats, by_user: bool) -> Batch:
    """The mean over users or over requests, as `analysis.estimates.mean`; `values` (requests, runs)."""
    requests = len(who.users)
    weights = np.full(requests, 1 / requests)
    if by_user:
        counts = np.bincount(who.users)
        weights = 1 / (len(counts) * counts[who.users])
    found = weights @ values
    influence = weights[:, None] * (values - found)
    return _batch(who, found, influence, weights, values.std(axis=0, ddof=1) / np.sqrt(requests))


def log_ratios(who: Design, upper: Floats, lower: Floats) -> Batch:
    """The logarithm of a ratio of sums, as `analysis.estimates.log_ratio`."""
    over, under = upper.sum(axis=0), lower.sum(axis=0)
    influence = upper / over - lower / under
    weights = np.full(len(who.users), 1.0)
    naive = influence.std(axis=0, ddof=1) * np.sqrt(len(who.users))
    return _batch(who, np.log(over / under), influence, weights, naive)


def quantile_differences(who: Design, shadow: Floats, control: Floats, q: float = 0.95) -> Batch:
    """The difference of two quantiles, as `analysis.quantiles.quantile_difference` far from the deadline."""
    requests, width = len(who.users), bandwidth(q, len(who.users))
    influence, found = np.zeros_like(shadow), np.zeros(shadow.shape[1])
    for arm, sign in ((shadow, 1.0), (control, -1.0)):
        low, at, high = np.quantile(arm, [q - width, q, q + width], axis=0)
        below = arm <= at
        influence += sign * (below.mean(axis=0) - below) * (high - low) / (2 * width) / requests
        found += sign * at
    naive = influence.std(axis=0, ddof=1) * np.sqrt(requests)
    return _batch(who, found, influence, np.full(requests, 1.0), naive)


def _batch(who: Design, found: Floats, influence: Floats, weights: Floats, naive: Floats) -> Batch:
    by_cell = _sums(who.cells, influence)
    one_way = [_corrected(_sums(codes, by_cell)) for codes in who.cell_clusters]
    both = one_way[0] + one_way[1] - _corrected(by_cell)
    variance = np.where(both > 0, both, np.maximum(*one_way))
    clusters = [
        effective(np.asarray(np.bincount(codes, weights=weights), dtype=np.float64))
        for codes in (who.users, who.blocks)
    ]
    return Batch(found, np.sqrt(np.maximum(variance, 0.0)), min(clusters) - 1, naive, clusters[0])


def _sums(codes: Codes, values: Floats) -> Floats:
    """Sums of the rows of `values` with the same code, shape (codes, runs)."""
    rows = len(codes)
    groups = sparse.csr_matrix((np.ones(rows), (codes, np.arange(rows))), shape=(int(codes.max()) + 1, rows))
    return np.asarray(groups @ values)


def _corrected(totals: Floats) -> Floats:
    groups = len(totals)
    return np.asarray((totals**2).sum(axis=0) * groups / (groups - 1))
