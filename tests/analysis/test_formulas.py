"""The formulas against what other tools and books print (published_cases.csv)."""

from __future__ import annotations

import math

import pytest

from analysis.formulas import Design, QuestionError, detectable_effect, sample_size
from analysis.formulas_planning import weeks, whole_arms
from analysis.power import DESIGNS
from tests.analysis.published import Case, published_cases

CASES = [case for case in published_cases() if case.design != "looks"]
SOLVED = ("n", "effect", "power")


def designed(case: Case) -> Design:
    """The design of a case: its inputs by the names of the class's fields."""
    words = {name: text for name, text in case.inputs.items() if name in ("layout", "harm")}
    numbers = {name: case.number(name, 0.0) for name in case.inputs if name not in (*SOLVED, *words)}
    if "sides" in numbers:
        words["sides"] = int(numbers.pop("sides"))
    if case.inputs.get("effect", "").startswith("-") and case.design in ("proportion", "one-proportion"):
        words["down"] = True
    return DESIGNS[case.design](convention=case.convention, **numbers, **words)


def answer(case: Case) -> float:
    design = designed(case)
    n, effect, power = (case.number(name, math.nan) for name in SOLVED)
    if case.design == "quantile":
        effect, power = design.reach(), 1 - design.alpha
    if case.design == "one-mean" and effect < 0:
        effect = -effect
    if case.solve == "power":
        return design.power(n, effect)
    if case.solve in ("mde", "treated"):
        found = detectable_effect(design, n, power)
        return found + (case.number("baseline", 0.0) if case.solve == "treated" else 0.0)
    needed = sample_size(design, effect, power)
    ratio = case.number("ratio", 1.0)
    if case.solve == "total":
        return needed * (1 + ratio) if case.source != "tea-tasting" else needed * 2
    if case.solve.startswith("weeks:"):
        return weeks(whole_arms(needed, 1.0, 3).total, 3 * float(case.solve.removeprefix("weeks:")))
    return needed


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"line {case.line} {case.source}")
def test_published_numbers_are_met_by_their_own_rule_or_the_reason_is_named(case):
    try:
        found = answer(case)
    except QuestionError:
        found = math.nan
    assert (math.isfinite(found) and case.holds(found)) == case.agrees, found
    assert case.agrees or case.note


def test_there_are_enough_published_cases_of_enough_sources():
    agreeing = [case for case in published_cases() if case.agrees]
    assert len(agreeing) >= 40
    assert len({case.source for case in agreeing}) >= 8
