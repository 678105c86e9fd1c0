"""The A/B analyser's statistics: against scipy and statsmodels, and by simulation of what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from analysis.ab import (
    DataError,
    Part,
    compare,
    cuped,
    of_ratio,
    part,
    sample_ratio,
    stratified,
)
from tests.analysis.ab_simulated import KINDS, LIFT, passed_at_the_margin, simulated


def test_welch_and_z_are_scipys_and_statsmodels():
    rng = np.random.default_rng(1)
    a, b = rng.gamma(1.0, 3.0, 150), rng.gamma(1.2, 3.0, 260)
    found = compare(part(a), part(b), 0.05)
    theirs = stats.ttest_ind(b, a, equal_var=False)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)
    normal = compare(part(a), part(b), 0.05, normal=True)
    means = sm.stats.CompareMeans(sm.stats.DescrStatsW(b), sm.stats.DescrStatsW(a))
    assert normal.p == pytest.approx(means.ztest_ind(usevar="unequal")[1], rel=1e-9)


def test_one_sided_limits_are_those_of_the_90_percent_interval():
    rng = np.random.default_rng(2)
    a, b = part(rng.normal(0, 1, 50)), part(rng.normal(0.1, 2, 60))
    assert compare(a, b, 0.05).one_sided(0.05) == pytest.approx((compare(a, b, 0.1).low, compare(a, b, 0.1).high))


def test_limits_against_a_share_of_the_control_are_those_of_the_scaled_control():
    rng = np.random.default_rng(4)
    a, b = rng.gamma(2.0, 1.0, 80), rng.gamma(2.0, 1.3, 60)
    theirs = stats.ttest_ind(b, 1.2 * a, equal_var=False).confidence_interval(0.9)
    assert compare(part(a), part(b), 0.05).against(1.2, 0.05) == pytest.approx(tuple(theirs), rel=1e-9)
    normal = compare(part(a), part(b), 0.05, normal=True)
    means = sm.stats.CompareMeans(sm.stats.DescrStatsW(b), sm.stats.DescrStatsW(1.2 * a))
    assert normal.against(1.2, 0.05) == pytest.approx(means.zconfint_diff(0.1, usevar="unequal"), rel=1e-9)


def test_a_ratio_is_what_cluster_robust_regression_on_requests_says():
    rng = np.random.default_rng(3)
    requests = rng.poisson(6, 400) + 1
    rate = rng.beta(2, 8, 400)
    clicks = rng.binomial(requests, rate)
    users = np.repeat(np.arange(400), requests)
    hits = np.concatenate([[1.0] * c + [0.0] * (r - c) for c, r in zip(clicks, requests, strict=True)])
    model = sm.OLS(hits, np.ones(len(hits))).fit(
        cov_type="cluster", cov_kwds={"groups": users, "use_correction": False}
    )
    found = part(of_ratio(clicks.astype(float), requests.astype(float)))
    assert found.mean == pytest.approx(model.params[0], rel=1e-12)
    assert found.variance * 399 / 400 == pytest.approx(model.bse[0] ** 2, rel=1e-9)


def test_cuped_is_regression_with_covariates_and_says_its_share():
    rng = np.random.default_rng(4)
    covariates = rng.normal(0, 1, (900, 2))
    arm = np.arange(900) % 2
    values = covariates @ [1.0, -0.5] + rng.normal(0, 1, 900) + 0.3 * arm
    control, treatment, explained = cuped(
        values[arm == 0], values[arm == 1], covariates[arm == 0], covariates[arm == 1]
    )
    found = compare(part(control), part(treatment), 0.05)
    model = sm.OLS(values, sm.add_constant(np.column_stack([arm, covariates]))).fit()
    assert found.absolute == pytest.approx(model.params[1], rel=1e-9)
    assert found.error == pytest.approx(model.bse[1], rel=0.01)
    assert explained == pytest.approx(1.25 / 2.25, abs=0.06)


def test_strata_of_one_kind_change_nothing_and_others_take_their_difference_out():
    rng = np.random.default_rng(5)
    strata = rng.integers(0, 2, 600).astype(np.intp)
    values = 5.0 * strata + rng.normal(0, 1, 600)
    same = stratified(values, np.zeros(600, dtype=np.intp), np.ones(1))
    assert same == Part(*(pytest.approx(each) for each in (part(values).mean, part(values).variance, 599)), 600)
    assert stratified(values, strata, np.array([0.5, 0.5])).variance < 0.2 * part(values).variance
    assert stratified(values, strata, np.array([0.5, 0.5])).mean == pytest.approx(2.5, abs=0.15)


def test_the_sample_ratio_is_the_chi_square_test_of_fabijans_example():
    assert sample_ratio([821_588, 815_482], [1, 1]) == pytest.approx(1.8e-6, abs=5e-8)
    assert sample_ratio([300, 610], [1, 2]) == pytest.approx(
        float(stats.chisquare([300, 610], [910 / 3, 1820 / 3]).pvalue)
    )


def test_a_control_near_zero_has_no_relative_effect_and_equal_values_no_error():
    rng = np.random.default_rng(6)
    near = compare(part(rng.normal(0, 1, 100)), part(rng.normal(1, 1, 100)), 0.05)
    assert (near.relative, near.relative_low, near.relative_high) == (None, None, None)
    constant = compare(part(np.full(9, 2.0)), part(np.full(9, 2.0)), 0.05)
    assert (constant.absolute, constant.low, constant.high, constant.p, constant.relative) == (0.0, 0.0, 0.0, 1.0, 0.0)
    other = compare(part(np.full(9, 2.0)), part(np.full(9, 3.0)), 0.05)
    assert other.p == 0.0


def test_too_few_users_and_empty_denominators_are_refused():
    with pytest.raises(DataError, match="an arm has 1 users"):
        part(np.ones(1))
    with pytest.raises(DataError, match="denominators"):
        of_ratio(np.ones(3), np.zeros(3))
    with pytest.raises(DataError, match="positive share"):
        sample_ratio([0, 0], [1, 1])


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_intervals_hold_a_known_effect_as_often_as_promised(number):
    held = simulated(KINDS[number], LIFT, 21 + number)
    assert 0.935 <= held.absolute <= 0.965
    assert 0.935 <= held.relative <= 0.965


@pytest.mark.parametrize("number", range(len(KINDS)))
def test_nulls_are_won_as_often_as_promised(number):
    assert 0.04 <= simulated(KINDS[number], 0.0, 121 + number).won <= 0.06


@pytest.mark.parametrize(("harm", "margin"), [("higher", 0.2), ("higher", 0.5), ("lower", 0.2), ("lower", 0.5)])
def test_a_guardrail_whose_harm_is_its_relative_margin_passes_as_seldom_as_promised(harm, margin):
    assert 0.04 <= passed_at_the_margin(harm, margin, 221) <= 0.06
