"""The statistics of an A/B test, on one row for each user: effects as intervals, absolute and relative.

A metric is the mean of what users did, or a ratio of two such means (clicks per request) by the delta method, which is
also what makes request-level rates robust to users that repeat. CUPED with any number of covariates takes their share
of the variance out; post-stratification weighs strata by their size. No power is worked out from what was observed.
Pure. Next module: `analysis.ab_judging`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.special import chdtrc, ndtr, ndtri

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]

LEAST_USERS: Final = 2
WITHIN: Final = "within"
TOTAL: Final = "total"
THETAS: Final = (WITHIN, TOTAL)
"""Whose regression takes the covariates' share out: that within arms, or that of all users."""


class DataError(ValueError):
    """Data that no effect can be estimated from; one line with the reason."""


@dataclass(frozen=True)
class Part:
    """One arm's mean with its variance and the degrees of freedom of that variance."""

    mean: float
    variance: float
    degrees: float
    users: int


@dataclass(frozen=True)
class Effect:
    """Treatment against control. Limits are two-sided at the level they were asked for; `p` is two-sided.

    The relative effect has no limits where the control's mean is not told from 0.
    """

    control: float
    treatment: float
    users: tuple[int, int]
    absolute: float
    error: float
    degrees: float
    low: float
    high: float
    p: float
    relative: float | None
    relative_low: float | None
    relative_high: float | None
    parts: tuple[Part, Part]

    def one_sided(self, alpha: float) -> tuple[float, float]:
        """The lower and the upper limit, each with a one-sided error of `alpha`."""
        reach = quantile(self.degrees, alpha) * self.error
        return self.absolute - reach, self.absolute + reach

    def against(self, share: float, alpha: float) -> tuple[float, float]:
        """The same of treatment − `share` · control, whose error grows with the share: a margin that is relative."""
        control, treatment = self.parts
        scaled = Part(share * control.mean, share**2 * control.variance, control.degrees, control.users)
        degrees = math.inf if math.isinf(self.degrees) else welch_degrees(scaled, treatment)
        reach = quantile(degrees, alpha) * math.sqrt(scaled.variance + treatment.variance)
        return treatment.mean - scaled.mean - reach, treatment.mean - scaled.mean + reach


def of_ratio(numerators: Floats, denominators: Floats) -> Floats:
    """A user's contribution to Σx/Σy: R + (x − R·y)/ȳ, whose mean is R and whose variance that of the delta method."""
    total = float(denominators.sum())
    if total == 0:
        raise DataError("a ratio's denominators are all 0")
    ratio = float(numerators.sum()) / total
    return np.asarray(ratio + (numerators - ratio * denominators) / float(denominators.mean()))


def cuped(
    control: Floats,
    treatment: Floats,
    control_covariates: Floats,
    treatment_covariates: Floats,
    convention: str = WITHIN,
) -> tuple[Floats, Floats, float]:
    """Both arms' contributions less what covariates (users × covariates) explain, and the share R² that they explain.

    Covariates must be from before the experiment (Deng et al. 2013). θ by `convention`: `within`, the regression
    within arms, pooled, as ordinary least squares with an arm has it; `total`, that of all users as if there were no
    arms, as Deng et al. and tea-tasting have it.
    """
    arms = [(control, control_covariates), (treatment, treatment_covariates)]
    within = np.concatenate([each - each.mean(axis=0) for _, each in arms])
    centred = np.concatenate([each - each.mean() for each, _ in arms])
    middle = np.concatenate([control_covariates, treatment_covariates]).mean(axis=0)
    regressed = (within, centred)
    if convention == TOTAL:
        values = np.concatenate([control, treatment])
        covariates = np.concatenate([control_covariates, treatment_covariates])
        regressed = (covariates - middle, values - values.mean())
    theta = np.linalg.lstsq(*regressed, rcond=None)[0]
    total = float(centred @ centred)
    explained = 1 - float(((centred - within @ theta) ** 2).sum()) / total if total > 0 else 0.0
    first = control - (control_covariates - middle) @ theta
    return first, treatment - (treatment_covariates - middle) @ theta, explained


