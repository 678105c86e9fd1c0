"""Equivalence by two one-sided tests, on means, ratios and proportions.

The effect of these designs is the margin: what is solved for is the n that a margin needs, or the smallest margin that
n reaches. Next module: `analysis.formulas_planning`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from scipy.special import ndtr

from analysis.formulas import Design, Formula, between, check, formulas, near_tail, positive
from analysis.formulas_exact import equivalence_binomial_power
from analysis.formulas_means import ARM, CHOW
from analysis.formulas_noninferiority import JULIOUS
from analysis.formulas_student import equivalence_noncentral, equivalence_power, t_power

SCHUIRMANN: Final = "Schuirmann 1987, J. Pharmacokin. Biopharm. 15, 657–680"
OWEN: Final = "Owen 1965, Biometrika 52, 437–446; PowerTOST: power.TOST"

_MEANS: Final[tuple[tuple[str, str, str, str, str], ...]] = (
    ("exact", "two one-sided t tests, exact by Owen's Q", "power = E[Φ((Δ − ε)/SE − tS) − Φ((−Δ − ε)/SE + tS)]₊",
     OWEN, SCHUIRMANN),
    ("noncentral", "two one-sided t tests, two noncentral t probabilities",
     "power = P(T((Δ + ε)/SE) > t) + P(T((Δ − ε)/SE) > t) − 1", "PowerTOST: power.TOST(method = \"nct\")", JULIOUS),
    ("normal", "two one-sided z tests", "power = Φ((Δ − ε)/SE − z₁₋α) + Φ((Δ + ε)/SE − z₁₋α) − 1", SCHUIRMANN, JULIOUS),
    ("chow", "two one-sided z tests, β/2 wherever the truth lies", "n₁ = (z₁₋α + z₁₋β/₂)² (1 + 1/r) s² / (Δ − |ε|)²",
     CHOW + ", 3.2", "TrialSize: TwoSampleMean.Equivalence"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Equivalence(Design):
    sides: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.sides == 1, "equivalence is two tests of one side each")

    def _power(self, df: float, error: float, margin: float, truth: float) -> float:
        """The power with a standard error; 0 where the truth is not inside the margins."""
        if margin <= abs(truth):
            return 0.0
        lower, upper = (-margin - truth) / error, (margin - truth) / error
        if self.convention == "exact":
            return equivalence_power(df, lower, upper, self.alpha)
        if self.convention == "noncentral":
            return equivalence_noncentral(df, lower, upper, self.alpha)
        if self.convention == "chow":
            return max(0.0, 2 * near_tail(min(-lower, upper), self.critical) - 1)
        return max(0.0, float(ndtr(upper - self.critical) + ndtr(-lower - self.critical)) - 1)


@dataclass(frozen=True, kw_only=True)
class EquivalentMean(_Equivalence):
    """Two arms' means differ by less than the margin; `truth` is the true difference."""

    convention: str = "exact"
    sd: float
    truth: float = 0.0
    ratio: float = 1.0
    cluster: float = 1.0

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas("tost-mean", ARM, "margin", *_MEANS)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(standard_deviation=self.sd, ratio=self.ratio, cluster=self.cluster)

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        return self.power_of(n, n, effect)

    def power_of(self, n: float, counted: float, effect: float) -> float:
        """The same where n carries the variance and `counted` observations the degrees of freedom."""
        df = counted / self.cluster * (1 + self.ratio) - 2
        return self._power(df, self.sd * math.sqrt((1 + 1 / self.ratio) / n), effect, self.truth)


@dataclass(frozen=True, kw_only=True)
class EquivalentOneMean(_Equivalence):
    """A mean differs from a value by less than the margin, or that of paired differences from 0."""

    convention: str = "exact"
    sd: float
    truth: float = 0.0

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas("tost-one-mean", "observations (pairs)", "margin", *_MEANS)

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(standard_deviation=self.sd)

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        return self._power(n - 1, self.sd / math.sqrt(n), effect, self.truth)


