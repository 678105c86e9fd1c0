"""What a signed plan needs to know: how many users, what they find, how many weeks, and why not fewer.

Success metrics share α (Holm at the end, Bonferroni for the size); every guardrail must pass, so none of them shares
it; β is shared among all. Pure. Next module: `analysis.planning_text`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from analysis.formulas import Design, QuestionError, check
from analysis.formulas_counts import SampleRatioMismatch
from analysis.formulas_means import Mean
from analysis.formulas_noninferiority import NoninferiorMean, NoninferiorOneMean, NoninferiorProportion
from analysis.formulas_planning import rounded_out, weeks
from analysis.formulas_proportions import Proportion
from analysis.looks import LAN_DEMETS_OBRIEN_FLEMING, Looks, equal_looks, looks
from analysis.measures import GUARDRAILS
from analysis.power import Answer, for_effect, for_n, n_of_weeks, whole_n_of_weeks
from analysis.power_question import Question, Surroundings

AB: Final = "ab"
SHADOW: Final = "shadow"
SUCCESS: Final = "success"
GUARDRAIL: Final = "guardrail"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric of a plan. `size`: the effect to be found (success) or the margin (guardrail), in its own unit.

    A proportion has a `baseline`, a mean an `sd` (in a shadow plan: of the users' paired differences).
    """

    name: str
    role: Literal["success", "guardrail"]
    size: float
    baseline: float | None = None
    sd: float | None = None
    harm: Literal["lower", "higher"] = "lower"
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for. `alpha`: of all success metrics together, two-sided; `guardrail_alpha`: of each, one-sided."""

    template: Literal["ab", "shadow"]
    metrics: tuple[Metric, ...]
    traffic: float
    alpha: float = 0.05
    guardrail_alpha: float = 0.05
    power: float = 0.8
    arms: int = 2
    looks: int = 1
    spending: str = LAN_DEMETS_OBRIEN_FLEMING
    r_squared: float = 0.0
    least_weeks: int = 2
    most_weeks: int | None = None

    def __post_init__(self) -> None:
        names = [metric.name for metric in self.metrics]
        usual = f"; a shadow's usual guardrails are {', '.join(GUARDRAILS)}" if self.template == SHADOW else ""
        check(bool(names), f"a plan needs at least one metric{usual}")
        check(len(set(names)) == len(names), "a metric stands twice")
        check(
            self.template == AB or not self.of(SUCCESS), "no user sees a shadow's list: only guardrails can be judged"
        )
        check(self.template == SHADOW or bool(self.of(SUCCESS)), "an A/B test needs a success metric")
        check(self.template == AB or self.looks == 1, "looks at a shadow are the gate's own: plan without them")
        for number in (self.least_weeks, self.most_weeks):
            check(number is None or number >= 1, f"at least one week is planned, not {number}")
        for metric in self.of(GUARDRAIL):
            check(bool(metric.reason.strip()), f"guardrail {metric.name} needs a reason for its margin")

    def of(self, role: str) -> list[Metric]:
        """The metrics of a role."""
        return [metric for metric in self.metrics if metric.role == role]

    def question(self, metric: Metric) -> Question:
        """How the metric will be tested; the guardrails only at the end, without looks."""
        paired = self.template == SHADOW
        around = Surroundings(
            arms=2 if paired else self.arms, r_squared=self.r_squared, guardrails=len(self.of(GUARDRAIL)),
            success=bool(self.of(SUCCESS)), traffic=self.traffic, correction="none",
        )  # fmt: skip
        if metric.role == SUCCESS:
            around = dataclasses.replace(around, looks=self.looks, spending=self.spending, correction="bonferroni")
        return Question(test=self._test(metric), around=around, power=self.power, base=metric.baseline)

    def _test(self, metric: Metric) -> Design:
        shared = self.alpha / max(1, len(self.of(SUCCESS)))
        if self.template == SHADOW:
            check(metric.sd is not None, f"{metric.name} needs sd=, of the users' paired differences")
            return NoninferiorOneMean(sd=metric.sd or 0, alpha=self.guardrail_alpha)
        check((metric.sd is None) != (metric.baseline is None) or metric.sd is not None,
              f"{metric.name} needs baseline= (a proportion) or sd= (a mean)")  # fmt: skip
        if metric.role == SUCCESS and metric.sd is None:
            return Proportion(baseline=metric.baseline or 0, alpha=shared, down=metric.size < 0)
        if metric.role == SUCCESS:
            return Mean(sd=metric.sd or 0, alpha=shared)
        if metric.sd is None:
            return NoninferiorProportion(baseline=metric.baseline or 0, harm=metric.harm, alpha=self.guardrail_alpha)
        return NoninferiorMean(sd=metric.sd, alpha=self.guardrail_alpha)


@dataclass(frozen=True)
class Sized:
    """The answer to a request: each metric's own need, the weeks of all, and what those weeks find."""

    request: Request
    needs: dict[str, Answer]

    @property
    def binding(self) -> str:
        """The metric that needs most."""
        return max(self.needs, key=lambda name: self.needs[name].arms.total)

    @property
    def needed(self) -> int:
        """Users in all arms (of a shadow: users) that the binding metric needs."""
        return self.needs[self.binding].arms.total

    @property
    def weeks(self) -> int:
        """Whole weeks, at least as many as are asked for."""
        return max(self.request.least_weeks, weeks(self.needed, self.request.traffic))

    @cached_property
    def found(self) -> dict[str, float]:
        """The smallest effect (or margin) that each metric can be told by, after all weeks."""
        return {metric.name: self.after(metric, self.weeks) for metric in self.request.metrics}

    def after(self, metric: Metric, number: float) -> float:
        """The smallest detectable effect of a metric after some weeks."""
        question = self.request.question(metric)
        return for_effect(question, n_of_weeks(question, number)).effect

    @property
    def users(self) -> int:
        """Users in all after all weeks."""
        return int(self.weeks * self.request.traffic)

    @property
    def mismatch(self) -> float:
        """The deviation of an arm's share that the check of the sample ratio finds with power .8."""
        test = SampleRatioMismatch(share=1 / self.request.arms, arms=self.request.arms)
        return for_effect(Question(test=test), self.users).effect

    @property
    def bounds(self) -> Looks | None:
        """The bounds of a success metric's looks; None where there is one look."""
        if self.request.looks == 1:
            return None
        alpha = self.request.question(self.request.of(SUCCESS)[0]).design(1.0).alpha
        return looks(equal_looks(self.request.looks), alpha, self.request.spending, sides=2)


