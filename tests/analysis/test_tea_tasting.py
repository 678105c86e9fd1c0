"""The estimators that tea-tasting has too give its numbers to 1e-8, from its answers (tests/bench/peers/tea_values.py).

It knows users only; where every request of a user is in a block of the user's own, so do we. Its two groups are
independent, so the difference of two of our estimates has the sum of their variances and Welch's degrees of freedom.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from scipy import stats

from analysis.aggregates import cell_sums
from analysis.estimates import Estimate, mean, ratio
from analysis.measures import MEAN_OF_REQUESTS

VALUES = msgspec.json.decode((Path(__file__).parent / "tea_values.json").read_bytes())
CASES = [pytest.param(case, name, id=f"{case['name']}: {name}") for case in VALUES["cases"] for name in case["found"]]


def ours(case, name: str, group: int) -> Estimate:
    chosen = np.flatnonzero(np.array(case["group"]) == group)
    requests, clicks = (np.array(case[key], dtype=float)[chosen] for key in ("requests", "clicks"))
    cells = cell_sums(chosen, chosen, requests)
    found = mean(cells, MEAN_OF_REQUESTS) if name == "mean" else ratio(cell_sums(chosen, chosen, clicks), cells)
    assert found is not None
    return found


def welch(first: tuple[float, int], second: tuple[float, int]) -> float:
    """Degrees of freedom of a difference of means with these (variance, number of users)."""
    return (first[0] + second[0]) ** 2 / sum(variance**2 / (users - 1) for variance, users in (first, second))


@pytest.mark.parametrize(("case", "name"), CASES)
def test_the_difference_and_its_interval_are_those_of_tea_tasting(case, name):
    control, treatment = ours(case, name, 0), ours(case, name, 1)
    theirs = case["found"][name]
    parts = [(each.spread.variance, each.spread.users) for each in (treatment, control)]
    width = np.sqrt(sum(variance for variance, _ in parts))
    freedom = welch(parts[0], parts[1])
    difference, reach = treatment.value - control.value, stats.t.isf((1 - VALUES["confidence"]) / 2, freedom) * width
    assert control.value == pytest.approx(theirs["control"], rel=1e-8)
    assert treatment.value == pytest.approx(theirs["treatment"], rel=1e-8)
    assert difference == pytest.approx(theirs["effect_size"], rel=1e-8)
    assert difference - reach == pytest.approx(theirs["effect_size_ci_lower"], rel=1e-8)
    assert difference + reach == pytest.approx(theirs["effect_size_ci_upper"], rel=1e-8)
    assert difference / width == pytest.approx(theirs["statistic"], rel=1e-8)
    assert 2 * stats.t.sf(abs(difference / width), freedom) == pytest.approx(theirs["pvalue"], rel=1e-8)


@pytest.mark.parametrize(("case", "name"), CASES)
def test_the_relative_difference_is_that_of_tea_tasting(case, name):
    """On the scale of the logarithm, as our log-ratio is."""
    control, treatment = ours(case, name, 0), ours(case, name, 1)
    theirs = case["found"][name]
    parts = [(each.spread.variance / each.value**2, each.spread.users) for each in (treatment, control)]
    width = np.sqrt(sum(variance for variance, _ in parts))
    reach = stats.t.isf((1 - VALUES["confidence"]) / 2, welch(parts[0], parts[1])) * width
    relative = np.log(treatment.value / control.value)
    assert np.expm1(relative - reach) == pytest.approx(theirs["rel_effect_size_ci_lower"], rel=1e-8)
    assert np.expm1(relative + reach) == pytest.approx(theirs["rel_effect_size_ci_upper"], rel=1e-8)
