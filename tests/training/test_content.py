"""Content by hand: features of three films, a ridge regression against least squares, the hybrid of both."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from training import content
from training.content import ContentSettings, content_vectors, item_features
from training.errors import TrainingError
from training.evaluate import PerUser, lift
from training.genre_popularity import GENRE_POPULARITIES, genre_flags
from training.hybrid import parts
from training.ials import IalsSettings, fit, fold_in
from training.interactions import Movie
from training.layouts import Tag
from training.split import split_by_time
from training.synthetic import synthetic_interactions, synthetic_movies
from training.task import Task, rank_by_factors, rank_by_popularity

MOVIES = {
    "a": Movie("The Matrix", ("Action", "Sci-Fi"), 1999),
    "b": Movie("Matrix Reloaded, The", ("Action",), 2003),
    "c": Movie("Amélie", ("Comedy",), None),
}
IDS = ["a", "b", "c", "unknown"]
EVERY = ContentSettings(least_items=1)


def test_features_are_genres_decades_words_pairs_and_tags_that_enough_items_have() -> None:
    tags = [Tag("u", "a", "Slow motion", 1), Tag("v", "b", "slow", 2), Tag("v", "c", "Paris", 3)]
    found = item_features(IDS, MOVIES, tags, ContentSettings(least_items=2))
    assert found.names == ["genre:Action", "tag:slow", "word:matrix"]
    assert found.values.toarray().tolist() == [[1, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]]
    every = item_features(IDS, MOVIES, tags, EVERY)
    assert {"decade:1990", "decade:2000", "genre:Comedy", "tag:motion", "tag:paris"} <= set(every.names)
    assert "word:the" not in every.names
    # A pair names a series and counts double.
    pair = every.names.index("pair:matrix reloaded")
    assert every.values.toarray()[:, pair].tolist() == [0, 2, 0, 0]
    assert not item_features(IDS, MOVIES, [], ContentSettings(least_items=9)).names
    without = item_features(IDS, MOVIES, tags, ContentSettings(least_items=1, pair_value=0))
    assert not without.values.toarray()[:, pair].any()


def test_content_vectors_solve_the_weighted_ridge_equations() -> None:
    rng = np.random.default_rng(2)
    features = item_features(IDS, MOVIES, [], EVERY)
    vectors, positives = rng.normal(size=(4, 3)).astype(np.float32), np.array([4, 9, 0, 1])
    found = content_vectors(features, vectors, positives, regularisation=0.7)
    design = np.hstack([features.values.toarray(), np.ones((4, 1))])
    root = np.sqrt(np.sqrt(positives.astype(float)))[:, None]
    # The same minimum as ordinary least squares with √λ rows appended.
    stacked = np.vstack([root * design, np.sqrt(0.7) * np.eye(design.shape[1])])
    wanted = np.vstack([root * vectors, np.zeros((design.shape[1], 3))])
    expected = design @ np.linalg.lstsq(stacked, wanted, rcond=None)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_an_items_own_vector_does_not_matter_when_nobody_liked_it() -> None:
    features = item_features(IDS, MOVIES, [], EVERY)
    one, other = np.ones((4, 2), np.float32), np.ones((4, 2), np.float32)
    other[2] = 99
    positives = np.array([1, 1, 0, 1])
    np.testing.assert_array_equal(
        content_vectors(features, one, positives, 1.0), content_vectors(features, other, positives, 1.0)
    )
    with pytest.raises(ValueError, match="nothing to learn the content model from"):
        content_vectors(features, one, np.zeros(4, int), 1.0)


def test_without_any_feature_every_item_has_the_mean_vector() -> None:
    features = item_features(IDS, {}, [], EVERY)
    vectors = np.array([[1.0], [3.0], [9.0], [9.0]], np.float32)
    found = content_vectors(features, vectors, np.array([1, 1, 0, 0]), regularisation=1e-6)
    np.testing.assert_allclose(found, np.full((4, 1), 2.0), rtol=1e-5)


def test_equations_that_do_not_converge_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MOST_STEPS", 1)
    features = item_features(IDS, MOVIES, [], EVERY)
    vectors = np.random.default_rng(1).normal(size=(4, 2)).astype(np.float32)
    with pytest.raises(TrainingError, match=r"did not converge in 1 steps; raise content.regularisation \(0.1\)"):
        content_vectors(features, vectors, np.array([1, 2, 3, 4]), regularisation=0.1)


def test_fold_in_gives_a_fitted_users_vector_again() -> None:
    data = synthetic_interactions(3, users=60, items=40, per_user=12)
    settings = IalsSettings(dimension=8, sweeps=30)
    factors = fit(data, settings, threads=1)
    # After many sweeps users and items hold each other still.
    np.testing.assert_allclose(fold_in(data, factors.items, settings), factors.users, atol=0.02)


def test_a_hybrid_is_one_inner_product_and_finds_items_nobody_rated() -> None:
    data = synthetic_interactions(5, users=400, items=120, per_user=25)
    split = split_by_time(data)
    cold = np.arange(len(data.item_ids)) % 10 == 0
    before = split.before_test.where(~cold[split.before_test.item])
    later = split.test.where(cold[split.test.item])
    settings = IalsSettings(dimension=8, sweeps=5)
    factors = fit(before, settings, threads=1)
    movies = synthetic_movies(data)
    features = item_features(data.item_ids, movies, [], ContentSettings())
    halves = parts(before, factors, features, settings, ContentSettings(regularisation=1.0))
    hybrid = halves.weighted(0.7)
    user, item = 3, 11
    blend = 0.7 * factors.users[user] @ factors.items[item] + 0.3 * halves.z[user] @ halves.c[item]
    assert hybrid.users[user] @ hybrid.items[item] == pytest.approx(blend, rel=1e-4)
    # Factors know nothing of a cold item: its content stands for them, and for nobody else.
    assert not factors.items[cold].any()
    np.testing.assert_array_equal(halves.y[cold], halves.c[cold])
    np.testing.assert_array_equal(halves.y[~cold], factors.items[~cold])
    # Only cold items may be shown: content knows the group that a user likes, popularity of genres does not.
    task = dataclasses.replace(Task.of(before, later), candidates=cold)
    warm = sorted(task.warm)
    counts = np.bincount(before.positives.item, minlength=len(cold)).astype(float)
    baseline = GENRE_POPULARITIES["same genres, shrunk mean"](genre_flags(data.item_ids, movies), counts, ~cold)
    ours = PerUser.of(rank_by_factors(task, hybrid.users, hybrid.items, baseline, warm), task, warm)
    theirs = PerUser.of(rank_by_popularity(task, baseline, warm), task, warm)
    assert lift(ours.average_precision, theirs.average_precision, "genre popularity", 1).lower > 0
