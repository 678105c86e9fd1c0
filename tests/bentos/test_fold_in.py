"""Folding a user in is half a sweep of training: by hand, then against `training.ials` on made-up and on real data."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bentos.fold_in import FoldIn, FoldInSettings
from bentos.payload import fold_in_problem
from tests.bentos.bundles import FOLD_IN
from training import ials
from training.content import ContentSettings
from training.data_set import DataSet
from training.experiment import Experiment
from training.export import fold_in_settings
from training.ials import IalsSettings
from training.interactions import Interactions
from training.model import fit_model
from training.movielens import ML_1M
from training.settings import TrainingSettings
from training.synthetic import synthetic_interactions, synthetic_movies

DATA = synthetic_interactions(3, users=60, items=40, per_user=12)
STARS = np.arange(1, 11) / 2


def solver_of(experiment: Experiment, items: np.ndarray, before: Interactions) -> FoldIn:
    known = np.bincount(before.item, minlength=len(before.item_ids)) > 0
    found = fold_in_settings(experiment)
    assert fold_in_problem(found, items.shape[1]) is None
    return FoldIn(found, items, known)


def solved(solver: FoldIn, before: Interactions, user: int, dimension: int) -> np.ndarray:
    mine = before.user == user
    found = solver.solve(before.item[mine].astype(np.int64), before.rating[mine])
    return np.zeros(dimension, np.float32) if found is None else found


def test_by_hand() -> None:
    chosen = FoldInSettings(
        dimension=1, unobserved_weight=0.5, regularisation=2.0, regularisation_exponent=1.0, positive=4.0,
        weights={"5": 3.0, "2": 1.0},
    )  # fmt: skip
    items = np.array([[2.0], [1.0], [4.0], [9.0]], np.float32)
    solver = FoldIn(chosen, items, np.array([True, True, True, False]))
    # Five stars for 2, two for 1, three for 4 (no weight), five for an item without an interaction (left out).
    found = solver.solve(np.array([0, 1, 2, 3]), np.array([5.0, 2.0, 3.0, 5.0]))
    gram, penalty = 0.5 * (4 + 1 + 16), 2.0 * (1 + 0.5 * 3)
    np.testing.assert_allclose(found, [3 * 2 / (3 * 4 + 1 * 1 + gram + penalty)], rtol=1e-6)


@pytest.mark.parametrize("ratings", [[], [1.0], [3.0, 2.0]])
def test_without_a_positive_there_is_nothing_to_solve(ratings: list[float]) -> None:
    solver = FoldIn(FOLD_IN, np.ones((4, 8), np.float32), np.ones(4, np.bool_))
    assert solver.solve(np.arange(len(ratings)), np.array(ratings)) is None


def test_a_positive_on_an_item_without_factors_is_none() -> None:
    solver = FoldIn(FOLD_IN, np.ones((4, 8), np.float32), np.array([True, True, True, False]))
    assert solver.solve(np.array([3]), np.array([5.0])) is None


def test_what_has_no_solution_is_none_and_no_error() -> None:
    chosen = msgspec.structs.replace(FOLD_IN, dimension=2, unobserved_weight=0.0, regularisation=1e-300)
    solver = FoldIn(chosen, np.ones((4, 2), np.float32), np.ones(4, np.bool_))
    assert solver.solve(np.array([0, 1]), np.array([5.0, 5.0])) is None


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 6), st.floats(0, 1), st.floats(0.1, 5), st.floats(0, 1), st.sampled_from([3.0, 4.0]),
    st.dictionaries(st.sampled_from(["1", "2", "3", "4", "5"]), st.floats(0, 3)), st.integers(0, 99),
)  # fmt: skip
def test_any_settings_solve_as_training_does(
    dimension: int, unobserved: float, reg: float, exponent: float, positive: float, weights: dict, seed: int
) -> None:
    chosen = IalsSettings(
        dimension=dimension, unobserved_weight=unobserved, regularisation=reg, regularisation_exponent=exponent,
        positive=positive, weights=weights | {"5": 1.5},
    )  # fmt: skip
    before = DATA.where(DATA.item != 7)
    items = np.random.default_rng(seed).standard_normal((len(DATA.item_ids), dimension)).astype(np.float32)
    theirs = ials.fold_in(before, items, chosen)
    solver = solver_of(Experiment(name="any", about="", ials=chosen), items, before)
    for user in range(0, 60, 7):
        np.testing.assert_allclose(solved(solver, before, user, dimension), theirs[user], rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_a_hybrids_content_half_is_solved_against_the_content(share: float) -> None:
    movies = synthetic_movies(DATA)
    before = DATA.where(DATA.item != 7)
    experiment = Experiment(
        name="hybrid", about="", ials=IalsSettings(dimension=4, sweeps=3), content=ContentSettings(weight=share)
    )
    fitted = fit_model(before, movies, experiment, threads=1)
    assert fitted.item_ids == DATA.item_ids
    solver = solver_of(experiment, fitted.items, before)
    for user in (0, 9, 31):
        found = solved(solver, before, user, 8)
        if share < 1:
            # z is a fold-in in training too; x there was solved before the last half of a sweep, which moved the items.
            np.testing.assert_allclose(found[4:], fitted.users[user, 4:], rtol=2e-3, atol=2e-5)
        if share > 0:
            y = fitted.items[:, :4] / np.float32(share)
            np.testing.assert_allclose(found[:4], ials.fold_in(before, y, experiment.ials)[user], rtol=2e-3, atol=2e-5)


@pytest.mark.data
@pytest.mark.parametrize("content", [None, ContentSettings()])
def test_real_users_have_training_s_vector_and_training_s_first_ten(
    movielens: Path, content: ContentSettings | None
) -> None:
    stored = TrainingSettings.load()
    data = DataSet.read(movielens, stored.data_dir, ML_1M.digest)
    before = data.split.train
    weights = {"1": 1.0, "2": 1.0, "3": 0.1, "4": 0.5, "5": 2.0}
    experiment = Experiment(name="real", about="", ials=IalsSettings(sweeps=2, weights=weights), content=content)
    fitted = fit_model(before, data.movies, experiment, stored.torch_threads)
    items = fitted.items_of(before.item_ids)
    solver = solver_of(experiment, items, before)
    share = np.float32(content.weight if content else 1)
    theirs = ials.fold_in(before, items[:, :64] / share, experiment.ials)
    if content:
        theirs = np.hstack([theirs, fitted.users[:, 64:]])
    users = np.unique(before.user)[::50]
    for user in users:
        ours = solved(solver, before, user, items.shape[1])
        np.testing.assert_allclose(ours, theirs[user], rtol=1e-2, atol=1e-4)
        first, expected = (np.argsort(-(items @ vector), kind="stable")[:10] for vector in (ours, theirs[user]))
        assert first.tolist() == expected.tolist()


@pytest.mark.parametrize("weights", [{"five": 1.0}, {"5": -1.0}, {"5": float("inf")}])
def test_weights_that_training_could_not_have_are_refused(weights: dict[str, float]) -> None:
    document = msgspec.to_builtins(FOLD_IN) | {"weights": weights}
    with pytest.raises(msgspec.ValidationError, match="weights"):
        msgspec.convert(document, FoldInSettings)
