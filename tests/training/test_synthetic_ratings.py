"""Stars in MovieLens' shares, and times in sessions: ascending, whole seconds, within the period."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.synthetic_ratings import (
    SESSION_HOURS,
    SESSION_SHARE,
    STARS,
    START_US,
    opinions,
    pauses,
    quality,
    stars,
    thresholds,
    times,
)


def test_opinions_are_cut_into_stars_of_the_shares_of_movielens_1m() -> None:
    rng = np.random.default_rng(1)
    cuts = thresholds(opinions(*rng.standard_normal((3, 50_000), dtype=np.float32), 0.08, rng))
    found = stars(opinions(*rng.standard_normal((3, 200_000), dtype=np.float32), 0.08, rng), cuts)
    np.testing.assert_allclose(np.bincount(found.astype(int))[1:] / 200_000, STARS, atol=5e-3)


def test_stars_by_hand() -> None:
    cuts = np.array([-2, -1, 0, 1], np.float32)
    assert stars(np.array([-3, -1.5, -0.5, 0.5, 9], np.float32), cuts).tolist() == [1, 2, 3, 4, 5]


def test_opinions_have_variance_one_and_grow_with_each_part() -> None:
    rng = np.random.default_rng(2)
    parts = rng.standard_normal((3, 100_000), dtype=np.float32)
    found = opinions(*parts, 0.3, rng)
    assert found.var() == pytest.approx(1, abs=0.02)
    for part, share in zip(parts, (0.22, 0.14, 0.3), strict=True):
        assert np.corrcoef(part, found)[0, 1] == pytest.approx(share**0.5, abs=0.02)


def test_quality_is_standard_over_ratings_and_goes_with_popularity() -> None:
    popularity = np.random.default_rng(3).lognormal(0, 1, 20_000)
    found = quality(popularity, np.random.default_rng(4))
    assert np.average(found, weights=popularity) == pytest.approx(0, abs=1e-4)
    assert np.average(found**2, weights=popularity) == pytest.approx(1, abs=1e-3)
    assert np.corrcoef(found, np.log(popularity))[0, 1] > 0.3


@given(st.lists(st.integers(1, 400), min_size=1, max_size=40), st.floats(0.01, 2_000), st.integers(0, 99))
def test_times_ascend_for_each_user_within_the_days(counts: list[int], days: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = times(pauses(sum(counts), 0.1, 100, rng), np.array(counts), days, rng)
    assert len(found) == sum(counts)
    assert (found % 1_000_000 == 0).all()
    assert found.min() >= START_US
    assert found.max() < START_US + days * 86_400e6
    for mine in np.split(found, np.cumsum(counts)[:-1]):
        assert (np.diff(mine) >= 0).all()


def test_pauses_are_ties_minutes_and_sessions_as_in_movielens_1m() -> None:
    found = pauses(200_000, SESSION_SHARE, SESSION_HOURS, np.random.default_rng(5))
    assert (found == 0).mean() == pytest.approx(0.53, abs=0.01)
    assert (found > 1_800).mean() == pytest.approx(0.019, abs=0.003)
    assert np.median(found[found > 1_800]) == pytest.approx(4.7 * 86_400, rel=0.2)


def test_times_by_hand() -> None:
    """Two users: the first rates at once and ten seconds later, the second has more pauses than the day is long."""
    found = times(np.array([7.0, 10, 7, 86_399, 86_399]), np.array([2, 3]), 1, np.random.default_rng(6))
    assert found[1] - found[0] == 10_000_000
    np.testing.assert_allclose((found[2:] - START_US) / 1e6, [0, 43_199, 86_399], atol=1)
