"""Proportions: two arms, one sample against a value, and pairs, by their several conventions.

For one question (20 % to 25 %, α .05, power .8) the conventions answer 1030, 1091, 1092 and 1094 for each arm. Next
module: `analysis.formulas_counts`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from analysis.formulas import Design, Formula, between, both_tails, check, formulas, near_tail, positive
from analysis.formulas_exact import binomial_power, fisher_power, mcnemar_power
from analysis.formulas_means import ARM, CHOW

R_STATS: Final = "R stats: power.prop.test"
COHEN: Final = "Cohen 1988, ch. 6; R pwr: pwr.2p2n.test"
FLEISS: Final = "Fleiss, Levin and Paik 2003, Statistical Methods for Rates and Proportions, 4.2"


@dataclass(frozen=True, kw_only=True)
class Proportion(Design):
    """The difference of two arms' proportions; the control's is `baseline`. `down`: falls are looked for."""

    convention: str = "pooled"
    baseline: float
    ratio: float = 1.0
    down: bool = False

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "proportion",
        ARM,
        "difference of proportions",
        ("pooled", "two-proportion z test, pooled variance under the null, tail towards the effect",
         "n₁ = (z₁₋α/₂ √(p̄q̄(1 + 1/r)) + z₁₋β √(p₁q₁ + p₂q₂/r))² / δ²", R_STATS, FLEISS),
        ("pooled-strict", "two-proportion z test, pooled variance under the null, both tails",
         "as pooled, and success in the wrong direction counts", R_STATS + "(strict=TRUE)",
         "statsmodels: power_proportions_2indep"),
        ("unpooled", "two-proportion z test, unpooled variance", "n₁ = (z₁₋α/₂ + z₁₋β)² (p₁q₁ + p₂q₂/r) / δ²",
         CHOW + ", 4.2", "Spotify Confidence: required_sample_size"),
        ("arcsine", "two proportions after the arcsine transformation",
         "n₁ = (z₁₋α/₂ + z₁₋β)² (1 + 1/r) / h², h = 2 asin √p₂ − 2 asin √p₁", COHEN, "statsmodels: NormalIndPower"),
        ("baseline-null", "two-proportion z test, the baseline's variance under the null",
         "n₁ = (z₁₋α/₂ √(p₁q₁(1 + 1/r)) + z₁₋β √(p₁q₁ + p₂q₂/r))² / δ²", "Evan Miller: ab-testing/sample-size",
         "Lachin 1981, Introduction to sample size determination"),
        ("continuity", "two-proportion z test, pooled, with Fleiss's continuity correction",
         "n′ = n/4 · (1 + √(1 + 2(1 + 1/r)/(n|δ|)))², n of pooled", FLEISS,
         "Casagrande, Pike and Smith 1978"),
        ("exact", "Fisher's exact test, enumerated", "Σ binomial probabilities of the tables Fisher's test rejects",
         "G*Power: Proportions, inequality, two independent groups (Fisher's exact test)", "Bennett and Hsu 1960"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        between(0, 1, baseline=self.baseline)
        positive(ratio=self.ratio)

    @property
    def whole(self) -> bool:
        """Exact tests need whole numbers."""
        return self.convention == "exact"

    @property
    def direction(self) -> int:
        """Rises unless falls are asked for."""
        return -1 if self.down else 1

    def reach(self) -> float:
        """A proportion stays between 0 and 1."""
        return self.baseline if self.down else 1 - self.baseline

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        first, second, r = self.baseline, as_proportion(self.baseline + effect), self.ratio
        size = abs(second - first)
        if self.convention == "exact":
            return fisher_power(first, second, round(n), round(n * r), self.alpha, self.sides)
        if self.convention == "arcsine":
            height = abs(2 * math.asin(math.sqrt(second)) - 2 * math.asin(math.sqrt(first)))
            return both_tails(height * math.sqrt(n / (1 + 1 / r)), self.critical, self.sides)
        spread = first * (1 - first) + second * (1 - second) / r
        pooled = (first + r * second) / (1 + r)
        null = pooled * (1 - pooled) * (1 + 1 / r)
        if self.convention == "continuity":
            n = max(0.0, math.sqrt(n) - (1 + 1 / r) / (2 * max(size, 1e-300)) / math.sqrt(n)) ** 2
        if self.convention == "baseline-null":
            null = first * (1 - first) * (1 + 1 / r)
        if self.convention == "unpooled":
            null = spread
        return _two_variances(size, null / n if n else math.inf, spread / n if n else math.inf, self)


def _two_variances(size: float, null: float, spread: float, design: Design) -> float:
    """The power of a z test whose statistic has another variance under the null than under the alternative."""
    if not math.isfinite(spread):
        return 0.0
    cut = design.critical * math.sqrt(null)
    if spread == 0:
        return 1.0 if size > cut else 0.0
    root = math.sqrt(spread)
    far = near_tail(-size / root, cut / root) if design.sides == 2 and design.convention == "pooled-strict" else 0.0
    return min(1.0, near_tail(size / root, cut / root) + far)


def as_proportion(value: float) -> float:
    """`value` when it is a proportion, after rounding errors of its sum."""
    check(-1e-12 <= value <= 1 + 1e-12, f"a proportion of {value:g} is outside 0 to 1")
    return min(1.0, max(0.0, value))


@dataclass(frozen=True, kw_only=True)
class OneProportion(Design):
    """A proportion against the value `baseline`."""

    convention: str = "score"
    baseline: float
    down: bool = False

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "one-proportion",
        "observations",
        "difference from the value",
        ("score", "one-proportion z test, the value's variance under the null",
         "n = (z₁₋α/₂ √(p₀q₀) + z₁₋β √(pq))² / δ²", FLEISS.replace("4.2", "2.4"), CHOW + ", 4.1"),
        ("unpooled", "one-proportion z test, variance of the alternative", "n = (z₁₋α/₂ + z₁₋β)² pq / δ²",
         CHOW + ", 4.1", "TrialSize: OneSampleProportion.Equality"),
        ("arcsine", "one proportion after the arcsine transformation", "n = (z₁₋α/₂ + z₁₋β)² / h²",
         "Cohen 1988, 6.3; R pwr: pwr.p.test", "statsmodels: NormalIndPower(ratio=0)"),
        ("exact", "binomial test, α/2 on each side, enumerated", "Σ binomial probabilities of what the test rejects",
         "G*Power: Proportion, difference from constant (binomial test)", "statsmodels: binom_test_reject_interval"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        between(0, 1, baseline=self.baseline)

    @property
    def whole(self) -> bool:
        """Exact tests need whole numbers."""
        return self.convention == "exact"

    @property
    def direction(self) -> int:
        """Rises unless falls are asked for."""
        return -1 if self.down else 1

    def reach(self) -> float:
        """A proportion stays between 0 and 1."""
        return self.baseline if self.down else 1 - self.baseline

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        first, second = self.baseline, as_proportion(self.baseline + effect)
        if self.convention == "exact":
            return binomial_power(first, second, round(n), self.alpha, self.sides)
        if self.convention == "arcsine":
            height = abs(2 * math.asin(math.sqrt(second)) - 2 * math.asin(math.sqrt(first)))
            return both_tails(height * math.sqrt(n), self.critical, self.sides)
        spread = second * (1 - second) / n
        null = spread if self.convention == "unpooled" else first * (1 - first) / n
        return _two_variances(abs(second - first), null, spread, self)


@dataclass(frozen=True, kw_only=True)
class McNemar(Design):
    """Pairs of yes and no: the difference of both discordant shares, whose sum is `discordant`."""

    convention: str = "connor"
    discordant: float

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "mcnemar",
        "pairs",
        "difference of the discordant shares p₁₀ − p₀₁",
        ("connor", "McNemar's test, unconditional normal approximation",
         "n = (z₁₋α/₂ √p_d + z₁₋β √(p_d − d²))² / d²", "Connor 1987, Biometrics 43, 207–211",
         CHOW + ", 6.4; TrialSize: McNemar.Test"),
        ("conditional", "McNemar's test, given the expected number of discordant pairs",
         "n = (z₁₋α/₂ + z₁₋β)² p_d / d²", "Miettinen 1968, Biometrics 24, 339–352 (first approximation)",
         "Lachenbruch 1992, Statistics in Medicine 11, 1521–1525"),
        ("exact", "exact McNemar test, over all numbers of discordant pairs, α/2 on each side",
         "Σ_m Bin(m; n, p_d) · power of the binomial test of ½ with m", "G*Power: McNemar", "Duffy 1984"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.discordant <= 1, f"the share of discordant pairs must lie in (0, 1], not {self.discordant:g}")

    @property
    def whole(self) -> bool:
        """Exact tests need whole numbers."""
        return self.convention == "exact"

    def reach(self) -> float:
        """All discordant pairs on one side."""
        return self.discordant

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        share, size = self.discordant, abs(effect)
        check(size <= share * (1 + 1e-12), f"a difference of {effect:g} is more than the {share:g} of discordant pairs")
        if self.convention == "exact":
            return mcnemar_power(share, min(1.0, 0.5 + 0.5 * size / share), round(n), self.alpha, self.sides)
        spread = share if self.convention == "conditional" else max(0.0, share - size**2)
        return _two_variances(size, share / n, spread / n, self)
