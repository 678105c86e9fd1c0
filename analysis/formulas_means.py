"""Means: two arms, pairs or one sample against a value, ratios of means, and the lift of a mean over its baseline.

Next module: `analysis.formulas_proportions`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from analysis.formulas import Design, Formula, both_tails, check, formulas, positive
from analysis.formulas_student import t_power

ARM: Final = "observations in the control arm"
PWR: Final = "R pwr: pwr.t.test, pwr.t2n.test, pwr.norm.test"
CHOW: Final = "Chow, Shao and Wang 2008, Sample Size Calculations in Clinical Research"
COHEN: Final = "Cohen 1988, Statistical Power Analysis for the Behavioral Sciences, ch. 2"
GROWTHBOOK: Final = "GrowthBook, statistics/power-technical: frequentist engine"
DENG: Final = "Deng, Knoblich and Lu 2018, Applying the Delta Method in Metric Analytics"
BUDDE: Final = "Budylin, Drutsa, Katsev and Tsoy 2018, Consistent Transformation of Ratio Metrics"


@dataclass(frozen=True, kw_only=True)
class Mean(Design):
    """The difference of two arms' means. `sd`: standard deviation of the control, `sd2` of the treatment (the same
    when absent), `ratio`: treatment observations for one of control, `cluster`: observations in a cluster, whose
    number then gives the degrees of freedom of t and Welch.
    """

    convention: str = "t"
    sd: float
    sd2: float | None = None
    ratio: float = 1.0
    cluster: float = 1.0

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "mean",
        ARM,
        "difference of means",
        ("t", "two-sample t test, equal variances, noncentral t", "power = P(|T(df, δ/SE)| > t), df = n₁ + n₂ − 2",
         PWR, COHEN),
        ("welch", "Welch t test, Satterthwaite's degrees of freedom, noncentral t",
         "power = P(|T(ν, δ/SE)| > t), SE² = s₁²/n₁ + s₂²/n₂", "tea-tasting: Mean.solve_power",
         "Satterthwaite 1946; Welch 1947"),
        ("z", "two-sample z test, known variances", "n₁ = (z₁₋α/₂ + z₁₋β)² (s₁² + s₂²/r) / δ²", PWR, CHOW + ", 3.2"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(standard_deviation=self.sd, second_standard_deviation=self.sd2, ratio=self.ratio, cluster=self.cluster)
        equal = self.sd2 is None or self.sd2 == self.sd
        check(equal or self.convention != "t", "the t test assumes equal standard deviations: use welch or z")

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`; the variance of the difference is s₁²/n + s₂²/(rn)."""
        return self.power_of(n, n, effect)

    def power_of(self, n: float, counted: float, effect: float) -> float:
        """The same where n carries the variance and `counted` observations the degrees of freedom."""
        first, second = self.sd**2 / n, (self.sd if self.sd2 is None else self.sd2) ** 2 / (self.ratio * n)
        drift = effect / math.sqrt(first + second)
        if self.convention == "z":
            return both_tails(drift, self.critical, self.sides)
        return t_power(self._degrees(counted / self.cluster, first, second), drift, self.alpha, self.sides)

    def _degrees(self, clusters: float, first: float, second: float) -> float:
        others = clusters * self.ratio
        if self.convention == "t":
            return clusters + others - 2
        if min(clusters, others) <= 1:
            return 0.0
        return (first + second) ** 2 / (first**2 / (clusters - 1) + second**2 / (others - 1))


