"""iALS: each half solves its side exactly, so the loss never rises; checked against numpy's own solver."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training import ials
from training.errors import TrainingError
from training.evaluate import PerUser
from training.ials import IalsSettings, fit
from training.popularity import family_scores
from training.split import split_by_time
from training.synthetic import synthetic_interactions
from training.task import Task, rank_by_factors, rank_by_popularity

DATA = synthetic_interactions(3, users=60, items=40, per_user=12)


@settings(max_examples=15)
@given(st.integers(1, 6), st.floats(0.01, 1), st.floats(0.1, 5), st.floats(0, 1), st.floats(0.1, 3), st.integers(0, 99))
def test_the_loss_never_rises(d: int, w: float, reg: float, exponent: float, five: float, seed: int) -> None:
    chosen = IalsSettings(
        dimension=d, sweeps=5, unobserved_weight=w, regularisation=reg, regularisation_exponent=exponent,
        weights={"5": five, "2": 0.5, "3": 0.05}, seed=seed,
    )  # fmt: skip
    losses = fit(DATA, chosen, threads=1).losses
    assert all(later <= earlier * (1 + 1e-5) for earlier, later in itertools.pairwise(losses))


def test_an_items_vector_solves_its_normal_equations() -> None:
    chosen = IalsSettings(dimension=4, sweeps=3, weights={"5": 1.7, "4": 0.3, "2": 0.5})
    factors = fit(DATA, chosen, threads=1)
    weight = {5: 1.7, 4: 0.3, 3: 0.0, 2: 0.5, 1: 0.0}
    users = factors.users.astype(np.float64)
    for item in (0, 7, 20):
        rows, stars = DATA.user[DATA.item == item], DATA.rating[DATA.item == item]
        weights = np.array([weight[int(each)] for each in stars])
        scale = (stars >= 4).sum() + 0.1 * len(DATA.user_ids)
        matrix = (users[rows] * weights[:, None]).T @ users[rows] + 0.1 * users.T @ users + np.eye(4) * scale**0.5
        expected = np.linalg.solve(matrix, (users[rows] * (weights * (stars >= 4))[:, None]).sum(0))
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


def test_a_user_with_dislikes_alone_has_the_zero_vector_also_where_nothing_regularises_it() -> None:
    """n = 0 and w = 0 make λ = 0: a system without a unique solution, of which zero is the smallest."""
    disliking = DATA.where((DATA.user != 5) | (DATA.rating < 4))
    assert (disliking.user == 5).any()
    chosen = IalsSettings(dimension=4, sweeps=2, unobserved_weight=0, weights={str(star): 1.0 for star in range(1, 6)})
    factors = fit(disliking, chosen, threads=1)
    assert not factors.users[5].any()
    assert np.isfinite(factors.items).all()


def test_on_made_up_tastes_it_beats_popularity() -> None:
    split = split_by_time(synthetic_interactions(4, users=400, items=120, per_user=25))
    task = Task.of(split.before_test, split.test)
    warm = sorted(task.warm)
    scores = family_scores(split.before_test, split.test_from_us)
    factors = fit(split.before_test, IalsSettings(dimension=8, sweeps=5), threads=1)
    fallback = scores["popularity all-time"]
    ours = PerUser.of(rank_by_factors(task, factors.users, factors.items, fallback, warm), task, warm)
    popular = [PerUser.of(rank_by_popularity(task, each, warm), task, warm) for each in scores.values()]
    assert ours.average_precision.mean() > 1.2 * max(each.average_precision.mean() for each in popular)


def test_a_heavier_five_star_pulls_its_scores_up() -> None:
    plain = fit(DATA, IalsSettings(dimension=8, sweeps=4), threads=1)
    heavy = fit(DATA, IalsSettings(dimension=8, sweeps=4, weights={"5": 3.0, "4": 0.3}), threads=1)
    fives = DATA.where(DATA.rating == 5)

    def mean(users: np.ndarray, items: np.ndarray) -> float:
        return float((users[fives.user] * items[fives.item]).sum(1).mean())

    assert mean(heavy.users, heavy.items) > mean(plain.users, plain.items)


@pytest.mark.parametrize("threads", [1, 2])
def test_factors_are_finite_float32(threads: int) -> None:
    factors = fit(DATA, IalsSettings(dimension=4, sweeps=1), threads=threads)
    assert factors.users.dtype == factors.items.dtype == np.float32
    assert np.isfinite(factors.users).all()


def test_an_observed_dislike_pulls_its_score_down() -> None:
    plain = fit(DATA, IalsSettings(dimension=8, sweeps=4), threads=1)
    told = fit(DATA, IalsSettings(dimension=8, sweeps=4, weights={"1": 2.0, "2": 2.0}), threads=1)
    disliked = DATA.where(DATA.rating <= 2)

    def mean(users: np.ndarray, items: np.ndarray) -> float:
        return float((users[disliked.user] * items[disliked.item]).sum(1).mean())

    assert mean(told.users, told.items) < mean(plain.users, plain.items)


def test_weights_of_one_for_positives_and_none_below_are_the_default() -> None:
    plain = fit(DATA, IalsSettings(dimension=4, sweeps=2), threads=1)
    told = fit(DATA, IalsSettings(dimension=4, sweeps=2, weights={"4": 1, "5": 1, "3": 0}), threads=1)
    assert plain.items.tobytes() == told.items.tobytes()


def test_without_a_positive_there_is_nothing_to_learn_from() -> None:
    with pytest.raises(TrainingError, match="no rating of 4 stars or more"):
        fit(DATA.where(DATA.rating < 4), IalsSettings(dimension=4), threads=1)


def test_a_fit_that_leaves_the_numbers_stops_with_sweep_and_setting() -> None:
    with pytest.raises(TrainingError, match=r"sweep 1: a row has no solution in float32. weights has 1e\+38"):
        fit(DATA, IalsSettings(dimension=4, sweeps=2, weights={"5": 1e38}), threads=1)


def test_a_loss_that_is_no_number_stops_with_sweep_and_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ials, "loss", lambda *_: float("nan"))
    with pytest.raises(TrainingError, match=r"sweep 1: the loss is nan. Raise regularisation \(1\)"):
        fit(DATA, IalsSettings(dimension=4, sweeps=2), threads=1)
