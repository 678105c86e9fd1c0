from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from analysis.estimates import Estimate, Spread
from analysis.needed import needed, pass_power
from tests.analysis.test_gate import metric, plan

RULES = {count: plan(*(metric(name) for name in ("errors", "empty_lists")[:count])) for count in (1, 2)}


def estimate(se: float, users: float = 400.0, blocks: float = 100.0) -> Estimate:
    return Estimate(0.0, Spread(se**2, int(users), int(blocks), users, blocks), 1000)


def test_a_power_is_never_nan_also_where_scipys_is():
    for freedom in (1.0, 19.0, 47.0, 1e4, 1e9):
        found = [pass_power(freedom, distance, 0.05) for distance in np.geomspace(1e-6, 1e9, 60)]
        assert all(0 < each <= 1 + 1e-12 for each in found)
        assert found == sorted(found)


@pytest.mark.parametrize("guardrails", [1, 2])
def test_what_is_needed_gives_each_guardrail_the_power_of_its_share(guardrails):
    found = needed(RULES[guardrails], estimate(0.01), 0.01, 50.0, 0.05)
    times = found.users / 400
    assert (found.hours, found.hours_low) == pytest.approx((50 * times, 50 * found.users_low / 400))
    freedom = 100 * times - 1
    power = stats.nct.sf(stats.t.isf(0.05, freedom), freedom, math.sqrt(times))
    assert power == pytest.approx(1 - 0.2 / guardrails, abs=1e-5)


def test_its_interval_holds_the_number_that_the_true_variance_asks_for_nine_times_in_ten():
    rng = np.random.default_rng(5)
    truth = needed(RULES[1], estimate(0.01), 0.01, 1.0, 0.05).users
    held = 0
    for variance in 1e-4 * rng.chisquare(99, 300) / 99:
        found = needed(RULES[1], estimate(math.sqrt(variance)), 0.01, 1.0, 0.05)
        held += found.users_low <= truth <= found.users_high
    assert stats.binomtest(held, 300, 0.9).pvalue > 1e-4


def test_floors_and_the_rule_of_three_are_the_least():
    assert needed(RULES[1], estimate(1e-9, users=50.0), 0.01, 1.0, 0.05).users == pytest.approx(200)
    assert needed(RULES[1], estimate(1e-9, blocks=5.0), 0.01, 1.0, 0.05).hours == pytest.approx(4)
    bounded = Estimate(0.0, Spread(0.0, 250, 100, 250.0, 100.0), 1000, span=1.0)
    found = needed(RULES[1], bounded, 0.01, 1.0, 0.05)
    assert found.users == found.users_high == pytest.approx(math.log(0.05) / math.log(0.99))


@pytest.mark.parametrize("blocks", [1.0, 1.5])
def test_so_few_clusters_tell_nothing(blocks):
    assert needed(RULES[1], estimate(0.01, blocks=blocks), 0.01, 1.0, 0.05) is None


def test_what_no_traffic_can_decide_has_no_number():
    assert needed(RULES[1], estimate(1e9), 1e-9, 1.0, 0.05) is None
