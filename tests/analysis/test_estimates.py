from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from analysis.aggregates import cell_sums, combined
from analysis.estimates import NO_VARIATION, NO_WIDTH, NOT_POSITIVE, Estimate, Spread, effective, log_ratio, mean, ratio
from analysis.measures import MEAN_OF_REQUESTS, MEAN_OF_USERS


def estimate(users, blocks, values, average=MEAN_OF_REQUESTS, span=1.0) -> Estimate:
    found = mean(cell_sums(np.array(users), np.array(blocks), np.array(values, dtype=float)), average, span)
    assert found is not None
    return found


def test_each_user_counts_once_however_often_they_came():
    users, blocks, values = ["a", "a", "a", "b"], [0, 1, 2, 0], [0, 0, 0, 1]
    assert estimate(users, blocks, values, MEAN_OF_USERS).value == pytest.approx(0.5)
    assert estimate(users, blocks, values, MEAN_OF_REQUESTS).value == pytest.approx(0.25)


def test_the_two_way_variance_by_hand():
    # Values 0, 1, 2, 5 in a 2 × 2 table: mean 2, deviations −2 −1 / 0 3, influences a quarter of it.
    found = estimate(["a", "a", "b", "b"], [0, 1, 0, 1], [0, 1, 2, 5])
    by_user = 2 * (0.75**2 + 0.75**2)
    by_block = 2 * (0.5**2 + 0.5**2)
    both = 4 / 3 * (0.5**2 + 0.25**2 + 0 + 0.75**2)
    assert found.value == 2
    assert found.spread.variance == pytest.approx(by_user + by_block - both)
    assert (found.spread.effective_users, found.spread.effective_blocks) == (2, 2)
    assert found.spread.degrees_of_freedom == 1


def test_effective_clusters_of_equal_and_unequal_weights():
    assert effective(np.array([3.0, 3.0, 3.0])) == pytest.approx(3)
    assert effective(np.array([8.0, 1.0, 1.0])) == pytest.approx(100 / 66)
    assert effective(np.array([])) == 0


def crossed(seed: int, users: int = 40, blocks: int = 15, n: int = 600):
    rng = np.random.default_rng(seed)
    user, block = rng.integers(0, users, n), rng.integers(0, blocks, n)
    values = rng.normal(size=users)[user] + rng.normal(size=blocks)[block] + rng.normal(size=n)
    return user, block, values


@pytest.mark.parametrize("seed", range(3))
def test_the_variance_of_a_mean_over_requests_is_that_of_statsmodels(seed):
    user, block, values = crossed(seed)
    fit = sm.OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": np.column_stack([user, block]), "use_correction": True}
    )
    found = estimate(user.astype(str), block, values)
    # statsmodels counts G/(G−1) per clustering too, with the cells as the groups of the third; (n−1)/(n−k) is 1 here.
    assert found.value == pytest.approx(fit.params[0], rel=1e-12)
    assert found.standard_error == pytest.approx(fit.bse[0], rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_variance_of_a_mean_over_users_is_that_of_a_weighted_fit_in_statsmodels(seed):
    user, block, values = crossed(seed, n=300)
    weights = 1 / np.bincount(user)[user]
    fit = sm.WLS(values, np.ones(len(values)), weights=weights).fit(
        cov_type="cluster", cov_kwds={"groups": np.column_stack([user, block]), "use_correction": True}
    )
    found = estimate(user.astype(str), block, values, MEAN_OF_USERS)
    assert found.value == pytest.approx(fit.params[0], rel=1e-12)
    assert found.standard_error == pytest.approx(fit.bse[0], rel=1e-9)


def both_arms(seed: int, n: int = 500):
    """Positive numerators and denominators of the same requests, as cells and as columns."""
    user, block, noise = crossed(seed, n=n)
    over = np.random.default_rng(seed + 50).gamma(3, 1, n)
    under = over * np.exp(0.3 * noise)
    return user, block, under, over, cell_sums(user, block, under), cell_sums(user, block, over)


@pytest.mark.parametrize("seed", range(3))
def test_the_variance_of_a_ratio_is_that_of_a_weighted_fit_in_statsmodels(seed):
    """Σn/Σd is the fit of n/d on a constant with the weights d."""
    user, block, under, over, numerator, denominator = both_arms(seed)
    fit = sm.WLS(under / over, np.ones(len(over)), weights=over).fit(
        cov_type="cluster", cov_kwds={"groups": np.column_stack([user, block]), "use_correction": True}
    )
    found = ratio(numerator, denominator)
    assert found is not None
    assert found.value == pytest.approx(fit.params[0], rel=1e-12)
    assert found.standard_error == pytest.approx(fit.bse[0], rel=1e-9)
    relative = log_ratio(numerator, denominator)
    assert relative is not None
    assert relative.log
    assert relative.value == pytest.approx(math.log(fit.params[0]), rel=1e-12)
    assert relative.standard_error == pytest.approx(fit.bse[0] / fit.params[0], rel=1e-9)


def test_the_fit_of_ordinary_least_squares_with_two_groups_is_the_mean():
    """The very call of the issue: OLS on a constant, cov_type="cluster", a column of groups for each way."""
    user, block, values = crossed(9, users=200, blocks=30, n=3000)
    fit = sm.OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": np.column_stack([user, block])}
    )
    found = estimate(user.astype(str), block, values)
    assert found.value == pytest.approx(fit.params[0], rel=1e-9)
    assert found.standard_error == pytest.approx(fit.bse[0], rel=1e-9)


