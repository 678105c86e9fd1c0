"""Evaluation by hand on three users, and against the research note on the real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.stats

from analysis.lists import head_mask
from bentos.index import build
from bentos.retrieval import search
from training.evaluate import RAREFIED, PerUser, best_of, lift, write_per_user
from training.ials import IalsSettings, fit
from training.interactions import Interactions, Movie
from training.layouts import Layout
from training.popularity import family_scores
from training.ratings import read_ratings
from training.settings import TrainingSettings
from training.split import split_by_time
from training.task import Ranking, Task, rank_by_factors, rank_by_popularity, top

ITEMS = ["a", "b", "c", "d"]


def rated(*rows: tuple[int, int, int]) -> Interactions:
    """Rows (user, item, stars) of the users x, y, z."""
    user, item, stars = (np.array(each) for each in zip(*rows, strict=True))
    return Interactions(
        ["x", "y", "z"], ITEMS, user.astype(np.int32), item.astype(np.int32), stars.astype(np.float32),
        np.arange(len(rows), dtype=np.int64),
    )  # fmt: skip


BEFORE = rated((0, 0, 5), (0, 1, 2), (1, 0, 4), (1, 2, 4))
LATER = rated((0, 2, 5), (1, 1, 5), (1, 3, 4), (2, 0, 4), (2, 1, 3))


def task_of_many(users: int) -> tuple[Interactions, Interactions]:
    """Before: everybody rated a, b and c; later: everybody liked d."""

    def by_all(items: list[int]) -> Interactions:
        user, item = np.repeat(np.arange(users), len(items)), np.tile(items, users)
        ids = [f"{each:03}" for each in range(users)]
        stars, times = np.full(len(user), 5, np.float32), np.arange(len(user))
        return Interactions(ids, ITEMS, user.astype(np.int32), item.astype(np.int32), stars, times)

    return by_all([0, 1, 2]), by_all([3])


def test_who_is_asked_what() -> None:
    task = Task.of(BEFORE, LATER)
    assert task.relevant == {0: {2}, 1: {1, 3}, 2: {0}}
    assert task.warm == {0, 1}
    assert task.candidates.tolist() == [True, True, True, False]


def test_lists_leave_out_the_seen_and_break_ties_by_id() -> None:
    task = Task.of(BEFORE, LATER)
    ranking = rank_by_popularity(task, np.array([2.0, 0.0, 1.0, 9.0]), [0, 1, 2])
    assert ranking.lists == {0: [2], 1: [1], 2: [0, 2, 1]}
    tied = rank_by_popularity(task, np.zeros(4), [2])
    assert tied.lists == {2: [0, 1, 2]}


def test_equal_scores_of_a_model_are_in_the_order_of_ids() -> None:
    """By hand: all four are candidates, b and d score 1, a and c 0; x has seen a, z nothing."""
    task = Task.of(rated((0, 0, 5), (1, 1, 4), (1, 2, 4), (1, 3, 4)), LATER)
    scores = np.array([0.0, 1.0, 0.0, 1.0])
    assert top(scores, task, 2) == [1, 3, 0, 2]
    assert top(scores, task, 0) == [1, 3, 2]
    vectors = scores[:, None].astype(np.float32)
    assert rank_by_factors(task, np.ones((3, 1), np.float32), vectors, np.zeros(4), [0, 2]).lists == {
        0: [1, 3, 2],
        2: [1, 3, 0, 2],
    }


def test_metrics_by_hand() -> None:
    task = Task.of(BEFORE, LATER)
    ranking = rank_by_popularity(task, np.array([2.0, 0.0, 1.0, 9.0]), [0, 1, 2])
    metrics = PerUser.of(ranking, task, [0, 1, 2]).metrics(task)
    # x: 1; y: one hit of two possible, d was never seen before the cut, so 1/2; z: 1.
    assert metrics.map_at_10 == pytest.approx((1 + 0.5 + 1) / 3)
    assert metrics.recall_at_20 == pytest.approx((1 + 0.5 + 1) / 3)
    assert metrics.coverage_at_10 == 1.0


def test_the_numbers_of_every_user_are_kept_with_their_lists(tmp_path: Path) -> None:
    task = Task.of(BEFORE, LATER)
    scored = PerUser.of(rank_by_popularity(task, np.array([2.0, 0.0, 1.0, 9.0]), [0, 1, 2]), task, [0, 1, 2])
    path = tmp_path / "users.parquet"
    assert write_per_user(path, {"popular": scored}, task, ["x", "y", "z"], ITEMS) == 3
    rows = pq.read_table(path).to_pylist()
    assert [row["user_id"] for row in rows] == ["x", "y", "z"]
    assert [row["warm"] for row in rows] == [True, True, False]
    assert [row["relevant"] for row in rows] == [1, 2, 1]
    assert [row["items"] for row in rows] == [["c"], ["b"], ["a", "c", "b"]]
    assert [row["average_precision"] for row in rows] == [1.0, 0.5, 1.0]


def test_the_whole_set_of_lists_by_hand() -> None:
    movies = {"a": Movie("A", ("x",), None), "b": Movie("B", ("y",), None), "c": Movie("C", ("x",), None)}
    task = Task.of(BEFORE, LATER, movies)
    scored = PerUser.of(rank_by_popularity(task, np.array([2.0, 0.0, 1.0, 9.0]), [0, 1, 2]), task, [0, 1, 2])
    found = scored.metrics(task)
    # Shown: a once, b twice, c twice, over the three items known before the cut.
    assert found.gini_at_10 == pytest.approx((-2 * 1 + 0 * 2 + 2 * 2) / (3 * 5))
    assert found.coverage_at_10_of_500 is None
    # Positives before the cut: a two, c one, of two users; b counts as one.
    assert scored.novelty.tolist() == pytest.approx([1, 1, (0 + 1 + 1) / 3])
    assert scored.diversity.tolist() == pytest.approx([0, 0, 2 / 3])
    assert scored.where(frozenset({2})).users == [2]


def test_an_item_that_nobody_rated_is_of_the_tail_and_no_share_of_the_catalogue() -> None:
    """By hand: d, which a hybrid shows, is unrated. Of the three others c alone is shown."""
    task = Task.of(BEFORE, LATER)
    found = PerUser.of(Ranking({0: [2, 3], 1: [3, 2]}), task, [0, 1]).metrics(task)
    assert found.coverage_at_10 == pytest.approx(1 / 3)
    # Two of three items are not shown.
    assert found.gini_at_10 == pytest.approx(2 / 3)
    # d is half of all slots, and the tail is that of a bundle's catalogue: every item outside the head, a.
    assert found.long_tail_share_at_10 == 1.0
    assert head_mask(task.liked_by).tolist() == [True, False, False, False]
    # What stands behind the first ten does not move up into them.
    beyond = PerUser.of(Ranking({0: [3] * 10 + [1], 1: [2]}), task, [0, 1]).metrics(task)
    assert beyond.coverage_at_10 == pytest.approx(1 / 3)


def test_rarefied_coverage_is_of_the_items_rated_before() -> None:
    """All lists are alike, so that any sample shows what all of them show: c, and d, which nobody rated."""
    before, later = task_of_many(RAREFIED)
    task = Task.of(before, later)
    found = PerUser.of(Ranking({user: [2, 3] for user in range(RAREFIED)}), task, range(RAREFIED)).metrics(task)
    assert found.coverage_at_10_of_500 == found.coverage_at_10 == pytest.approx(1 / 3)


def test_users_without_a_vector_get_the_fallback_and_others_the_model() -> None:
    task = Task.of(BEFORE, LATER)
    items = np.array([[0, 0], [1, 0], [0, 1], [0, 0]], np.float32)
    users = np.array([[0, 1], [1, 0], [0, 0]], np.float32)
    ranking = rank_by_factors(task, users, items, np.array([0.0, 0.0, 5.0, 0.0]), [0, 1, 2])
    assert ranking.lists == {0: [2], 1: [1], 2: [2, 0, 1]}


def test_who_liked_something_by_the_model_alone_gets_the_models_list() -> None:
    """Cold by the protocol, but the bundle has a vector, so that is what the service answers by."""
    task = Task.of(BEFORE, LATER)
    assert 2 not in task.warm
    items = np.array([[0, 0], [1, 0], [0, 0.5], [0, 0]], np.float32)
    users = np.array([[0, 1], [1, 0], [1, 1]], np.float32)
    assert rank_by_factors(task, users, items, np.array([5.0, 0.0, 0.0, 0.0]), [2]).lists == {2: [1, 2, 0]}


def test_a_warm_user_without_a_vector_gets_the_fallback_and_not_the_first_ids() -> None:
    """Who liked something by the protocol but nothing by the model: the service has no vector either."""
    task = Task.of(BEFORE, LATER)
    items, users = np.ones((4, 2), np.float32), np.array([[0, 0], [1, 0], [0, 0]], np.float32)
    ranking = rank_by_factors(task, users, items, np.array([0.0, 0.0, 5.0, 7.0]), [0, 1])
    assert ranking.lists == {0: [2], 1: [1]}
    assert rank_by_factors(task, users, items, np.array([1.0, 2.0, 3.0, 0.0]), [2]).lists == {2: [2, 1, 0]}


def test_lists_are_those_of_the_services_search_where_scores_differ_by_rounding_alone() -> None:
    """Items of the same 64 numbers in other orders: equal by algebra, so the order is that of the float32 sums."""
    rng = np.random.default_rng(1)
    numbers = rng.standard_normal(64).astype(np.float32)
    items = np.stack([rng.permutation(numbers) for _ in range(200)])
    users = np.ones((8, 64), np.float32) * rng.uniform(0.5, 2, (8, 1)).astype(np.float32)
    seen = {user: np.arange(user, dtype=np.int32) for user in range(8)}
    task = Task({}, seen, np.ones(200, bool), frozenset(), frozenset(), np.zeros(200, np.int64), 8)
    index = build(items)
    online = {user: search(index, users[user], 20, frozenset(range(user)))[0].tolist() for user in range(8)}
    assert rank_by_factors(task, users, items, np.zeros(200), list(range(8))).lists == online


def test_the_interval_of_a_lift_agrees_with_scipys_paired_bootstrap() -> None:
    rng = np.random.default_rng(2)
    baseline = rng.beta(1, 6, 400)
    model = np.clip(baseline * 1.2 + rng.normal(0, 0.1, 400), 0, 1)
    ours = lift(model, baseline, "popularity", seed=3)
    theirs = scipy.stats.bootstrap(
        (model, baseline), lambda m, b, axis=-1: m.mean(axis) / b.mean(axis) - 1, paired=True, method="percentile",
        n_resamples=5000, rng=rng, vectorized=True,
    ).confidence_interval  # fmt: skip
    assert ours.relative == pytest.approx(model.mean() / baseline.mean() - 1)
    assert (ours.lower, ours.upper) == (pytest.approx(theirs.low, abs=0.01), pytest.approx(theirs.high, abs=0.01))


def test_the_best_of_a_family_has_the_highest_mean() -> None:
    assert best_of({"a": np.array([0.0, 0.5]), "b": np.array([0.6, 0.0]), "c": np.array([0.2, 0.2])}) == "b"


def test_a_baseline_of_zeros_has_no_lift() -> None:
    with pytest.raises(ValueError, match="no lift over it"):
        lift(np.ones(3), np.zeros(3), "nothing", seed=1)


@pytest.mark.data
def test_the_anchors_of_the_research_note_are_reached(movielens: Path) -> None:
    split = split_by_time(read_ratings(movielens / "ratings.dat", Layout.of(movielens)))
    task = Task.of(split.before_test, split.test)
    warm = sorted(task.warm)
    scores = family_scores(split.before_test, split.test_from_us)
    rankings = {name: rank_by_popularity(task, each, warm) for name, each in scores.items()}
    threads = TrainingSettings.load().torch_threads
    factors = fit(split.before_test, IalsSettings(), threads)
    model = rank_by_factors(task, factors.users, factors.items, scores["popularity all-time"], warm)
    metrics = PerUser.of(model, task, warm).metrics(task)
    # Research note recsys §2b, last row of the table: 1,157 warm users, popularity .1287, iALS-64 .1581 / .2559.
    assert metrics.users == 1157
    popular = PerUser.of(rankings["popularity all-time"], task, warm)
    assert popular.average_precision.mean() == pytest.approx(0.1287, abs=0.002)
    assert metrics.map_at_10 == pytest.approx(0.1581, abs=0.002)
    assert metrics.ndcg_at_10 == pytest.approx(0.2559, abs=0.002)