@dataclass(frozen=True, kw_only=True)
class OneMean(Design):
    """A mean against a value, or the mean of paired differences against 0; `sd` is that of what is averaged."""

    convention: str = "t"
    sd: float
    cluster: float = 1.0

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "one-mean",
        "observations (pairs)",
        "difference from the value (mean of differences)",
        ("t", "one-sample (paired) t test, noncentral t", "power = P(|T(n − 1, δ√n/s)| > t)", PWR, COHEN),
        ("z", "one-sample z test, known variance", "n = (z₁₋α/₂ + z₁₋β)² s² / δ²", PWR, CHOW + ", 3.1"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(standard_deviation=self.sd, cluster=self.cluster)

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        return self.power_of(n, n, effect)

    def power_of(self, n: float, counted: float, effect: float) -> float:
        """The same where n carries the variance and `counted` observations the degrees of freedom."""
        drift = effect * math.sqrt(n) / self.sd
        if self.convention == "z":
            return both_tails(drift, self.critical, self.sides)
        return t_power(counted / self.cluster - 1, drift, self.alpha, self.sides)


@dataclass(frozen=True, kw_only=True)
class Ratio(Design):
    """The difference of two arms' ratios of means, such as clicks per session of users, by the delta method.

    `mean`, `sd`: of the numerator per user; `mean2`, `sd2`: of the denominator; `covariance` between the two.
    """

    convention: str = "delta"
    mean: float
    sd: float
    mean2: float
    sd2: float
    covariance: float
    ratio: float = 1.0

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "ratio",
        "users in the control arm",
        "difference of ratios",
        ("delta", "ratio of means, delta method, z test",
         "n₁ = (z₁₋α/₂ + z₁₋β)² V(1 + 1/r) / δ², V = (s_x² − 2R s_xy + R² s_y²)/μ_y²", DENG, BUDDE),
        ("delta-t", "ratio of means, delta method, t test", "as delta, with the noncentral t of n₁ + n₂ − 2",
         "tea-tasting: RatioOfMeans.solve_power", DENG),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(ratio=self.ratio, standard_deviation=self.sd)
        check(self.mean2 != 0 and math.isfinite(self.mean2), "the denominator's mean must not be 0")
        check(abs(self.covariance) <= self.sd * self.sd2 * (1 + 1e-12),
              "the covariance is more than the two standard deviations allow")  # fmt: skip
        check(self.variance > 0, "these moments leave the ratio no variance: nothing has to be tested")

    @property
    def value(self) -> float:
        """The control's ratio R."""
        return self.mean / self.mean2

    @property
    def variance(self) -> float:
        """Of one user's linearised value (x − R·y)/μ_y."""
        ratio = self.value
        return (self.sd**2 - 2 * ratio * self.covariance + (ratio * self.sd2) ** 2) / self.mean2**2

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        drift = effect / math.sqrt(self.variance * (1 + 1 / self.ratio) / n)
        if self.convention == "delta":
            return both_tails(drift, self.critical, self.sides)
        return t_power(n * (1 + self.ratio) - 2, drift, self.alpha, self.sides)


@dataclass(frozen=True, kw_only=True)
class Lift(Design):
    """A relative lift, treatment mean / control mean − 1, whose standard error grows with the lift itself."""

    convention: str = "at-alternative"
    mean: float
    sd: float
    ratio: float = 1.0

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "lift",
        ARM,
        "relative lift",
        ("at-alternative", "relative lift, delta method, standard error at the lift that is assumed",
         "SE² = (s/μ)² (1/n₂ + (1 + L)²/n₁); z test of L/SE", GROWTHBOOK, DENG),
        ("at-null", "relative lift, delta method, standard error without a lift",
         "SE² = (s/μ)² (1/n₁ + 1/n₂); z test of L/SE", CHOW + ", 3.2 on the scale of the baseline", DENG),
        ("log", "logarithm of the ratio of means, delta method", "SE² = (s/μ)² (1/n₁ + 1/n₂); z test of ln(1 + L)/SE",
         "Deng, Knoblich and Lu 2018, 3.1", "Armitage, Berry and Matthews 2002, ch. 4"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(standard_deviation=self.sd, ratio=self.ratio)
        check(self.mean > 0 and math.isfinite(self.mean), "a relative lift needs a positive mean")

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`; a lift of −1 or less is of a mean that is no longer positive."""
        check(effect > -1, "a lift of −100 % or less leaves no positive mean")
        grown = (1 + effect) ** 2 if self.convention == "at-alternative" else 1.0
        error = self.sd / self.mean * math.sqrt((1 / self.ratio + grown) / n)
        signal = math.log1p(effect) if self.convention == "log" else effect
        return both_tails(signal / error, self.critical, self.sides)
