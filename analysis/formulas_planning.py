"""What surrounds a test: quantile intervals, clusters, CUPED, several arms, guardrails, and how long it takes.

Next module: `analysis.power`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from scipy.special import ndtr

from analysis.formulas import Design, Formula, between, check, formulas, positive


@dataclass(frozen=True, kw_only=True)
class Quantile(Design):
    """How many observations an interval for a quantile needs. The "power" is the interval's confidence.

    The effect is the interval's half-width in rank: for a 95th percentile .05 reaches from the 90th percentile to the
    maximum, which is the least for an interval with an upper end.
    """

    convention: str = "normal"
    sides: int = 2
    quantile: float

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "quantile",
        "observations",
        "half-width of the interval in rank",
        ("normal", "interval of a quantile by the ranks q ± z√(q(1 − q)/n)", "n = z² q(1 − q) / h²",
         "GrowthBook: quantile testing", "Conover 1999, Practical Nonparametric Statistics, 3.2"),
        ("wilks", "the maximum as a one-sided upper limit, exact", "n = ln α / ln q",
         "Wilks 1941, Ann. Math. Stat. 12, 91–96", "Conover 1999, Practical Nonparametric Statistics, 3.3"),
    )  # fmt: skip
    LEAST: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        between(0, 1, quantile=self.quantile)

    def reach(self) -> float:
        """From the quantile to the nearer end."""
        return min(self.quantile, 1 - self.quantile)

    def power(self, n: float, effect: float) -> float:
        """The confidence of an interval of that half-width."""
        if self.convention == "wilks":
            return -math.expm1(n * math.log(self.quantile))
        check(0 <= effect <= 1, f"a half-width in rank lies between 0 and 1, not {effect:g}")
        z = effect * math.sqrt(n / (self.quantile * (1 - self.quantile)))
        return float(2 * ndtr(z) - 1) if self.sides == 2 else float(ndtr(z))


def design_effect(icc: float, size: float, cv: float = 0.0) -> float:
    """How many times the observations of a simple sample are needed: 1 + ((cv² + 1)·m − 1)·ρ.

    `icc` ρ: intra-cluster correlation; `size` m: mean observations in a cluster; `cv`: coefficient of variation of the
    sizes. Eldridge, Ashby and Kerry 2006, Int. J. Epidemiology 35, 1292–1300; Donner and Klar 2000, ch. 5.
    """
    check(-1 < icc <= 1, f"an intra-cluster correlation lies between −1 and 1, not {icc:g}")
    positive(cluster_size=size)
    check(0 <= cv < math.inf, f"a coefficient of variation is not negative: {cv:g}")
    effect = 1 + ((cv**2 + 1) * size - 1) * icc
    check(effect > 0, f"an intra-cluster correlation of {icc:g} is impossible with {size:g} in a cluster")
    return effect


def left_by_covariates(r_squared: float) -> float:
    """The share of the variance that CUPED leaves: 1 − R². Deng, Xu, Kohavi and Walker 2013 (WSDM); Lin 2013."""
    check(0 <= r_squared < 1, f"R² lies between 0 and 1, not {r_squared:g}")
    return 1 - r_squared


def alpha_of_a_comparison(alpha: float, arms: int, correction: str) -> float:
    """The error of each of the comparisons of `arms` − 1 treatments with the control.

    Bonferroni: α/(k − 1); Šidák: 1 − (1 − α)^(1/(k − 1)); none: α. Hsu 1996, Multiple Comparisons, ch. 1 and 3.
    """
    check(arms >= 2, f"an experiment has at least two arms, not {arms}")
    corrections = {
        "bonferroni": alpha / (arms - 1),
        "sidak": -math.expm1(math.log1p(-alpha) / (arms - 1)),
        "none": alpha,
    }
    check(correction in corrections, f"unknown correction {correction!r}: {', '.join(corrections)}")
    return corrections[correction]


def power_of_each(power: float, guardrails: int, success: bool) -> float:
    """The power that each metric needs so that all guardrails pass together with `power`: 1 − (1 − power)/G.

    With a success metric besides β is shared among G + 1. A union bound, so correlation can only help. Schultzberg,
    Ankargren and Frånberg 2024; Spotify Confidence (add_adjusted_power).
    """
    check(guardrails >= 0, f"the number of guardrails is not negative: {guardrails}")
    return 1 - (1 - power) / max(1, guardrails + (1 if success else 0))


@dataclass(frozen=True)
class Arms:
    """The users of each arm, whole numbers, and of all."""

    control: int
    treatment: int
    arms: int

    @property
    def total(self) -> int:
        """Users of the control and of all treatments."""
        return self.control + (self.arms - 1) * self.treatment


def whole_arms(n: float, ratio: float, arms: int) -> Arms:
    """Each arm rounded up; a hair above a whole number is that number."""
    return Arms(rounded_up(n), rounded_up(n * ratio), arms)


def rounded_up(value: float) -> int:
    """The next whole number, or this one where only rounding errors make it more."""
    nearest = round(value)
    return nearest if abs(value - nearest) <= 1e-9 * max(1.0, abs(value)) else math.ceil(value)


def rounded_out(value: float) -> float:
    """Four digits, never towards 0: an effect that is found at `value` is found at this one, too."""
    if value == 0 or not math.isfinite(value):
        return value
    step = 10.0 ** (math.floor(math.log10(abs(value))) - 3)
    return math.copysign(math.ceil(abs(value) / step + 1e-6) * step, value)


def weeks(total: int, per_week: float) -> int:
    """Whole weeks until `total` users have come, at least one: weekdays differ, so nothing shorter is compared."""
    positive(traffic=per_week)
    found = total / per_week
    check(found < 1e9, "this traffic never suffices")
    return max(1, rounded_up(found))
