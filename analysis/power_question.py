"""The question of a power calculation: a test, what surrounds it, and the power that all of it shall have.

Next module: `analysis.power`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from analysis.formulas import Design, Formula, QuestionError, check
from analysis.formulas_counts import SampleRatioMismatch
from analysis.formulas_equivalence import Crossover, EquivalentMean
from analysis.formulas_means import Mean, OneMean
from analysis.formulas_noninferiority import NoninferiorMean
from analysis.formulas_planning import (
    Quantile,
    alpha_of_a_comparison,
    design_effect,
    left_by_covariates,
    power_of_each,
)
from analysis.looks import LAN_DEMETS_OBRIEN_FLEMING, Looks, equal_looks, inflation, looks

SAME: Final = 1e-12
"""Factors this near to 1 change nothing."""


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What surrounds a test; every field at its default changes nothing.

    `arms`: of the experiment, the control among them, whose comparisons share α by `correction`. `icc`, `cluster_size`,
    `cluster_cv`: of observations in clusters. `r_squared`: what covariates explain (CUPED). `looks`: equally spaced
    ones, by `spending`. `guardrails`: β is shared among them, and a success metric where `success`. `traffic`: users a
    week that enter, in all arms; `most_weeks`: as many as there are.
    """

    arms: int = 2
    correction: str = "bonferroni"
    icc: float = 0.0
    cluster_size: float = 1.0
    cluster_cv: float = 0.0
    r_squared: float = 0.0
    looks: int = 1
    spending: str = LAN_DEMETS_OBRIEN_FLEMING
    guardrails: int = 0
    success: bool = False
    traffic: float | None = None
    most_weeks: int | None = None

    @property
    def factor(self) -> float:
        """How many times the observations are needed: the design effect times what covariates leave."""
        return design_effect(self.icc, self.cluster_size, self.cluster_cv) * left_by_covariates(self.r_squared)


@dataclass(frozen=True, kw_only=True)
class Adjusted(Design):
    """A test whose n observations are worth n / (factor · inflation) simple ones."""

    test: Design
    factor: float
    inflation: float

    def __post_init__(self) -> None:
        """The test has been checked."""

    @property
    def formula(self) -> Formula:
        """That of the test."""
        return self.test.formula

    @property
    def whole(self) -> bool:
        """As the test."""
        return self.test.whole

    @property
    def least(self) -> float:
        """The test's own, in observations of this kind."""
        return self.test.least * max(1.0, self.factor * self.inflation)

    @property
    def direction(self) -> int:
        """As the test."""
        return self.test.direction

    def reach(self) -> float:
        """As the test."""
        return self.test.reach()

    def power(self, n: float, effect: float) -> float:
        """See `Design.power`; covariates and clusters change the variance, not what t counts."""
        worth = n / (self.factor * self.inflation)
        if isinstance(self.test, Mean | OneMean | NoninferiorMean | EquivalentMean):
            return self.test.power_of(worth, n / self.inflation, effect)
        return self.test.power(worth, effect)


@dataclass(frozen=True, kw_only=True)
class Question:
    """A test, its surroundings, and the power that all of it shall have. `base`: what relative effects refer to."""

    test: Design
    around: Surroundings = dataclasses.field(default_factory=Surroundings)
    power: float = 0.8
    base: float | None = None

    @property
    def target(self) -> float:
        """The power that the test itself needs: its share of β; for a quantile the confidence of its interval."""
        if isinstance(self.test, Quantile):
            return 1 - self.test.alpha
        return power_of_each(self.power, self.around.guardrails, self.around.success)

    @property
    def ratio(self) -> float:
        """Treatment observations for one of the control; 0 where there are no arms."""
        if isinstance(self.test, Crossover) or not hasattr(self.test, "ratio"):
            return 0.0
        return float(self.test.ratio)

    def inflated(self, power: float) -> float:
        """The inflation of the looks at a power of the test."""
        if self.around.looks == 1:
            return 1.0
        check(1 <= self.around.looks <= 200, f"from 1 to 200 looks can be planned, not {self.around.looks}")
        try:
            return inflation(self._looks, power)
        except ValueError as error:
            raise QuestionError(str(error)) from error

    @cached_property
    def _looks(self) -> Looks:
        try:
            times = equal_looks(self.around.looks)
            return looks(times, self.design(1.0).alpha, self.around.spending, sides=self.test.sides)
        except ValueError as error:
            raise QuestionError(str(error)) from error

    def design(self, inflated: float) -> Adjusted:
        """The test as it is run: each comparison's α, clusters and covariates, `inflated` by looks."""
        around, test = self.around, self.test
        if around.arms != 2 and not isinstance(test, SampleRatioMismatch):
            check(self.ratio > 0, "several arms need a test that compares two of them")
            alpha = alpha_of_a_comparison(test.alpha, around.arms, around.correction)
            test = dataclasses.replace(test, alpha=alpha)
        if isinstance(test, Mean | OneMean | NoninferiorMean | EquivalentMean):
            test = dataclasses.replace(test, cluster=around.cluster_size)
        plain = abs(around.factor * inflated - 1) < SAME
        check(
            plain or not test.whole,
            "an exact test knows neither clusters, covariates nor looks: use a normal convention",
        )
        return Adjusted(
            convention=test.convention, alpha=test.alpha, sides=test.sides, test=test, factor=around.factor,
            inflation=inflated,
        )  # fmt: skip
