"""What is drawn and listed beside an answer: the curve, the weeks, and what other conventions say.

Next module: `analysis.power_report`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Final

from analysis.formulas import QuestionError
from analysis.power import Answer, for_effect, for_n, n_of_weeks, power_at
from analysis.power_question import Question

QUICK: Final = frozenset({"tost-mean", "tost-one-mean", "crossover", "quantile"})
"""Designs whose exact convention is no enumeration."""


def other_conventions(answer: Answer) -> dict[str, float]:
    """What the design's other conventions say to the same question; exact ones, which take time, are left out."""
    found: dict[str, float] = {}
    solvers: dict[str, Callable[[Question], float]] = {
        "n": lambda question: for_n(question, answer.effect).n,
        "effect": lambda question: for_effect(question, answer.n).effect,
        "power": lambda question: power_at(question, answer.n, answer.effect),
    }
    around = dataclasses.replace(answer.question.around, most_weeks=None)
    for convention in answer.question.test.FORMULAS:
        if convention == answer.question.test.convention or (
            convention in ("exact", "wilks") and answer.formula.design not in QUICK
        ):
            continue
        try:
            test = dataclasses.replace(answer.question.test, convention=convention)
            question = dataclasses.replace(answer.question, test=test, around=around)
            found[convention] = solvers[answer.solved](question)
        except QuestionError:
            continue
    return found


def curve(answer: Answer, points: int = 41) -> list[tuple[float, float]]:
    """Powers (for a quantile: confidences) over n, from a tenth of the answer to twice it."""
    low, high = max(answer.n / 10, answer.question.design(1.0).least), max(2 * answer.n, 4.0)
    steps = [low + (high - low) * step / (points - 1) for step in range(points)]
    if answer.question.test.whole:
        steps = sorted({float(math.ceil(step)) for step in steps})
    design = answer.question.design(answer.inflation)
    return [(n, design.power(n, answer.effect)) for n in steps]


def by_week(answer: Answer, most: int = 12) -> list[tuple[int, int, float, float | None]]:
    """Week, users in all, power for the answer's effect, smallest detectable effect (None: none), up to week `most`."""
    question, rows = answer.question, []
    for week in range(1, most + 1):
        n = n_of_weeks(question, week)
        design = question.design(answer.inflation)
        if n < design.least:
            continue
        try:
            effect: float | None = for_effect(question, n).effect
        except QuestionError:
            effect = None
        rows.append((week, round(week * float(question.around.traffic or 0)), design.power(n, answer.effect), effect))
    return rows
