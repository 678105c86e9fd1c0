from __future__ import annotations

import numpy as np
import pytest

from analysis.aggregates import cell_sums
from analysis.bootstrap import bootstrap_mean, bootstrap_quantile_difference, cluster_weights
from analysis.estimates import mean
from analysis.measures import MEAN_OF_REQUESTS, MEAN_OF_USERS
from analysis.quantiles import quantile_difference
from tests.analysis.test_quantiles import latencies

DRAWS = 2000
"""They know a standard error to 1.6 %."""


def test_a_draw_has_as_many_clusters_as_there_are():
    weights = cluster_weights(7, 50, np.random.default_rng(1))
    assert weights.shape == (50, 7)
    assert (weights.sum(axis=1) == 7).all()


@pytest.mark.parametrize("average", [MEAN_OF_USERS, MEAN_OF_REQUESTS])
def test_the_bootstrap_of_users_finds_the_spread_of_the_influence_function(average):
    """Where blocks say nothing (each request its own), the two-way variance is that of users."""
    rng = np.random.default_rng(2)
    user = rng.integers(0, 300, 3000)
    values = rng.normal(size=300)[user] + rng.standard_t(5, 3000)
    cells = cell_sums(user, np.arange(3000), values)
    draws = bootstrap_mean(cells, average, DRAWS, rng)
    found = mean(cells, average)
    assert found is not None
    assert np.std(draws) == pytest.approx(found.standard_error, rel=0.08)
    assert np.mean(draws) == pytest.approx(found.value, abs=3 * np.std(draws) / np.sqrt(DRAWS) + 0.01)


def test_the_bootstrap_finds_the_spread_of_a_difference_of_percentiles():
    users, _, shadow, control = latencies(5, blocks=1)
    found = quantile_difference(users, np.arange(len(users)), shadow, control, deadline=1e9)
    draws = bootstrap_quantile_difference(users, shadow, control, 0.95, 600, np.random.default_rng(3))
    assert found is not None
    assert np.std(draws) == pytest.approx(found.standard_error, rel=0.25)
    assert np.mean(draws) == pytest.approx(found.value, abs=0.5 * found.standard_error)


def test_a_draw_is_the_quantile_of_the_repeated_requests():
    users, shadow, control = np.array(["a", "b", "c"]), np.array([1.0, 5.0, 9.0]), np.array([2.0, 2.0, 7.0])
    draws = bootstrap_quantile_difference(users, shadow, control, 0.5, 40, np.random.default_rng(4))
    weights = cluster_weights(3, 40, np.random.default_rng(4))
    expected = [
        np.quantile(np.repeat(shadow, times), 0.5, method="inverted_cdf")
        - np.quantile(np.repeat(control, times), 0.5, method="inverted_cdf")
        for times in weights
    ]
    assert draws.tolist() == expected
