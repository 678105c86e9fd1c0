"""Search: never a seen item, never fewer than there are, scores are inner products; with every kind of index."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bentos.index import Kind, VectorIndex, build
from bentos.index_kinds import SQ8, Flat
from bentos.index_lists import IvfL2
from bentos.retrieval import exact, most_popular, propose_many, search, search_many
from tests.bentos.indexes import KINDS

ITEMS, DIMENSION = 400, 4


def vectors() -> np.ndarray:
    """Norms over two decades, each of the first hundred rows twice, and some zeros."""
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((ITEMS, DIMENSION)) * 10 ** rng.uniform(-1, 1, (ITEMS, 1))
    rows[200:300] = rows[:100]
    rows[390:] = 0
    return rows.astype(np.float32)


VECTORS = vectors()


@cache
def made(kind: Kind) -> VectorIndex:
    return build(VECTORS, kind)


kinds = st.sampled_from(KINDS)
queries = st.lists(st.floats(-3, 3, width=32), min_size=4, max_size=4).map(lambda each: np.array(each, np.float32))
counts = st.one_of(st.integers(1, 30), st.integers(1, ITEMS + 20))
seen_rows = st.one_of(
    st.frozensets(st.integers(0, ITEMS - 1), max_size=30),
    st.integers(0, ITEMS).map(lambda most: frozenset(range(most))),
    st.integers(0, 5).map(lambda left: frozenset(range(left, ITEMS))),
)


def best(query: np.ndarray, k: int, seen: frozenset[int]) -> list[int]:
    """By sorting everything."""
    scores = np.vecdot(VECTORS, query)
    return [row for row in sorted(range(ITEMS), key=lambda row: (-scores[row], row)) if row not in seen][:k]


def test_by_hand() -> None:
    index = build(np.array([[1, 0], [0, 1], [2, 0], [2, 0]], np.float32))
    rows, scores = search(index, np.array([1, 0], np.float32), 3, {0})
    assert rows.tolist() == [2, 3, 1]
    assert scores.tolist() == [2, 2, 0]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_an_index_over_one_vector_or_none(kind: Kind) -> None:
    one = build(np.array([[3, 4]], np.float32), kind)
    assert [part.tolist() for part in search(one, np.array([1, 1], np.float32), 10, ())] == [[0], [7]]
    assert search(one, np.array([1, 1], np.float32), 10, {0})[0].tolist() == []


def test_an_exact_index_over_nothing_finds_nothing() -> None:
    rows, scores = search(build(np.empty((0, 3), np.float32)), np.ones(3, np.float32), 10, ())
    assert (rows.tolist(), scores.tolist()) == ([], [])


@settings(max_examples=400)
@given(kinds, queries, counts, seen_rows)
def test_every_kind_keeps_the_promises(kind: Kind, query: np.ndarray, k: int, seen: frozenset[int]) -> None:
    rows, scores = search(made(kind), query, k, seen)
    assert len(rows) == min(k, ITEMS - len(seen))
    assert rows.dtype == np.int64
    assert ((rows >= 0) & (rows < ITEMS)).all()
    assert not set(rows.tolist()) & seen
    assert len(set(rows.tolist())) == len(rows)
    np.testing.assert_allclose(scores, VECTORS[rows].astype(float) @ query.astype(float), rtol=1e-5, atol=1e-4)
    assert rows.tolist() == [row for _, row in sorted(zip((-scores).tolist(), rows.tolist(), strict=True))]


@settings(max_examples=200)
@given(queries, counts, seen_rows)
def test_an_exact_index_finds_the_best_with_ties_by_row(query: np.ndarray, k: int, seen: frozenset[int]) -> None:
    rows, scores = search(made(Flat()), query, k, seen)
    assert rows.tolist() == best(query, k, seen)
    same_rows, same_scores = exact(VECTORS, query, k, seen)
    assert same_rows.tolist() == rows.tolist()
    assert same_scores.tobytes() == scores.tobytes()


@settings(max_examples=100)
@given(kinds, st.lists(st.tuples(queries, counts, seen_rows), min_size=1, max_size=40))
def test_a_batch_gets_what_each_gets_alone(kind: Kind, asked: list[tuple[np.ndarray, int, frozenset[int]]]) -> None:
    together = np.array([query for query, _, _ in asked])
    found = search_many(made(kind), together, [k for _, k, _ in asked], [seen for _, _, seen in asked])
    for (rows, scores), (query, k, seen) in zip(found, asked, strict=True):
        alone = search(made(kind), query, k, seen)
        assert rows.tolist() == alone[0].tolist()
        assert scores.tobytes() == alone[1].tobytes()


def test_a_batch_asks_the_index_once_for_all_that_fetch_equally_many() -> None:
    class Counted:
        calls = 0

        def search(self, *arguments: object) -> object:
            self.calls += 1
            return index.faiss.search(*arguments)

    index, counted = made(SQ8()), Counted()
    watched = VectorIndex(index.kind, index.vectors, index.largest_norm, counted)
    search_many(watched, VECTORS[:256], [10] * 256, [frozenset(range(size % 30)) for size in range(256)])
    assert counted.calls == 1


def test_the_index_is_asked_again_for_four_times_as_many_until_enough_are_unseen() -> None:
    """By hand: 26 unseen are wanted, so 4 · 26 rounded up to 128 rows are fetched first, then all 400."""
    query = np.ones(4, np.float32)
    best_rows = best(query, ITEMS, frozenset())
    for count, asked in ((0, 1), (102, 1), (103, 2), (ITEMS - 5, 2)):
        seen = frozenset(best_rows[:count])
        proposed = propose_many(made(Flat()), query.reshape(1, -1), [10], [seen])[0]
        assert proposed.asked == asked
        assert len(proposed.rows) == min(26, ITEMS - count)
        assert not set(proposed.rows) & seen


def test_an_index_that_has_no_more_is_not_asked_again() -> None:
    index = build(VECTORS, IvfL2(nlist=10, nprobe=1))
    query = np.ones(4, np.float32)
    read = index.propose(query.reshape(1, -1), 128)[0]
    assert read[-1] < 0
    assert propose_many(index, query.reshape(1, -1), [10], [frozenset(read[read >= 0].tolist())])[0] == ([], 1)


def test_an_index_that_proposes_too_few_is_made_good_by_scoring_everything() -> None:
    index = build(VECTORS, IvfL2(nlist=10, nprobe=1))
    query, seen = np.ones(4, np.float32), frozenset(range(0, ITEMS, 3))
    assert len(propose_many(index, query.reshape(1, -1), [100], [seen])[0].rows) < 100
    assert search(index, query, 100, seen)[0].tolist() == best(query, 100, seen)


def test_distances_inside_an_index_are_not_scores() -> None:
    index = build(VECTORS, IvfL2(nlist=1))
    query = np.ones(4, np.float32)
    assert index.faiss.search(index.kind.asked(query.reshape(1, -1)), 1)[0][0, 0] > 1
    assert search(index, query, 1, ())[1][0] == np.vecdot(VECTORS, query).max()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_query_that_overflows_still_gets_its_number_of_items(kind: Kind) -> None:
    rows, _ = search(made(kind), np.array([3e38, -3e38, 3e38, -3e38], np.float32), 10, {1, 2})
    assert len(set(rows.tolist()) - {1, 2}) == 10


@given(st.permutations(range(20)), st.integers(1, 25), st.sets(st.integers(0, 19)))
def test_popularity_keeps_its_order_without_the_seen(order: list[int], k: int, seen: set[int]) -> None:
    rows = most_popular(np.array(order), k, seen)
    assert rows.tolist() == [row for row in order if row not in seen][:k]
