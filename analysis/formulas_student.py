"""Powers of t tests as expectations over the sample's standard deviation, without the holes of the noncentral t.

With S = √(χ²/df), independent of the estimate, P(T > c) = E[Φ(δ − cS)] for the noncentral t, and the power of two
one-sided tests is E[Φ(u − cS) − Φ(l + cS)]₊ (Owen 1965). The expectation is a Gauss–Legendre sum over log S. scipy's
noncentral t is NaN on a quarter of the points with a noncentrality of 8 to 40 (1.17); here nothing ever is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import gammainccinv, gammaincinv, ndtr, ndtri, stdtrit

Floats = npt.NDArray[np.float64]

NORMAL: Final = 1e9
"""From so many degrees of freedom on Student's t is normal to 1e-9."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(16)
LEAST: Final = 0.2
"""With fewer degrees of freedom a critical value lies beyond 1e6: the power is called 0."""
WIDTH: Final = 1.5
"""Of a panel, in standard deviations of log S."""


def t_critical(df: float, alpha: float) -> float:
    """The quantile of Student's t that is exceeded with probability `alpha`."""
    if df >= NORMAL:
        normal = -float(ndtri(alpha))
        return normal + (normal**3 + normal) / (4 * df)
    return -float(stdtrit(df, alpha))


def t_power(df: float, drift: float, alpha: float, sides: int) -> float:
    """The power of a t test whose statistic has the noncentrality `drift`; both tails count with two sides."""
    if df < LEAST:
        return 0.0
    critical = t_critical(df, alpha / sides)
    above = noncentral_above(df, drift, critical)
    return min(1.0, above + noncentral_above(df, -drift, critical)) if sides == 2 else above


def noncentral_above(df: float, drift: float, critical: float) -> float:
    """P(T > critical) for the noncentral t."""
    return expected(df, lambda spread: np.asarray(ndtr(drift - critical * spread)), [(drift, critical)])


def equivalence_power(df: float, lower: float, upper: float, alpha: float) -> float:
    """The power of two one-sided t tests; `lower` < 0 < `upper` are the distances to the margins in standard errors.

    Owen's Q as in PowerTOST's method "exact", with the truth between the margins; 0 where both tests can't succeed.
    """
    if df < LEAST:
        return 0.0
    critical = t_critical(df, alpha)

    def inside(spread: Floats) -> Floats:
        return np.asarray(np.maximum(0.0, ndtr(upper - critical * spread) - ndtr(lower + critical * spread)))

    return expected(df, inside, [(upper, critical), (-lower, critical), ((upper - lower) / 2, critical)])


def equivalence_noncentral(df: float, lower: float, upper: float, alpha: float) -> float:
    """The same by two separate noncentral t probabilities (PowerTOST's "noncentral"), never below 0."""
    if df < LEAST:
        return 0.0
    critical = t_critical(df, alpha)
    return max(0.0, noncentral_above(df, upper, critical) + noncentral_above(df, -lower, critical) - 1)


def expected(df: float, values: Callable[[Floats], Floats], turns: Iterable[tuple[float, float]] = ()) -> float:
    """E[values(S)], S = √(χ²_df/df). At each turn (a, c) the values change within 1/a around S = a/c."""
    edges = _range(df)
    extra: list[float] = []
    for height, slope in turns:
        if height > 0 and slope > 0:
            at, width = math.log(height / slope), 1 / max(height, 1.0)
            extra += [at + steps * width for steps in (-8, -4, -2, -1, 0, 1, 2, 4, 8)]
    inner = [each for each in extra if edges[0] < each < edges[-1]]
    edges = np.unique(np.concatenate([edges, inner]))
    half = np.diff(edges) / 2
    at_nodes = ((edges[:-1] + edges[1:])[:, None] / 2 + half[:, None] * NODES[None, :]).ravel()
    exponent = df * (at_nodes - np.expm1(2 * at_nodes) / 2)
    masses = (half[:, None] * WEIGHTS[None, :]).ravel() * np.exp(exponent - exponent.max())
    total = float(masses @ values(np.exp(at_nodes)) / masses.sum())
    return min(1.0, max(0.0, total))


def _range(df: float) -> Floats:
    """Panels over log S that hold all of its mass but 1e-18."""
    spread = 1 / math.sqrt(2 * df)
    if df > 1000:
        low, high = -9.5 * spread * (1 + 9.5 * spread), 9.5 * spread
    else:
        low = 0.5 * math.log(2 * float(gammaincinv(df / 2, 1e-18)) / df)
        high = 0.5 * math.log(2 * float(gammainccinv(df / 2, 1e-18)) / df)
    return np.linspace(low, high, math.ceil((high - low) / (WIDTH * spread)) + 1)