def cells_of(*values):
    return cell_sums(np.array(["a", "b", "c"]), np.arange(3), np.array(values, dtype=float))


def test_a_ratio_over_zero_is_not_defined():
    assert ratio(cells_of(1, 2, 3), cells_of(0, 0, 0)) is None
    # .1 + .2 − .3 is 5.6e-17 in floating point.
    assert ratio(cells_of(1, 2, 3), cells_of(0.1, 0.2, -0.3)) is None
    assert log_ratio(cells_of(1, 2, 3), cells_of(0, 0, 0)) is None
    assert log_ratio(cells_of(0, 0, 0), cells_of(1, 2, 3)) is None
    assert log_ratio(cells_of(-1, -2, 0), cells_of(1, 2, 3)) is None
    assert ratio(combined([]), combined([])) is None


def test_a_ratio_of_sums_is_not_the_mean_of_ratios():
    found = ratio(cells_of(1, 1, 1), cells_of(1, 2, 5))
    assert found is not None
    assert found.value == pytest.approx(3 / 8)
    # Influences (1 − 3/8·d)/8: 5/64, 2/64, −7/64; every cluster is a single request.
    assert found.spread.variance == pytest.approx(3 / 2 * (5**2 + 2**2 + 7**2) / 64**2)


def test_different_requests_are_not_divided():
    with pytest.raises(ValueError, match="different requests"):
        ratio(cells_of(1, 2, 3), cell_sums(np.array(["a", "b"]), np.arange(2), np.ones(2)))


def test_a_ratio_that_never_varies_has_no_limits_rather_than_a_width_of_zero():
    found = ratio(cells_of(2, 4, 6), cells_of(1, 2, 3))
    assert found is not None
    assert (found.value, found.spread.notes) == (2, (NO_WIDTH,))
    assert (found.lower(0.05), found.upper(0.05)) == (None, None)


def test_with_one_request_per_user_and_block_it_is_the_t_test_of_scipy():
    values = np.random.default_rng(4).normal(0.2, 1, 50)
    names = [f"u{number}" for number in range(50)]
    found = estimate(names, range(50), values, span=0.0)
    test = stats.ttest_1samp(values, 0, alternative="greater")
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert found.p_above_zero() == pytest.approx(test.pvalue, rel=1e-9)
    assert found.lower(0.05) == pytest.approx(interval.low, rel=1e-9)
    assert found.upper(0.05) == pytest.approx(interval.high, rel=1e-9)


def test_a_two_way_variance_that_is_not_positive_falls_back_to_the_larger_one_way_and_says_so():
    # Every user total and block total is zero while the cells are not: V_user = V_time = 0 < V_both.
    found = estimate(["a", "a", "b", "b"], [0, 1, 0, 1], [1, -1, -1, 1])
    assert found.spread.variance == 0
    assert found.spread.notes == (NO_VARIATION,)
    # Now a third user moves alone: 2 (V_user + V_time) is still below V_both, so V_user, the larger, is taken.
    users, blocks, values = ["a", "a", "b", "b", "c", "c"], [0, 1, 0, 1, 0, 1], [3, -3, -3, 3, 0.5, 0.4]
    found = estimate(users, blocks, values)
    centred = np.array(values) - np.mean(values)
    by_user = 3 / 2 * sum((centred[start : start + 2].sum() / 6) ** 2 for start in (0, 2, 4))
    by_block = 2 * sum((centred[start::2].sum() / 6) ** 2 for start in (0, 1))
    assert found.spread.notes == (NOT_POSITIVE,)
    assert found.spread.variance == pytest.approx(max(by_user, by_block))