@dataclass(frozen=True, kw_only=True)
class Crossover(_Equivalence):
    """A ratio of log-normal means is between 1/e^margin and e^margin: bioequivalence, or a latency that stays.

    `cv`: coefficient of variation (within a subject; for `parallel` in all); `truth`: the true ratio; n: subjects in
    all. The margin is on the logarithm: ln 1.25 for 80 % to 125 %.
    """

    convention: str = "exact"
    cv: float
    truth: float = 0.95
    layout: Literal["2x2", "parallel", "paired"] = "2x2"
    ratio: float = 1.0

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "crossover", "subjects in all", "margin of the log-ratio", *(row for row in _MEANS if row[0] != "chow")
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(coefficient_of_variation=self.cv, true_ratio=self.truth, ratio=self.ratio)
        check(self.layout in ("2x2", "parallel", "paired"), f"unknown layout {self.layout!r}: 2x2, parallel or paired")

    def _error(self, n: float) -> tuple[float, float]:
        """The standard error of the log-ratio and its degrees of freedom."""
        spread = math.sqrt(math.log1p(self.cv**2))
        if self.layout == "parallel":
            first = n / (1 + self.ratio)
            return spread * math.sqrt((1 + 1 / self.ratio) / first), n - 2
        return spread * math.sqrt(2 / n), n - (1 if self.layout == "paired" else 2)

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        error, df = self._error(n)
        return self._power(df, error, effect, math.log(self.truth))


@dataclass(frozen=True, kw_only=True)
class NoninferiorCrossover(Crossover):
    """The same against the lower margin alone: the ratio is above e^−margin."""

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "crossover-noninferiority",
        "subjects in all",
        "margin of the log-ratio",
        ("exact", "non-inferiority of a ratio on the log scale, noncentral t",
         "power = P(T(df, (ln θ + Δ)/SE) > t₁₋α)", "PowerTOST: power.noninf", JULIOUS),
    )  # fmt: skip

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        error, df = self._error(n)
        return t_power(df, (math.log(self.truth) + effect) / error, self.alpha, 1)


@dataclass(frozen=True, kw_only=True)
class EquivalentProportion(_Equivalence):
    """Two arms' proportions differ by less than the margin; `truth`: treatment less control."""

    convention: str = "normal"
    baseline: float
    truth: float = 0.0
    ratio: float = 1.0

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "tost-proportion",
        ARM,
        "margin",
        ("normal", "two one-sided z tests of two proportions, unpooled",
         "power = Φ((Δ − ε)/SE − z₁₋α) + Φ((Δ + ε)/SE − z₁₋α) − 1", JULIOUS, SCHUIRMANN),
        ("chow", "two one-sided z tests of two proportions, unpooled, β/2 wherever the truth lies",
         "n₁ = (z₁₋α + z₁₋β/₂)² (p₁q₁ + p₂q₂/r) / (Δ − |ε|)²", CHOW + ", 4.2",
         "TrialSize: TwoSampleProportion.Equivalence"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        between(0, 1, baseline=self.baseline, treatment=self.baseline + self.truth)
        positive(ratio=self.ratio)

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        treated = self.baseline + self.truth
        spread = self.baseline * (1 - self.baseline) + treated * (1 - treated) / self.ratio
        return self._power(math.inf, math.sqrt(spread / n), effect, self.truth)


@dataclass(frozen=True, kw_only=True)
class EquivalentOneProportion(_Equivalence):
    """A proportion differs from `baseline` by less than the margin; `truth`: the true one less `baseline`."""

    convention: str = "normal"
    baseline: float
    truth: float = 0.0

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "tost-one-proportion",
        "observations",
        "margin",
        ("normal", "two one-sided z tests of one proportion",
         "power = Φ((Δ − ε)/SE − z₁₋α) + Φ((Δ + ε)/SE − z₁₋α) − 1, SE² = pq/n", JULIOUS, CHOW + ", 4.1"),
        ("chow", "two one-sided z tests of one proportion, β/2 wherever the truth lies",
         "n = (z₁₋α + z₁₋β/₂)² pq / (Δ − |ε|)²", CHOW + ", 4.1", "TrialSize: OneSampleProportion.Equivalence"),
        ("exact", "two one-sided binomial tests, enumerated", "Σ binomial probabilities of what both tests reject",
         "PASS: Equivalence tests for one proportion", "statsmodels: power_binom_tost"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        between(0, 1, baseline=self.baseline, truth=self.baseline + self.truth)

    @property
    def whole(self) -> bool:
        """Exact tests need whole numbers."""
        return self.convention == "exact"

    def reach(self) -> float:
        """The exact test needs both margins within 0 to 1."""
        return min(self.baseline, 1 - self.baseline) if self.convention == "exact" else math.inf

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        true = self.baseline + self.truth
        if self.convention == "exact":
            low, high = self.baseline - effect, self.baseline + effect
            check(low >= -1e-12 and high <= 1 + 1e-12, f"a margin of {effect:g} leaves the range of a proportion")
            return equivalence_binomial_power(max(0.0, low), min(1.0, high), true, round(n), self.alpha)
        return self._power(math.inf, math.sqrt(true * (1 - true) / n), effect, self.truth)
