"""References by hand and by definition: EASE against its own optimality condition, item-kNN on three films."""

from __future__ import annotations

import numpy as np
import pytest

from training.interactions import from_columns
from training.references import ease, item_knn
from training.split import split_by_time
from training.synthetic import synthetic_interactions
from training.task import Task

USERS = np.array(["u", "u", "v", "v", "w", "w"])
ITEMS = np.array(["a", "b", "a", "b", "a", "c"])
DATA = from_columns(USERS, ITEMS, np.full(6, 5.0), np.arange(6))


def dense() -> np.ndarray:
    return np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1]], float)


def test_item_knn_by_hand() -> None:
    model = item_knn(DATA, neighbours=10, shrinkage=1.0)
    # a and b share two of three and two users; a and c one of three and one.
    assert model.similarity[0, 1] == pytest.approx(2 / (np.sqrt(6) + 1))
    assert model.similarity[0, 2] == pytest.approx(1 / (np.sqrt(3) + 1))
    assert model.similarity[1, 2] == 0
    assert not np.diag(model.similarity).any()


def test_item_knn_keeps_the_nearest_per_candidate() -> None:
    model = item_knn(DATA, neighbours=1, shrinkage=0.0)
    assert (model.similarity > 0).sum(0).tolist() == [1, 1, 1]
    assert model.similarity[1, 0] > 0


def test_ease_is_the_minimum_under_a_zero_diagonal() -> None:
    """argmin |X − XB|² + λ|B|² with diag(B) = 0: off the diagonal the gradient vanishes (Steck 2019, eq. 3)."""
    lam = 0.5
    b = ease(DATA, lam).similarity.astype(float)
    gradient = -dense().T @ (dense() - dense() @ b) + lam * b
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(gradient[off], 0, atol=1e-6)
    assert not np.diag(b).any()


def test_warm_users_get_the_model_and_cold_ones_the_fallback() -> None:
    split = split_by_time(synthetic_interactions(6, users=200, items=60, per_user=15))
    task = Task.of(split.before_test, split.test)
    fallback = np.arange(60, 0, -1).astype(float)
    users = sorted(task.relevant)
    model = ease(split.before_test, 10.0)
    lists = model.rank(task, fallback, users).lists
    cold = [user for user in users if user not in task.warm]
    assert cold
    for user in cold:
        assert (
            lists[user]
            == sorted(set(range(60)) - set(task.seen.get(user, []).tolist() if user in task.seen else []))[:20]
        )
    warm = next(iter(task.warm))
    scores = model.similarity[model.liked[warm]].sum(0)
    assert lists[warm][0] == max(
        (item for item in range(60) if item not in set(task.seen[warm]) and task.candidates[item]),
        key=lambda item: (scores[item], -item),
    )


def test_too_many_items_for_a_square_matrix_are_refused() -> None:
    ids = np.array([f"i{n}" for n in range(30_001)])
    with pytest.raises(ValueError, match="30,001 items"):
        ease(from_columns(ids, ids, np.full(30_001, 5.0), np.arange(30_001)), 1.0)