def sized(request: Request) -> Sized:
    """Size a plan; `QuestionError` where the weeks that there are do not suffice, with what would."""
    found = Sized(request, {metric.name: for_n(request.question(metric), metric.size) for metric in request.metrics})
    most = request.most_weeks
    if most is not None and found.weeks > most:
        raise QuestionError(_what_would(found, most))
    return found


def _what_would(found: Sized, most: int) -> str:
    """One line: what is missing, and three things that each would do."""
    name, request = found.binding, found.request
    start = f"{name} needs {found.weeks} weeks at {request.traffic:g} users a week, and there are {most}"
    if weeks(found.needed, request.traffic) <= most:
        return f"{found.weeks} weeks are the least that was asked for, and there are {most}"
    short = [metric for metric in request.metrics
             if weeks(found.needs[metric.name].arms.total, request.traffic) > most]  # fmt: skip
    try:
        instead = " and ".join(_larger(found, metric, most) for metric in short) + ", "
    except QuestionError:
        instead = ""
    return (
        f"{start}; what would do: {instead}or {math.ceil(found.needed / most):,} users a week, or {found.weeks} weeks"
    )


def _larger(found: Sized, metric: Metric, most: int) -> str:
    """What the weeks that there are find, at four digits and never rounded down: it shall do when it is asked for."""
    question = found.request.question(metric)
    size = rounded_out(for_effect(question, whole_n_of_weeks(question, most)).effect)
    kind = "a margin" if metric.role == GUARDRAIL else "an effect"
    return f"{metric.name}: {kind} of {size:.4g} instead of {metric.size:.4g}"