def test_a_constant_is_bounded_by_the_rule_of_three_over_users():
    users = [f"u{number}" for number in range(300)]
    found = estimate(users, [number % 30 for number in range(300)], [0] * 300)
    assert found.spread.notes == (NO_VARIATION,)
    # The exact upper limit for 0 events of 300, as scipy has it.
    exact = stats.binomtest(0, 300, alternative="less").proportion_ci(0.95).high
    assert found.upper(0.05) == pytest.approx(exact, rel=1e-9)
    assert found.lower(0.05) == pytest.approx(-exact, rel=1e-9)
    assert found.p_above_zero() == 1


def test_a_constant_harm_is_shown():
    users = [f"u{number}" for number in range(300)]
    found = estimate(users, [number % 30 for number in range(300)], [0.5] * 300)
    assert found.p_above_zero() == pytest.approx(0.5**300)
    lower = found.lower(0.05)
    assert lower is not None
    assert lower > 0.48


def test_one_rare_event_does_not_give_a_closer_upper_limit_than_none():
    users, blocks = [f"u{number}" for number in range(300)], [number % 30 for number in range(300)]
    none, one = estimate(users, blocks, [0] * 300), estimate(users, blocks, [1] + [0] * 299)
    assert one.upper(0.05) >= none.upper(0.05)
    assert one.value > none.value


def test_the_empty_log_has_no_mean():
    assert mean(combined([]), MEAN_OF_USERS) is None


@pytest.mark.parametrize(("users", "blocks"), [(["a"] * 4, [0, 1, 2, 3]), (["a", "b", "c", "d"], [0] * 4)])
def test_a_single_cluster_on_either_side_has_no_limits(users, blocks):
    found = estimate(users, blocks, [0, 1, 0, 1])
    assert found.spread.degrees_of_freedom == 0
    assert (found.lower(0.05), found.upper(0.05), found.p_above_zero()) == (None, None, 1.0)


def test_an_estimate_that_is_only_a_lower_bound_has_no_upper_limit():
    spread = Spread(variance=1.0, users=9, blocks=9, effective_users=9, effective_blocks=9)
    found = Estimate(5.0, spread, requests=9, at_least=True)
    assert found.upper(0.05) is None
    assert found.lower(0.05) == pytest.approx(5 - stats.t.ppf(0.95, 8))


def test_two_clusters_of_which_one_holds_nearly_everything_bound_nothing():
    spread = Spread(variance=1.0, users=900, blocks=2, effective_users=900, effective_blocks=1.001)
    found = Estimate(5.0, spread, requests=900, span=1.0)
    assert (found.lower(0.05), found.upper(0.05), found.p_above_zero()) == (None, None, 1.0)


rows = st.lists(
    st.tuples(st.sampled_from("abcde"), st.integers(0, 4), st.sampled_from([-1.0, 0.0, 0.1, 1.0, 1e-12])),
    min_size=1,
    max_size=40,
)


@given(rows, st.sampled_from([MEAN_OF_USERS, MEAN_OF_REQUESTS]), st.sampled_from([0.0, 1.0]), st.floats(0.001, 0.4))
@settings(max_examples=300, deadline=None)
def test_no_number_is_ever_nan_and_limits_are_in_order(found, average, span, alpha):
    users, blocks, values = zip(*found, strict=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = estimate(users, blocks, values, average, span)
        numbers = [result.value, result.standard_error, result.p_above_zero(), result.spread.degrees_of_freedom]
        lower, upper = result.lower(alpha), result.upper(alpha)
    assert all(math.isfinite(number) for number in numbers)
    if lower is not None:
        assert upper is not None
        assert lower <= result.value <= upper


@given(rows, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_requests_does_not_matter(found, random):
    shuffled = list(found)
    random.shuffle(shuffled)
    first, second = estimate(*zip(*found, strict=True)), estimate(*zip(*shuffled, strict=True))
    assert first.value == pytest.approx(second.value, abs=1e-14)
    assert first.spread.variance == pytest.approx(second.spread.variance, abs=1e-14)
