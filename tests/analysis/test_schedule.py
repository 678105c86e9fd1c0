from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

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
