"""The rungs of the catalogue alone: a profile by hand, popularity of late or of all time, and never too few items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bentos.bundle import load_bundle
from bentos.catalogue import RECENT_LEAST
from bentos.fallback import CONTENT, Fallback
from bentos.history import History
from tests.bentos.bundles import synthetic_bundle
from training.data_set import DataSet
from training.experiment import read_experiment
from training.export import export_bundle
from training.model import Fitted
from training.movielens import ML_1M
from training.popularity import cold_scores
from training.settings import TrainingSettings
from training.task import Task, rank_by_popularity

GENRES = [["Drama"], ["Drama"], ["Comedy"], [], ["Comedy", "Drama"]]
POPULARITY = np.array([100, 50, 80, 60, 0])


def fallback_of(directory: Path, **columns: object) -> Fallback:
    items = len(next(iter(columns.values())))  # type: ignore[arg-type]
    synthetic_bundle(directory / "bundle", items=items, columns=columns)
    return Fallback(load_bundle(directory / "bundle"))


@pytest.fixture
def five(tmp_path: Path) -> Fallback:
    return fallback_of(tmp_path, genres=GENRES, popularity=POPULARITY, recent_popularity=POPULARITY * 0)


def liked(*rows: int) -> History:
    return History(frozenset(rows), np.array(rows), np.full(len(rows), 5.0))


def test_a_profile_by_hand(five: Fallback) -> None:
    """Popular are 150 parts drama and 80 comedy; the user liked one drama, and starts from twenty average items."""
    drama, comedy = 150 / 230, 80 / 230
    more = (1 + 20 * drama) / 21 / drama
    less = (20 * comedy) / 21 / comedy
    found = five.content(liked(0), 5)
    assert found.source == CONTENT
    assert found.rows.tolist() == [2, 3, 1, 4]
    np.testing.assert_allclose(found.scores, [80 * less, 60, 50 * more, 0])


def test_what_was_seen_and_not_liked_counts_half(five: Fallback) -> None:
    seen = five.content(History(frozenset({0})), 5)
    disliked = five.content(History(frozenset({0}), np.array([0]), np.array([1.0])), 5)
    drama = 150 / 230
    assert seen.scores.tolist() == disliked.scores.tolist()
    np.testing.assert_allclose(seen.scores[seen.rows == 1], 50 * (0.5 + 20 * drama) / 20.5 / drama)


def test_who_likes_only_one_genre_gets_it_before_what_is_more_popular(tmp_path: Path) -> None:
    genres = [["Drama"]] * 30 + [["Horror"]] * 30
    found = fallback_of(tmp_path, genres=genres, popularity=np.r_[np.full(30, 90), np.full(30, 60)],
                        recent_popularity=np.zeros(60, int))  # fmt: skip
    assert (found.content(liked(*range(30, 45)), 15).rows >= 45).all()


@pytest.mark.parametrize(("tenth", "source", "first"), [(RECENT_LEAST, "popular_recent", 9), (199, "popular", 0)])
def test_popularity_of_late_answers_only_when_it_is_known_well_enough(
    tmp_path: Path, tenth: int, source: str, first: int
) -> None:
    recent = np.r_[np.full(9, 300), 500, tenth, 0]
    recent[1] = tenth
    found = fallback_of(tmp_path, popularity=np.arange(12, 0, -1) * 1_000, recent_popularity=recent)
    answer = found.popular(3, frozenset())
    assert (answer.source, answer.rows[0]) == (source, first)
    assert found.popular(3, frozenset({first})).rows[0] != first


@given(st.sets(st.integers(0, 39)), st.sets(st.integers(0, 39)), st.integers(1, 60))
def test_exactly_what_is_unseen_in_an_order_that_does_not_change(
    forty: Fallback, seen: set[int], rated: set[int], k: int
) -> None:
    history = History(frozenset(seen | rated), np.array(sorted(rated), np.int64), np.resize([5.0, 1.0], len(rated)))
    for answer in (forty.content(history, k), forty.popular(k, history.seen)):
        assert len(answer.rows) == len(set(answer.rows.tolist())) == min(k, 40 - len(history.seen))
        assert not set(answer.rows.tolist()) & history.seen
        assert (np.diff(answer.scores) <= 0).all()
        assert np.isfinite(answer.scores).all()
    assert forty.content(history, k).rows.tolist() == forty.content(history, k).rows.tolist()


@pytest.fixture(scope="module")
def forty(tmp_path_factory: pytest.TempPathFactory) -> Fallback:
    genres = [[["Drama"], ["Comedy", "Drama"], [], ["Noir"]][row % 4] for row in range(40)]
    return fallback_of(tmp_path_factory.mktemp("forty"), genres=genres)


@pytest.mark.data
def test_a_user_of_whom_nothing_is_known_gets_what_evaluation_gives(movielens: Path, tmp_path: Path) -> None:
    stored = TrainingSettings.load()
    data = DataSet.read(movielens, stored.data_dir, ML_1M.digest)
    before, cut_us = data.fitting("train")
    experiment = read_experiment(Path(__file__).parents[2] / "training" / "configs" / "champion.toml")
    items = [before.item_ids[row] for row in np.unique(before.item)]
    # Popularity needs no factors.
    fitted = Fitted(items, np.zeros((len(items), 64), np.float32), np.zeros((len(before.user_ids), 64), np.float32), [])
    export_bundle(tmp_path / "bundle", experiment, fitted, before, data.movies, cut_us, {})
    bundle = load_bundle(tmp_path / "bundle")
    task = Task.of(before, data.split.validation)
    cold = sorted(task.relevant.keys() - task.warm)[:1]
    offline = rank_by_popularity(task, cold_scores(before, cut_us), cold).lists[cold[0]]
    online = Fallback(bundle).popular(20, frozenset()).rows
    assert [bundle.item_ids[row] for row in online] == [before.item_ids[row] for row in offline]
