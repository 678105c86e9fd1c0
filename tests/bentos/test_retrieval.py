"""Search: never a seen item, never fewer than there are, scores are inner products."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bentos.index import build
from bentos.retrieval import most_popular, search

VECTORS = np.random.default_rng(5).standard_normal((30, 4)).astype(np.float32)
INDEX, _ = build(VECTORS)
queries = st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4).map(lambda each: np.array(each, np.float32))
seen_rows = st.sets(st.integers(0, 29))


def test_by_hand() -> None:
    index, _ = build(np.array([[1, 0], [0, 1], [2, 0], [2, 0]], np.float32))
    rows, scores = search(index, np.array([1, 0], np.float32), 3, {0})
    assert rows.tolist() == [2, 3, 1]
    assert scores.tolist() == [2, 2, 0]


@given(queries, st.integers(1, 40), seen_rows)
def test_the_best_unseen_items_come_in_order(query: np.ndarray, k: int, seen: set[int]) -> None:
    rows, scores = search(INDEX, query, k, seen)
    assert len(rows) == min(k, 30 - len(seen))
    assert not set(rows.tolist()) & seen
    assert len(set(rows.tolist())) == len(rows)
    np.testing.assert_allclose(scores, VECTORS[rows] @ query, atol=1e-4)
    assert (np.diff(scores) <= 0).all()
    unseen = [row for row in range(30) if row not in seen and row not in set(rows.tolist())]
    if len(rows) and unseen:
        assert scores[-1] >= (VECTORS[unseen] @ query).max() - 1e-4


@given(st.permutations(range(20)), st.integers(1, 25), st.sets(st.integers(0, 19)))
def test_popularity_keeps_its_order_without_the_seen(order: list[int], k: int, seen: set[int]) -> None:
    rows = most_popular(np.array(order), k, seen)
    assert rows.tolist() == [row for row in order if row not in seen][:k]
