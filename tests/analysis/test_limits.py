from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.estimates import Estimate, Spread
from analysis.limits import rate_upper, upper


def estimate(value: float, se: float, users: float = 400.0) -> Estimate:
    return Estimate(value, Spread(se**2, int(users), 100, users, 100.0), 1000, span=1.0)


def test_with_many_events_it_is_the_score_limit_of_their_rate():
    """Poisson: (x − μ)² = z² μ/n, in units of the rate; Student's t with very many degrees of freedom is z."""
    z, n = stats.norm.isf(0.05), 10_000.0
    for events in (100, 500):
        rate = events / n
        found = rate_upper(np.array([rate]), np.array([np.sqrt(events) / n]), 1 / n, z)[0]
        assert (found - rate) ** 2 == pytest.approx(z**2 * found / n, rel=1e-9)


def test_it_is_wider_than_students_and_never_by_more_than_a_user_can_hide():
    for value, se in ((0.005, 0.002), (0.0001, 0.002), (0.01, 0.0001)):
        found = estimate(value, se)
        assert upper(found, "rate", 0.05) >= found.upper(0.05)
    assert upper(estimate(1e-6, 0.0001), "rate", 0.05) < 3.1 / 400


def test_what_is_no_rate_or_has_no_variance_keeps_its_limit():
    for found in (estimate(0.005, 0.002), estimate(0.0, 0.0), estimate(-0.01, 0.0)):
        assert upper(found, "share", 0.05) == found.upper(0.05)
    assert upper(estimate(0.0, 0.0), "rate", 0.05) == estimate(0.0, 0.0).upper(0.05)
    assert upper(Estimate(0.0, Spread(1.0, 400, 1, 400.0, 1.0), 10, span=1.0), "rate", 0.05) is None
