from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.quantiles import CENSORED, NO_SLOPE, bandwidth, quantile_difference

NAMES = np.array([f"u{number}" for number in range(2000)])


def latencies(seed: int, users: int = 300, blocks: int = 60, n: int = 4000, slower: float = 1.0):
    """Heavy tails, a user effect that differs by arm, shared and separate slow blocks; milliseconds."""
    rng = np.random.default_rng(seed)
    user, block = rng.integers(0, users, n), rng.integers(0, blocks, n)
    arms = []
    shared = rng.normal(0, 0.3, users)[user]
    for _ in range(2):
        own = rng.normal(0, 0.25, users)[user] + rng.normal(0, 0.15, blocks)[block]
        arms.append(5 * np.exp(shared + own + rng.normal(0, 0.5, n)))
    return NAMES[user], block, arms[0] * slower, arms[1]


def test_the_estimate_is_the_difference_of_the_sample_quantiles():
    users, blocks, shadow, control = latencies(1)
    found = quantile_difference(users, blocks, shadow, control, deadline=2000)
    assert found.value == pytest.approx(np.quantile(shadow, 0.95) - np.quantile(control, 0.95), rel=1e-12)
    relative = quantile_difference(users, blocks, shadow, control, deadline=2000, log=True)
    assert math.exp(relative.value) == pytest.approx(np.quantile(shadow, 0.95) / np.quantile(control, 0.95), rel=1e-12)


@pytest.mark.parametrize("log", [False, True])
def test_the_standard_error_is_near_that_of_a_bootstrap_of_users_where_only_users_matter(log):
    rng = np.random.default_rng(7)
    users, _, shadow, control = latencies(2, blocks=1)
    found = quantile_difference(users, np.arange(len(users)) % 997, shadow, control, deadline=1e9, log=log)
    names, codes = np.unique(users, return_inverse=True)
    members = [np.flatnonzero(codes == code) for code in range(len(names))]
    draws = []
    for _ in range(400):
        rows = np.concatenate([members[code] for code in rng.integers(0, len(names), len(names))])
        first, second = np.quantile(shadow[rows], 0.95), np.quantile(control[rows], 0.95)
        draws.append(math.log(first / second) if log else first - second)
    # 400 draws know a standard error to 3.5 %; the slope of a sample quantile function is known to some 15 %.
    assert found.standard_error == pytest.approx(np.std(draws), rel=0.3)


def test_intervals_cover_the_truth_as_often_as_they_say():
    """Both arms have the same law, so the true difference is 0: a 90 % interval holds it in 90 % of the logs."""
    inside = 0
    for seed in range(200):
        found = quantile_difference(*latencies(100 + seed, users=250, blocks=50, n=2000), deadline=1e9)
        inside += found.lower(0.05) < 0 < found.upper(0.05)
    assert stats.binomtest(inside, 200, 0.9).pvalue > 1e-4


def test_a_shadow_at_the_deadline_is_only_known_to_be_slower():
    users, blocks, shadow, control = latencies(3)
    cut = np.minimum(shadow * 20, 100.0)
    found = quantile_difference(users, blocks, cut, np.minimum(control, 100.0), deadline=100.0)
    assert found.at_least
    assert CENSORED in found.spread.notes
    assert found.value == pytest.approx(100 - np.quantile(control, 0.95))
    assert found.upper(0.05) is None
    assert 0 < found.lower(0.05) < found.value


def test_a_control_at_the_deadline_tells_nothing():
    users, blocks, shadow, control = latencies(3)
    assert quantile_difference(users, blocks, shadow, np.full_like(control, 9.0), deadline=9.0) is None


def test_one_value_for_all_gives_no_limits():
    users, blocks, shadow, _ = latencies(3)
    same = np.full_like(shadow, 7.0)
    found = quantile_difference(users, blocks, same, same, deadline=2000)
    assert found.value == 0
    assert found.spread.notes == (NO_SLOPE,)
    assert (found.lower(0.05), found.upper(0.05), found.p_above_zero()) == (None, None, 1.0)


def test_no_request_or_a_zero_under_the_logarithm_has_no_estimate():
    none = np.array([])
    assert quantile_difference(none.astype(str), none.astype(int), none, none, deadline=1.0) is None
    zero, names = np.zeros(5), NAMES[:5]
    assert quantile_difference(names, np.arange(5), zero, zero, deadline=1.0, log=True) is None


def test_the_bandwidth_is_hall_and_sheathers():
    # By hand: n = 10⁴, q = .95: 10^(−4/3) × 1.96^(2/3) × (1.5 × .10314² / (2 × 1.64485² + 1))^(1/3)
    assert bandwidth(0.95, 10_000) == pytest.approx(0.0098, abs=2e-4)
    assert bandwidth(0.95, 10) == pytest.approx(0.025)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=60
    ),
    st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_no_number_is_ever_nan(rows, log):
    user, block, shadow, control = (np.array(column) for column in zip(*rows, strict=True))
    found = quantile_difference(
        NAMES[user], block, np.minimum(shadow, 10.0), np.minimum(control, 10.0), deadline=10.0, log=log
    )
    if found is not None:
        limits = [limit for limit in (found.lower(0.05), found.upper(0.05)) if limit is not None]
        assert all(
            math.isfinite(number) for number in [found.value, found.standard_error, found.p_above_zero(), *limits]
        )


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_order_of_requests_does_not_matter(seed):
    users, blocks, shadow, control = latencies(seed, n=300)
    order = np.random.default_rng(seed).permutation(300)
    first = quantile_difference(users, blocks, shadow, control, deadline=1e9)
    second = quantile_difference(users[order], blocks[order], shadow[order], control[order], deadline=1e9)
    assert first.value == pytest.approx(second.value, rel=1e-12)
    assert first.spread.variance == pytest.approx(second.spread.variance, rel=1e-9)