def part(values: Floats) -> Part:
    """An arm's mean."""
    users = len(values)
    if users < LEAST_USERS:
        raise DataError(f"an arm has {users} users: at least {LEAST_USERS} are needed")
    with np.errstate(over="ignore", invalid="ignore"):
        mean, variance = float(values.mean()), float(values.var(ddof=1)) / users
    if not math.isfinite(mean) or not math.isfinite(variance):
        raise DataError("the values are too large for a mean and a variance: say them in a larger unit")
    return Part(mean, variance, users - 1, users)


def stratified(values: Floats, strata: Codes, weights: Floats) -> Part:
    """An arm's mean with strata weighed by their share of all users (Miratrix, Sekhon and Yu 2013)."""
    parts = [part(values[strata == code]) for code in range(len(weights))]
    mean = sum(weight * each.mean for weight, each in zip(weights, parts, strict=True))
    variances = [float(weight) ** 2 * each.variance for weight, each in zip(weights, parts, strict=True)]
    squares = sum(each**2 / one.degrees for each, one in zip(variances, parts, strict=True))
    degrees = sum(variances) ** 2 / squares if squares > 0 else float(len(values) - len(weights))
    return Part(float(mean), sum(variances), degrees, len(values))


def compare(control: Part, treatment: Part, alpha: float, normal: bool = False) -> Effect:
    """Welch's test of two parts (`normal`: the z test), with the relative effect by the delta method."""
    difference = treatment.mean - control.mean
    error = math.sqrt(control.variance + treatment.variance)
    degrees = math.inf if normal else welch_degrees(control, treatment)
    reach = quantile(degrees, alpha / 2)
    p = two_sided(difference / error, degrees) if error > 0 else float(difference == 0)
    relative, spread = None, 0.0
    told_from_zero = abs(control.mean) > reach * math.sqrt(control.variance) and control.mean != 0
    if told_from_zero:
        relative = treatment.mean / control.mean - 1
        share = treatment.mean / control.mean**2
        spread = reach * math.sqrt(treatment.variance / control.mean**2 + share**2 * control.variance)
    return Effect(
        control=control.mean, treatment=treatment.mean, users=(control.users, treatment.users), absolute=difference,
        error=error, degrees=degrees, low=difference - reach * error, high=difference + reach * error, p=p,
        relative=relative, relative_low=None if relative is None else relative - spread,
        relative_high=None if relative is None else relative + spread, parts=(control, treatment),
    )  # fmt: skip


def welch_degrees(control: Part, treatment: Part) -> float:
    """Satterthwaite's degrees of freedom; infinite where nothing varies."""
    squares = control.variance**2 / control.degrees + treatment.variance**2 / treatment.degrees
    return (control.variance + treatment.variance) ** 2 / squares if squares > 0 else math.inf


def quantile(degrees: float, alpha: float) -> float:
    """What Student's t exceeds with probability `alpha`."""
    return -float(ndtri(alpha)) if math.isinf(degrees) else float(stats.t.isf(alpha, degrees))


def two_sided(statistic: float, degrees: float) -> float:
    """The two-sided p-value of a t (or, with infinite degrees, a z) statistic."""
    tail = float(ndtr(-abs(statistic))) if math.isinf(degrees) else float(stats.t.sf(abs(statistic), degrees))
    return min(1.0, 2 * tail)


def sample_ratio(users: Sequence[int], shares: Sequence[float]) -> float:
    """The p-value of the arms' sizes under the planned shares: χ², on users and never on requests."""
    total = sum(users)
    if total == 0 or not all(0 < share < math.inf for share in shares):
        raise DataError("every arm needs a positive share and the data some user")
    expected = [total * share / sum(shares) for share in shares]
    statistic = sum((count - each) ** 2 / each for count, each in zip(users, expected, strict=True))
    return float(chdtrc(len(users) - 1, statistic))
