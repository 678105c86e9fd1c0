from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analysis.looks import crossing
from analysis.schedule import SMALLEST, WHOLE, due, last

FIVE = (20.0, 40.0, 60.0, 80.0, 100.0)


def test_the_look_that_is_due_is_the_last_that_has_passed():
    assert due(FIVE, 19.9) is None
    assert [due(FIVE, hours).number for hours in (20.0, 39.9, 40.0, 99.9, 100.0, 1e6)] == [1, 1, 2, 4, 5, 5]
    assert due(FIVE, 70.0).fractions == (0.2, 0.4, 0.6)
    assert last(FIVE) == due(FIVE, 100.0)


def test_without_a_schedule_there_is_one_look_at_the_whole_error():
    assert due((), 3.0) is WHOLE is last(())
    assert WHOLE.nominal(0.05) == 0.05
    assert WHOLE.adjusted(0.03) == 0.03


def test_all_looks_together_err_as_promised_and_a_fixed_bound_would_not():
    """Brownian motion on the looks' fractions; the same paths judged by a fixed bound are the baseline."""
    rng = np.random.default_rng(3)
    paths = np.cumsum(rng.normal(0, np.sqrt(0.2), (40_000, 5)), axis=1) / np.sqrt(np.arange(1, 6) / 5)
    limits = [stats.norm.isf(due(FIVE, hours).nominal(0.05)) for hours in FIVE]
    crossed = int((paths > limits).any(axis=1).sum())
    assert stats.binomtest(crossed, 40_000, 0.05).pvalue > 1e-4
    assert (paths > stats.norm.isf(0.05)).any(axis=1).mean() > 0.12


@pytest.mark.parametrize("hours", [20.0, 60.0, 100.0])
def test_an_adjusted_p_value_meets_alpha_where_the_bound_is_met(hours):
    look = due(FIVE, hours)
    for alpha in (0.05, 0.0125, 0.2):
        assert look.adjusted(look.nominal(alpha)) == pytest.approx(alpha, rel=1e-5)
    assert look.adjusted(0.0) == 0.0
    assert look.adjusted(1e-300) == SMALLEST
    assert look.adjusted(0.9) == 1.0


UNEVEN = [(0.02, 0.05, 0.1, 0.3, 1.0), (0.08, 0.2, 0.38, 0.65, 1.0), (0.6, 0.8, 0.9, 0.95, 1.0)]
"""How much of the data is there at each of five looks that are as far apart."""


def bound(there, hours):
    look = due(FIVE, hours)
    return float(stats.norm.isf(replace(look, information=there[: look.number]).nominal(0.05)))


@pytest.mark.parametrize("there", [*UNEVEN, (0.2, 0.4, 0.6, 0.8, 1.0)])
def test_where_traffic_is_uneven_all_looks_together_still_err_as_promised(there):
    assert sum(crossing(there, [bound(there, hours) for hours in FIVE])) == pytest.approx(0.05, abs=1e-9)


def test_bounds_by_time_alone_would_err_more_often_where_most_comes_late():
    limits = [float(stats.norm.isf(due(FIVE, hours).nominal(0.05))) for hours in FIVE]
    errors = [sum(crossing(there, limits)) for there in UNEVEN]
    assert errors == pytest.approx([0.0661, 0.0561, 0.0424], abs=1e-4)


def test_looks_between_which_nothing_came_have_bounds_too():
    limits = [bound((7.0, 7.0, 7.0, 9.0, 9.0), hours) for hours in FIVE]
    assert all(np.isfinite(limits))
    assert limits[-1] > stats.norm.isf(0.05)
