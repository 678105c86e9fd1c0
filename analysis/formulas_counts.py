"""Counts: tables and given shares by χ², and which mismatch of a sample ratio is found.

Next module: `analysis.formulas_noninferiority`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from scipy.special import chdtri, chndtr

from analysis.formulas import Design, Formula, between, check, formulas, positive
from analysis.formulas_proportions import as_proportion

SRM_ALPHA: Final = 0.001
"""Below this a sample ratio is called mismatched (Fabijan et al. 2019; GrowthBook)."""


@dataclass(frozen=True, kw_only=True)
class ChiSquare(Design):
    """Pearson's test of a table or of given shares; the effect is Cohen's w = √(Σ (p − p₀)²/p₀)."""

    convention: str = "noncentral"
    sides: int = 1
    df: float

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "chi-square",
        "observations in all",
        "Cohen's w",
        ("noncentral", "χ² test, noncentral χ²", "power = P(χ²(df, n·w²) > χ²₁₋α)",
         "Cohen 1988, ch. 7; R pwr: pwr.chisq.test", "statsmodels: GofChisquarePower"),
    )  # fmt: skip
    LEAST: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(degrees_of_freedom=self.df)

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        return noncentral_chi_square_above(float(chdtri(self.df, self.alpha)), self.df, n * effect**2)


def noncentral_chi_square_above(critical: float, df: float, noncentrality: float) -> float:
    """P(χ²(df, noncentrality) > critical); 1 where what is missing is below 1e-23."""
    if math.sqrt(noncentrality) > math.sqrt(critical) + 10:
        # One of its normal components alone is above by ten standard deviations.
        return 1.0
    return min(1.0, max(0.0, 1 - float(chndtr(critical, df, noncentrality))))


@dataclass(frozen=True, kw_only=True)
class SampleRatioMismatch(Design):
    """Which deviation of one arm's share a check of the sample ratio finds; `share` is the planned one.

    The effect is that arm's true share less the planned one; the others keep their proportions.
    """

    convention: str = "chi-square"
    alpha: float = SRM_ALPHA
    sides: int = 1
    share: float = 0.5
    arms: int = 2
    down: bool = False

    FORMULAS: ClassVar[Mapping[str, Formula]] = formulas(
        "srm",
        "users in all arms",
        "deviation of the arm's share",
        ("chi-square", "χ² test of the arms' sizes, noncentral χ²",
         "power = P(χ²(k − 1, n·w²) > χ²₁₋α), w² = d²/(p₀(1 − p₀))",
         "Fabijan et al. 2019, Diagnosing Sample Ratio Mismatch in Online Controlled Experiments",
         "Cohen 1988, ch. 7"),
    )  # fmt: skip
    LEAST: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        between(0, 1, share=self.share)
        check(self.arms >= 2, f"a ratio needs two arms, not {self.arms}")

    @property
    def direction(self) -> int:
        """An excess unless a lack is asked for."""
        return -1 if self.down else 1

    def reach(self) -> float:
        """A share stays between 0 and 1."""
        return self.share if self.down else 1 - self.share

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`."""
        as_proportion(self.share + effect)
        df = float(self.arms - 1)
        w_squared = effect**2 / (self.share * (1 - self.share))
        return noncentral_chi_square_above(float(chdtri(df, self.alpha)), df, n * w_squared)
