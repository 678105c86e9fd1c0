"""Who rates what: alias tables are exact, nobody rates twice, popularity stays what the law says, taste decides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import synthetic_draws
from training.synthetic_draws import Alias, Draws, Tastes
from training.synthetic_vectors import clustered, on_sphere


def draws_of(items: int, strength: float, seed: int = 1, weights: np.ndarray | None = None) -> tuple[Draws, np.ndarray]:
    """Draws among `items` in 4 clusters, and 3,000 tastes in the same."""
    rng = np.random.default_rng(seed)
    centres = on_sphere(4, 8, rng)
    users, vectors = clustered(centres, 3_000, rng), clustered(centres, items, rng)
    tastes = Tastes.of(users, vectors, strength, rng)
    popularity = rng.lognormal(0, 1.5, items) if weights is None else weights
    everybody = tastes.of_users(users)
    return Draws.of(popularity, tastes, everybody[:1_000]), everybody


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60))
def test_an_alias_table_has_exactly_the_probabilities_of_its_weights(weights: list[float]) -> None:
    table = Alias.of(np.array(weights))
    found = table.keep.astype(np.float64)
    np.add.at(found, table.other, 1 - table.keep.astype(np.float64))
    np.testing.assert_allclose(found / len(weights), np.array(weights) / sum(weights), atol=1e-6)


@settings(max_examples=30)
@given(st.integers(2, 400), st.lists(st.floats(0, 1), min_size=1, max_size=40), st.floats(0, 3))
def test_everybody_draws_as_many_as_asked_and_none_twice(items: int, shares: list[float], strength: float) -> None:
    draws, tastes = draws_of(items, strength)
    counts = np.array([1 + int(share * (items // 2 - 1)) for share in shares])
    found = draws.draw(tastes[: len(counts)], counts, np.random.default_rng(2))
    for mine in np.split(found, np.cumsum(counts)[:-1]):
        assert len(set(mine.tolist())) == len(mine)
        assert (mine >= 0).all()
        assert (mine < items).all()


def test_without_taste_one_draw_has_the_odds_of_popularity() -> None:
    draws, tastes = draws_of(50, 0.0, weights=np.arange(1, 51).astype(float))
    found = draws.draw(np.repeat(tastes[:1], 60_000, 0), np.ones(60_000, np.int64), np.random.default_rng(3))
    np.testing.assert_allclose(np.bincount(found, minlength=50) / 60_000, np.arange(1, 51) / 1_275, atol=3e-3)


def test_racing_candidates_gives_nearly_what_racing_all_items_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """One user's chances to draw each of 300 items among the first ten, from 4,000 repetitions of either."""
    draws, tastes = draws_of(300, 1.0)
    mine, counts = np.repeat(tastes[:1], 4_000, 0), np.full(4_000, 10)
    some = np.bincount(draws.draw(mine, counts, np.random.default_rng(4)), minlength=300) / 4_000
    monkeypatch.setattr(synthetic_draws, "OVERSAMPLE", 10**6)
    every = np.bincount(draws.draw(mine, counts, np.random.default_rng(5)), minlength=300) / 4_000
    assert np.corrcoef(some, every)[0, 1] > 0.97
    assert np.abs(some - every).sum() < 0.2 * every.sum()


def test_popularity_stays_the_laws_whatever_the_tastes() -> None:
    """By fifths of the items from the least popular on; the most popular lose a little to the ban on repeats."""
    draws, tastes = draws_of(2_000, 1.5)
    found = draws.draw(tastes, np.full(len(tastes), 20), np.random.default_rng(6))
    counted = np.bincount(found, minlength=2_000)
    expected = draws.popularity / draws.popularity.sum() * len(found)
    fifths = np.array_split(np.argsort(expected), 5)
    for rows in fifths:
        assert counted[rows].sum() == pytest.approx(expected[rows].sum(), rel=0.12)


def test_users_draw_what_they_like() -> None:
    draws, tastes = draws_of(2_000, 1.0)
    counts = np.full(len(tastes), 5)
    found = draws.draw(tastes, counts, np.random.default_rng(7))
    owner = np.repeat(np.arange(len(tastes)), counts)
    drawn = draws.tastes.affinity(tastes, owner, found)
    others = draws.tastes.affinity(tastes, owner, np.random.default_rng(8).permutation(found))
    assert drawn.mean() > others.mean() + 0.5
