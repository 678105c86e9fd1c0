"""The laws of activity and popularity: quantiles by hand, counts that add up, sizes that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from training.synthetic_laws import (
    ACTIVITY,
    POPULARITY_1M,
    POPULARITY_LONG,
    StretchedExponential,
    activity_counts,
    check_counts,
    like_lengths,
    popularity_law,
)


def test_quantiles_of_the_exponential_by_hand() -> None:
    found = StretchedExponential(shape=1.0, floor=0.0).quantiles(2)
    np.testing.assert_allclose(found, [-np.log(0.75), -np.log(0.25)])


def test_quantiles_invert_the_law_above_its_floor() -> None:
    law = StretchedExponential(shape=0.5, floor=0.3)
    found = law.quantiles(1_000)
    assert found[0] > 0.3
    beyond = np.exp(0.3**0.5 - found**0.5)
    np.testing.assert_allclose(beyond, 1 - (np.arange(1_000) + 0.5) / 1_000)


def test_a_catalogue_takes_the_law_of_the_real_one_that_is_nearest_in_size() -> None:
    assert popularity_law(3_706) is POPULARITY_1M
    assert popularity_law(9_066) is POPULARITY_LONG
    assert popularity_law(100_000) is POPULARITY_LONG


@given(st.integers(1, 300), st.integers(2, 200), st.floats(0, 1), st.sampled_from([None, ACTIVITY, POPULARITY_LONG]))
def test_counts_add_up_between_one_and_half_the_items(
    users: int, items: int, share: float, law: StretchedExponential | None
) -> None:
    most = items // 2
    interactions = users + int(share * users * (most - 1))
    counts = activity_counts(law, users, items, interactions)
    assert counts.sum() == interactions
    assert counts.min() >= 1
    assert counts.max() <= most


def test_activity_is_heavy_tailed_and_alike_without_a_law() -> None:
    counts = activity_counts(ACTIVITY, 10_000, 10_000, 300_000)
    assert counts[-1] > 15 * counts.mean()
    assert np.median(counts) < 0.7 * counts.mean()
    assert set(activity_counts(None, 7, 100, 30).tolist()) == {4, 5}


@pytest.mark.parametrize("interactions", [9, 101])
def test_sizes_that_cannot_be_are_told(interactions: int) -> None:
    with pytest.raises(ValueError, match=r"between 10 and 100$"):
        check_counts(10, 20, interactions)


def test_ranks_follow_lengths_as_in_movielens() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((5_000, 8), dtype=np.float32) * rng.lognormal(0, 0.8, (5_000, 1)).astype(np.float32)
    ranks = like_lengths(vectors, rng)
    assert sorted(ranks.tolist()) == list(range(5_000))
    assert 0.97 < stats.spearmanr(ranks, np.linalg.norm(vectors, axis=1)).statistic < 0.999
