"""Non-inferiority of means and proportions; the effect is the margin.

What is solved for is the n that a margin needs, or the smallest margin that n reaches. A gate's guardrails are planned
by these. Next module: `analysis.formulas_equivalence`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from analysis.formulas import Design, Formula, between, check, formulas, near_tail, positive
from analysis.formulas_means import ARM, CHOW, Mean
from analysis.formulas_student import t_power

JULIOUS: Final = "Julious 2004, Statistics in Medicine 23, 1921–1986"


@dataclass(frozen=True, kw_only=True)
class NoninferiorMean(Design):
    """One-sided: the treatment's mean is not worse than the control's by the margin, which is the effect here.

    `truth` is the true difference, positive is better; `sd` and the rest as in `Mean`.
    """

    convention: str = "t"
    sides: int = 1
    sd: float
    sd2: float | None = None
    truth: float = 0.0
    ratio: float = 1.0
    cluster: float = 1.0

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "noninferiority-mean",
        ARM,
        "margin",
        ("t", "non-inferiority, two-sample t test, noncentral t", "power = P(T(df, (ε + Δ)/SE) > t₁₋α)",
         JULIOUS + ", 5", "PowerTOST: power.noninf"),
        ("welch", "non-inferiority, Welch t test", "power = P(T(ν, (ε + Δ)/SE) > t₁₋α)",
         "Schultzberg, Ankargren and Frånberg 2024", "Satterthwaite 1946"),
        ("z", "non-inferiority, two-sample z test", "n₁ = (z₁₋α + z₁₋β)² (s₁² + s₂²/r) / (ε + Δ)²",
         CHOW + ", 3.2", "Spotify Confidence: required_sample_size"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.sides == 1, "non-inferiority is tested on one side")
        _ = self._test

    @property
    def _test(self) -> Mean:
        return Mean(convention=self.convention, alpha=self.alpha, sides=1, sd=self.sd, sd2=self.sd2, ratio=self.ratio,
                    cluster=self.cluster)  # fmt: skip

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        return self.power_of(n, n, effect)

    def power_of(self, n: float, counted: float, effect: float) -> float:
        """The same where n carries the variance and `counted` observations the degrees of freedom."""
        return self._test.power_of(n, counted, self.truth + effect)


@dataclass(frozen=True, kw_only=True)
class NoninferiorOneMean(Design):
    """The same for paired differences or one sample against a value."""

    convention: str = "t"
    sides: int = 1
    sd: float
    truth: float = 0.0

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "noninferiority-one-mean",
        "observations (pairs)",
        "margin",
        ("t", "non-inferiority, one-sample (paired) t test, noncentral t", "power = P(T(n − 1, (ε + Δ)√n/s) > t₁₋α)",
         JULIOUS + ", 5", "PowerTOST: power.noninf (paired)"),
        ("z", "non-inferiority, one-sample z test", "n = (z₁₋α + z₁₋β)² s² / (ε + Δ)²", CHOW + ", 3.1",
         "TrialSize: OneSampleMean.NIS"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.sides == 1, "non-inferiority is tested on one side")
        positive(standard_deviation=self.sd)

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        drift = (self.truth + effect) * math.sqrt(n) / self.sd
        if self.convention == "z":
            return near_tail(drift, self.critical)
        return t_power(n - 1, drift, self.alpha, 1)


@dataclass(frozen=True, kw_only=True)
class NoninferiorProportion(Design):
    """One-sided: the treatment's proportion is not worse than the control's by the margin.

    `truth`: true treatment less control; `harm`: whether lower (clicks) or higher (errors) is worse. A negative
    margin asks for superiority by its size.
    """

    convention: str = "unpooled"
    sides: int = 1
    baseline: float
    truth: float = 0.0
    harm: Literal["lower", "higher"] = "lower"
    ratio: float = 1.0

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "noninferiority-proportion",
        ARM,
        "margin",
        ("unpooled", "non-inferiority of two proportions, z test, unpooled variance",
         "n₁ = (z₁₋α + z₁₋β)² (p₁q₁ + p₂q₂/r) / (ε + Δ)²", CHOW + ", 4.2", "TrialSize: TwoSampleProportion.NIS"),
        ("farrington-manning", "non-inferiority of two proportions, null variance by restricted maximum likelihood",
         "n₁ = (z₁₋α σ₀ + z₁₋β σ₁)² / (ε + Δ)²", "Farrington and Manning 1990, Statistics in Medicine 9, 1447–1454",
         "gsDesign: nBinomial(delta0)"),
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.sides == 1, "non-inferiority is tested on one side")
        check(self.harm in ("lower", "higher"), f"harm is lower or higher, not {self.harm!r}")
        between(0, 1, baseline=self.baseline, treatment=self.baseline + self.truth)
        positive(ratio=self.ratio)

    def reach(self) -> float:
        """A margin as large as the scale; the restricted estimate needs one that leaves room."""
        return 1 - 1e-9

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        treated, sign = self.baseline + self.truth, (1 if self.harm == "lower" else -1)
        distance = sign * self.truth + effect
        spread = self.baseline * (1 - self.baseline) + treated * (1 - treated) / self.ratio
        null = spread
        if self.convention == "farrington-manning":
            check(abs(effect) < 1, f"a margin of {effect:g} leaves the range of a proportion")
            first, second = restricted(self.baseline, treated, self.ratio, -sign * effect)
            null = first * (1 - first) + second * (1 - second) / self.ratio
        return near_tail(distance * math.sqrt(n / spread), self.critical * math.sqrt(null / spread))


def restricted(first: float, second: float, ratio: float, shift: float) -> tuple[float, float]:
    """The two proportions nearest (maximum likelihood, `ratio` of the second for one) that differ by `shift` exactly.

    The root of the cubic of Farrington and Manning (1990), appendix, in its trigonometric form.
    """
    # In their notation: group 1 is the second proportion here, group 2 the first, s = p₁ − p₂ the shift.
    theta = 1 / ratio
    a = 1 + theta
    b = -(1 + theta + second + theta * first + shift * (theta + 2))
    c = shift**2 + shift * (2 * second + theta + 1) + second + theta * first
    d = -second * shift * (1 + shift)
    v = b**3 / (27 * a**3) - b * c / (6 * a**2) + d / (2 * a)
    u = math.copysign(math.sqrt(max(0.0, b**2 / (9 * a**2) - c / (3 * a))), v)
    angle = (math.pi + math.acos(min(1.0, max(-1.0, v / u**3)))) / 3 if u else math.pi / 3
    found = min(1.0, max(0.0, 2 * u * math.cos(angle) - b / (3 * a)))
    return min(1.0, max(0.0, found - shift)), found
