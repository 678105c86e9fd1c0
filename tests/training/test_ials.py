"""iALS: each half solves its side exactly, so the loss never rises; checked against numpy's own solver."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluate import Task, rank_by_factors, rank_by_popularity
from training.ials import IalsSettings, fit
from training.popularity import family_scores
from training.split import split_by_time
from training.synthetic import synthetic_interactions

DATA = synthetic_interactions(3, users=60, items=40, per_user=12)


@settings(max_examples=15)
@given(st.integers(1, 6), st.floats(0.01, 1), st.floats(0.1, 5), st.floats(0, 1), st.floats(0.1, 3), st.integers(0, 99))
def test_the_loss_never_rises(d: int, w: float, reg: float, exponent: float, five: float, seed: int) -> None:
    chosen = IalsSettings(
        dimension=d, sweeps=5, unobserved_weight=w, regularisation=reg, regularisation_exponent=exponent,
        five_star_weight=five, seed=seed,
    )  # fmt: skip
    losses = fit(DATA, chosen, threads=1).losses
    assert all(later <= earlier * (1 + 1e-5) for earlier, later in itertools.pairwise(losses))


def test_an_items_vector_solves_its_normal_equations() -> None:
    chosen = IalsSettings(dimension=4, sweeps=3, five_star_weight=1.7, four_star_weight=0.3)
    factors = fit(DATA, chosen, threads=1)
    liked = DATA.positives
    users = factors.users.astype(np.float64)
    for item in (0, 7, 20):
        rows, stars = liked.user[liked.item == item], liked.rating[liked.item == item]
        weights = np.where(stars == 5, 1.7, 0.3)
        scale = len(rows) + 0.1 * len(DATA.user_ids)
        matrix = (users[rows] * weights[:, None]).T @ users[rows] + 0.1 * users.T @ users + np.eye(4) * scale**0.5
        expected = np.linalg.solve(matrix, (users[rows] * weights[:, None]).sum(0))
        np.testing.assert_allclose(factors.items[item], expected, rtol=1e-3, atol=1e-5)


def test_the_same_seed_gives_the_same_bytes_and_another_one_does_not() -> None:
    chosen = IalsSettings(dimension=4, sweeps=2)
    one, same = fit(DATA, chosen, threads=1), fit(DATA, chosen, threads=1)
    other = fit(DATA, IalsSettings(dimension=4, sweeps=2, seed=2), threads=1)
    assert one.items.tobytes() == same.items.tobytes()
    assert one.items.tobytes() != other.items.tobytes()


def test_a_user_without_a_positive_has_the_zero_vector() -> None:
    nobody = DATA.where(DATA.user != 5)
    assert not fit(nobody, IalsSettings(dimension=4, sweeps=1), threads=1).users[5].any()


def test_on_made_up_tastes_it_beats_popularity() -> None:
    split = split_by_time(synthetic_interactions(4, users=400, items=120, per_user=25))
    task = Task.of(split.before_test, split.test)
    warm = sorted(task.warm)
    scores = family_scores(split.before_test, split.test_from_us)
    factors = fit(split.before_test, IalsSettings(dimension=8, sweeps=5), threads=1)
    fallback = scores["popularity all-time"]
    ours = rank_by_factors(task, factors.users, factors.items, fallback, warm).average_precisions(task, warm).mean()
    best = max(rank_by_popularity(task, each, warm).average_precisions(task, warm).mean() for each in scores.values())
    assert ours > 1.2 * best


def test_a_heavier_five_star_pulls_its_scores_up() -> None:
    plain = fit(DATA, IalsSettings(dimension=8, sweeps=4), threads=1)
    heavy = fit(DATA, IalsSettings(dimension=8, sweeps=4, five_star_weight=3.0, four_star_weight=0.3), threads=1)
    fives = DATA.where(DATA.rating == 5)

    def mean(users: np.ndarray, items: np.ndarray) -> float:
        return float((users[fives.user] * items[fives.item]).sum(1).mean())

    assert mean(heavy.users, heavy.items) > mean(plain.users, plain.items)


@pytest.mark.parametrize("threads", [1, 2])
def test_factors_are_finite_float32(threads: int) -> None:
    factors = fit(DATA, IalsSettings(dimension=4, sweeps=1), threads=threads)
    assert factors.users.dtype == factors.items.dtype == np.float32
    assert np.isfinite(factors.users).all()
