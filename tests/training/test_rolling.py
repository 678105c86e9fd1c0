"""Rolling origins: windows that follow each other and end before the test, errors that know that users repeat."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm

from training.errors import ConfigurationError
from training.rolling import Asked, Pooled, clustered_error, origins, pooled
from training.split import split_by_time
from training.synthetic import synthetic_interactions
from training.task import rank_by_popularity

SPLIT = split_by_time(synthetic_interactions(3, users=150, items=60, per_user=20))
BEFORE = SPLIT.before_test


def test_windows_follow_each_other_and_end_before_the_test_period() -> None:
    many = origins(BEFORE, 5)
    assert len(many) == 5
    for one, following in zip(many, [*many[1:], None], strict=True):
        assert one.before.timestamp_us.max() < one.cut_us <= one.window.timestamp_us.min()
        if following is not None:
            assert one.window.timestamp_us.max() < following.cut_us
            assert len(following.before) == len(one.before) + len(one.window)
    assert len(many[-1].before) + len(many[-1].window) == len(BEFORE)
    assert many[-1].window.timestamp_us.max() < SPLIT.test_from_us


def test_too_few_origins_or_too_few_times_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="3 origins: at least 4"):
        origins(BEFORE, 3)
    with pytest.raises(ConfigurationError, match="too few different times"):
        origins(BEFORE.where(BEFORE.timestamp_us == BEFORE.timestamp_us.min()), 5)


def test_a_user_counts_once_per_origin_and_popularity_is_pooled() -> None:
    many = [Asked.at(origin) for origin in origins(BEFORE, 4)]
    found = pooled(many, lambda at: rank_by_popularity(at.task, at.task.liked_by.astype(float), at.warm))
    _, times = np.unique(found.user, return_counts=True)
    assert times.max() <= 4
    assert 0 < found.mean < 1
    assert found.difference(found) == (0.0, 0.0)


def test_the_clustered_error_by_hand() -> None:
    # Two users, (1, 1) and (0, 0): sums of deviations ±1, G/(G−1) = 2, so √(2·2)/4.
    assert clustered_error(np.array([7, 7, 9, 9]), np.array([1.0, 1.0, 0.0, 0.0])) == pytest.approx(0.5)
    assert clustered_error(np.array([1, 1]), np.array([0.0, 1.0])) == float("inf")


def test_the_clustered_error_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(4)
    user = rng.integers(0, 40, 200)
    values = rng.normal(0, 1, 40)[user] + rng.normal(0, 0.5, 200)
    fitted = sm.OLS(values, np.ones(200)).fit(cov_type="cluster", cov_kwds={"groups": user, "use_correction": False})
    # statsmodels leaves out G / (G − 1) without its own correction.
    groups = len(np.unique(user))
    assert clustered_error(user, values) == pytest.approx(fitted.bse[0] * np.sqrt(groups / (groups - 1)), rel=1e-9)


def test_a_difference_is_paired() -> None:
    rng = np.random.default_rng(5)
    user, base = np.arange(300), rng.random(300)
    one = Pooled(user, base)
    other = Pooled(user, base + 0.01 + rng.normal(0, 0.001, 300))
    difference, error = other.difference(one)
    assert difference == pytest.approx(0.01, abs=4 * error)
    assert error < 0.1 * one.standard_error
