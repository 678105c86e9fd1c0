"""The calculator: sample size, smallest detectable effect, power or duration of an experiment.

    python -m analysis.power proportion --baseline 0.20 --absolute 0.05
    python -m analysis.power mean --sd 12 --n 5000 --r-squared 0.3 --looks 5

A `Question` is a test with what surrounds it: arms, clusters, covariates, looks, guardrails, traffic. Variance factors
multiply the observations, looks inflate them, guardrails share β, and comparisons share α; the test itself stays the
published formula. Pure but for the last line. Next modules: `analysis.power_curves`, `analysis.power_report`,
`analysis.power_cli`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from scipy.optimize import brentq

from analysis.formulas import MOST, Design, Formula, QuestionError, check, detectable_effect, sample_size
from analysis.formulas_counts import ChiSquare, SampleRatioMismatch
from analysis.formulas_equivalence import (
    Crossover,
    EquivalentMean,
    EquivalentOneMean,
    EquivalentOneProportion,
    EquivalentProportion,
    NoninferiorCrossover,
)
from analysis.formulas_means import Lift, Mean, OneMean, Ratio
from analysis.formulas_noninferiority import NoninferiorMean, NoninferiorOneMean, NoninferiorProportion
from analysis.formulas_planning import (
    Arms,
    Quantile,
    rounded_out,
    rounded_up,
    weeks,
    whole_arms,
)
from analysis.formulas_proportions import McNemar, OneProportion, Proportion
from analysis.power_question import Question

DESIGNS: Final[Mapping[str, type[Design]]] = {
    "proportion": Proportion,
    "mean": Mean,
    "ratio": Ratio,
    "lift": Lift,
    "one-mean": OneMean,
    "one-proportion": OneProportion,
    "mcnemar": McNemar,
    "chi-square": ChiSquare,
    "noninferiority-mean": NoninferiorMean,
    "noninferiority-one-mean": NoninferiorOneMean,
    "noninferiority-proportion": NoninferiorProportion,
    "tost-mean": EquivalentMean,
    "tost-one-mean": EquivalentOneMean,
    "tost-proportion": EquivalentProportion,
    "tost-one-proportion": EquivalentOneProportion,
    "crossover": Crossover,
    "crossover-noninferiority": NoninferiorCrossover,
    "quantile": Quantile,
    "srm": SampleRatioMismatch,
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was solved for and everything with it. `n` is exact, `arms` are whole users; `weeks` only with traffic."""

    question: Question
    solved: str
    n: float
    effect: float
    power: float
    inflation: float
    arms: Arms
    weeks: int | None

    @property
    def formula(self) -> Formula:
        """The formula of the test."""
        return self.question.test.formula


def for_n(question: Question, effect: float) -> Answer:
    """The sample size for an effect; with `most_weeks` it must be reached in them."""
    target = question.target
    inflated = question.inflated(target)
    n = sample_size(question.design(inflated), effect, target)
    answer = _answer(question, "n", n, effect, target, inflated)
    most = question.around.most_weeks
    if answer.weeks is not None and most is not None and answer.weeks > most:
        raise QuestionError(f"this needs {answer.weeks} weeks, and there are {most}; {_instead(question, most)}")
    return answer


def for_effect(question: Question, n: float) -> Answer:
    """The smallest detectable effect (for margins: the smallest margin) at `n`."""
    target = question.target
    inflated = question.inflated(target)
    effect = detectable_effect(question.design(inflated), n, target)
    return _answer(question, "effect", n, effect, target, inflated)


def for_power(question: Question, n: float, effect: float) -> Answer:
    """The power of the test at `n` for an effect; with looks that of all of them."""
    check(n >= question.design(1.0).least, f"n must be at least {question.design(1.0).least:g}, not {n:g}")
    check(n <= MOST, f"n must be at most {MOST:g}, not {n:g}")
    power = power_at(question, n, effect)
    return _answer(question, "power", n, effect, power, _inflation_at(question, power))


def power_at(question: Question, n: float, effect: float) -> float:
    """The power at `n`; with looks the one whose own inflation leads to this n."""
    if question.around.looks == 1:
        return question.design(1.0).power(n, effect)
    low, high = question.design(1.0).alpha / question.test.sides * 1.01, 1 - 1e-9

    def excess(power: float) -> float:
        return question.design(question.inflated(power)).power(n, effect) - power

    if excess(low) <= 0:
        return question.design(1.0).power(n, effect)
    return high if excess(high) >= 0 else float(brentq(excess, low, high, xtol=1e-12))


def _inflation_at(question: Question, power: float) -> float:
    return question.inflated(min(max(power, question.target / 2), 1 - 1e-9))


def n_of_weeks(question: Question, number: float) -> float:
    """The control's users (or all, where there are no arms) after so many weeks of the traffic."""
    traffic = question.around.traffic
    check(traffic is not None, "weeks need a traffic")
    return number * float(traffic or 0) / _per_control(question)


def whole_n_of_weeks(question: Question, number: int) -> float:
    """The same in whole users whose arms together are no more than come: what is asked for with it takes no longer."""
    n = math.floor(n_of_weeks(question, number))
    come = number * float(question.around.traffic or 0)
    return float(n if _arms(question, n).total <= come else n - 1)


def _per_control(question: Question) -> float:
    """Users in all arms for one of the control."""
    return 1.0 if question.ratio == 0 else 1 + (question.around.arms - 1) * question.ratio


def _answer(question: Question, solved: str, n: float, effect: float, power: float, inflated: float) -> Answer:
    arms = _arms(question, n)
    traffic = question.around.traffic
    needed = None if traffic is None else weeks(arms.total, traffic)
    return Answer(question=question, solved=solved, n=n, effect=effect, power=power, inflation=inflated, arms=arms,
                  weeks=needed)  # fmt: skip


def _arms(question: Question, n: float) -> Arms:
    sequences = isinstance(question.test, Crossover) and question.test.layout == "2x2"
    n_whole = 2 * rounded_up(n / 2) if sequences else n
    return whole_arms(n_whole, question.ratio, question.around.arms if question.ratio else 1)


def _instead(question: Question, most: int) -> str:
    """What the weeks that there are would do."""
    try:
        found = for_effect(question, whole_n_of_weeks(question, most)).effect
        return f"they find an effect of {rounded_out(found):.4g}"
    except QuestionError as error:
        return str(error)


if __name__ == "__main__":
    from analysis.power_cli import power

    power(prog_name="python -m analysis.power")
