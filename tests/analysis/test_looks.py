"""Bounds of looks against what gsDesign and rpact print, against scipy's multivariate normal, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.looks import (
    DESIGNS,
    FIXED,
    HWANG_SHIH_DECANI,
    KIM_DEMETS,
    LAN_DEMETS_OBRIEN_FLEMING,
    LAN_DEMETS_POCOCK,
    OBRIEN_FLEMING,
    POCOCK,
    Looks,
    crossing,
    equal_looks,
    inflation,
    looks,
    power_over,
    spending,
)
from tests.analysis.published import Case, published_cases

CASES = [case for case in published_cases() if case.design == "looks"]


def designed(case: Case) -> Looks:
    fractions = case.inputs.get("fractions")
    times = tuple(map(float, fractions.split(":"))) if fractions else equal_looks(int(case.inputs["k"]))
    parameter = case.number("parameter", math.nan)
    return looks(
        times,
        case.number("alpha", 0.05),
        case.convention,
        sides=int(case.inputs.get("sides", "1")),
        parameter=None if math.isnan(parameter) else parameter,
    )


def answer(case: Case) -> float:
    design = designed(case)
    if case.solve == "spent":
        return design.spent[-1]
    if case.solve == "inflation":
        return inflation(design, case.number("power", 0.8))
    return design.limits[int(case.solve.removeprefix("bound")) - 1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"line {case.line}")
def test_published_bounds_and_inflations_are_met_to_their_digits(case):
    assert case.holds(answer(case)) == case.agrees, answer(case)


def test_there_are_enough_published_cases_of_both_programs():
    by_source = [case.source for case in CASES]
    assert by_source.count("gsDesign") >= 20
    assert by_source.count("rpact") >= 5


@pytest.mark.parametrize("sides", [1, 2])
@pytest.mark.parametrize("design", DESIGNS)
def test_the_error_over_all_looks_is_what_was_allowed(design, sides):
    found = looks((0.1, 0.25, 0.6, 0.8, 1.0), 0.04, design, sides=sides)
    assert sum(crossing(found.fractions, found.limits, sides=sides)) * sides == pytest.approx(0.04, abs=1e-10)
    assert found.spent[-1] * sides == pytest.approx(0.04, abs=1e-10)


@pytest.mark.parametrize("design", DESIGNS)
def test_one_look_is_the_fixed_design(design):
    found = looks((1.0,), 0.05, design, sides=2)
    assert found.limits[0] == pytest.approx(1.959963984540054, abs=1e-9)
    assert inflation(found, 0.8) == pytest.approx(1.0, abs=1e-9)


def test_probabilities_agree_with_the_multivariate_normal():
    fractions, limits = (0.3, 0.55, 1.0), (2.6, 2.2, 1.9)
    drift = 1.7
    correlation = [[math.sqrt(min(a, b) / max(a, b)) for b in fractions] for a in fractions]
    means = [drift * math.sqrt(time) for time in fractions]
    none = stats.multivariate_normal.cdf(limits, means, correlation, abseps=1e-10, maxpts=2_000_000, rng=1)
    assert 1 - sum(crossing(fractions, limits, drift=drift)) == pytest.approx(float(none), abs=1e-7)


def test_looking_at_a_fixed_critical_value_errs_as_often_as_is_known():
    known = {2: 0.083, 5: 0.142, 10: 0.193, 20: 0.248, 50: 0.320}
    for number, error in known.items():
        times = equal_looks(number)
        upper = sum(crossing(times, looks(times, 0.05, FIXED, sides=2).limits, sides=2))
        assert 2 * upper == pytest.approx(error, abs=0.0006)


def test_a_simulated_experiment_ends_wrongly_as_often_as_the_bounds_promise():
    rng = np.random.default_rng(11)
    times = np.array([0.2, 0.45, 0.7, 1.0])
    steps = rng.standard_normal((200_000, 4)) * np.sqrt(np.diff(times, prepend=0.0))
    found = np.cumsum(steps, axis=1) / np.sqrt(times)
    for design in (LAN_DEMETS_OBRIEN_FLEMING, LAN_DEMETS_POCOCK):
        bounds = looks(tuple(times), 0.05, design, sides=2)
        wrong = float((np.abs(found) > np.array(bounds.limits)).any(axis=1).mean())
        assert wrong == pytest.approx(0.05, abs=0.0015)
        right = float((found + 3.0 * np.sqrt(times) > np.array(bounds.limits)).any(axis=1).mean())
        assert right == pytest.approx(power_over(bounds, 3.0), abs=0.003)


def test_a_running_experiment_keeps_the_bounds_of_its_past_looks():
    whole = looks((0.25, 0.5, 0.9), 0.05, LAN_DEMETS_OBRIEN_FLEMING)
    assert looks((0.25, 0.5), 0.05, LAN_DEMETS_OBRIEN_FLEMING).limits == whole.limits[:2]
    assert whole.spent[-1] < 0.05


def test_a_very_early_look_may_spend_nothing_and_harms_nothing():
    found = looks((0.002, 1.0), 0.025, LAN_DEMETS_OBRIEN_FLEMING)
    assert found.limits[0] == math.inf
    assert found.nominal[0] == 0.0
    assert found.limits[1] == pytest.approx(1.959963984540054, abs=1e-9)


def test_spending_begins_at_nothing_ends_at_all_and_never_falls():
    for design in (LAN_DEMETS_OBRIEN_FLEMING, LAN_DEMETS_POCOCK, KIM_DEMETS, HWANG_SHIH_DECANI):
        spent = [spending(design, time, 0.05) for time in np.linspace(0, 1, 101)]
        assert (spent[0], spent[-1]) == (0.0, 0.05)
        assert all(np.diff(spent) >= 0)
    assert spending(HWANG_SHIH_DECANI, 0.3, 0.05, 0.0) == pytest.approx(0.015)


@pytest.mark.parametrize(
    ("fractions", "alpha", "design", "said"),
    [
        ((0.5, 0.5), 0.05, LAN_DEMETS_POCOCK, "ascend"),
        ((0.5, 1.2), 0.05, LAN_DEMETS_POCOCK, "ascend"),
        ((0.0, 1.0), 0.05, LAN_DEMETS_POCOCK, "ascend"),
        ((), 0.05, LAN_DEMETS_POCOCK, "from 1 to 200 looks"),
        ((0.5, 0.9), 0.05, OBRIEN_FLEMING, "the last one at 1"),
        ((1.0,), 0.0, POCOCK, "no error of a test"),
        ((1.0,), 0.6, POCOCK, "no error of a test"),
        ((1.0,), math.nan, POCOCK, "no error of a test"),
        ((math.nan, 1.0), 0.05, LAN_DEMETS_POCOCK, "ascend"),
        ((1.0,), 0.05, "haybittle", "known are lan-demets"),
        ((0.5, 1.0), 0.05, KIM_DEMETS, "positive"),
    ],
)
def test_impossible_looks_are_refused_with_the_reason(fractions, alpha, design, said):
    with pytest.raises(ValueError, match=said):
        looks(fractions, alpha, design, parameter=-1.0)


def test_a_shaped_design_has_no_spending_and_a_power_must_exceed_the_error():
    with pytest.raises(ValueError, match="spends by no function"):
        spending(POCOCK, 0.5, 0.05)
    with pytest.raises(ValueError, match="no more than the error"):
        inflation(looks((1.0,), 0.05, POCOCK), 0.04)
