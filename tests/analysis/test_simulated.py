"""Does the gate keep its promises over many seeded logs? Rates are accepted unless an exact binomial test rejects them.

Users repeat with heavy tails, differ in their effect, and share shocks of their time block: a test on requests would
reject up to a quarter of the harmless logs here.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from analysis.aggregates import cell_sums
from analysis.estimates import Estimate, mean
from analysis.gate import Evidence, judge
from analysis.measures import MEAN_OF_REQUESTS, MEAN_OF_USERS
from tests.analysis.test_gate import ALL, metric, plan

USERS, BLOCKS, RUNS = 400, 60, 800


def estimate(rng: np.random.Generator, average: str, effect: float = 0.0) -> Estimate:
    """A mean with user effects, block shocks and heavy-tailed noise; its true value is `effect`."""
    per_user = 1 + np.minimum(rng.pareto(2.0, USERS) * 3, 30).astype(int)
    users = np.repeat(np.arange(USERS), per_user)
    blocks = (rng.integers(0, BLOCKS, USERS)[users] + rng.integers(0, 3, len(users))) % BLOCKS
    noise = rng.standard_t(4, len(users)) * 0.1
    values = effect + rng.normal(0, 0.1, USERS)[users] + rng.normal(0, 0.05, BLOCKS)[blocks] + noise
    found = mean(cell_sums(users.astype(str), blocks, values), average, span=1e-9)
    assert found is not None
    return found


@pytest.mark.parametrize("average", [MEAN_OF_USERS, MEAN_OF_REQUESTS])
def test_a_test_at_five_per_cent_rejects_five_per_cent_of_harmless_logs(average):
    rng = np.random.default_rng(11)
    rejected = sum(estimate(rng, average).p_above_zero() <= 0.05 for _ in range(RUNS))
    assert stats.binomtest(rejected, RUNS, 0.055, alternative="greater").pvalue > 1e-4
    assert stats.binomtest(rejected, RUNS, 0.03, alternative="less").pvalue > 1e-4


def test_a_test_on_requests_would_reject_far_too_many():
    """The danger that the clustering is for is really in these logs."""
    rng = np.random.default_rng(11)
    naive = 0
    for _ in range(100):
        found = estimate(rng, MEAN_OF_REQUESTS)
        # Standard deviation of one value: sqrt(.1² + .05² + 2 × .1²), t with 4 degrees of freedom having variance 2.
        naive += found.value / (np.sqrt(0.0325) / np.sqrt(found.requests)) > stats.norm.isf(0.05)
    assert stats.binomtest(naive, 100, 0.10, alternative="greater").pvalue < 0.01


RULES = {
    count: plan(*(metric(name, margin=0.03) for name in ALL[1:3][:count]), metric("overlap_at_10")) for count in (1, 2)
}


def verdict(rng: np.random.Generator, guardrails: int, effect: float) -> str:
    """The verdict on a log whose first guardrail is harmed by `effect`, the others not at all."""
    rules = RULES[guardrails]
    found = [
        Evidence(entry, estimate(rng, MEAN_OF_USERS, effect if number == 0 else 0.0))
        for number, entry in enumerate(rules.metrics)
    ]
    return judge(rules, found, [], hours=100.0).verdict


@pytest.mark.parametrize("guardrails", [1, 2])
def test_harm_of_the_size_of_the_margin_passes_at_most_once_in_twenty(guardrails):
    rng = np.random.default_rng(12)
    passed = sum(verdict(rng, guardrails, 0.03) == "PASS" for _ in range(RUNS))
    assert stats.binomtest(passed, RUNS, 0.055, alternative="greater").pvalue > 1e-4


def test_harmless_logs_are_held_at_most_once_in_twenty_and_mostly_pass():
    rng = np.random.default_rng(13)
    found = [verdict(rng, 2, 0.0) for _ in range(RUNS)]
    assert stats.binomtest(found.count("HOLD"), RUNS, 0.055, alternative="greater").pvalue > 1e-4
    assert stats.binomtest(found.count("PASS"), RUNS, 0.80, alternative="less").pvalue > 1e-4


def test_harm_of_twice_the_margin_never_passes():
    rng = np.random.default_rng(14)
    found = [verdict(rng, 1, 0.06) for _ in range(100)]
    assert "PASS" not in found
    assert found.count("HOLD") >= 90
