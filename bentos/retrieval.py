"""Search: the items with the highest inner product that the user has not seen.

The index proposes; seen items are dropped; the rest is scored by the vectors themselves. So k + |seen| and some to
spare are fetched, and when too few are left everything is scored: never a seen item, never fewer than there are.
Scores are inner products whatever the index computes inside, to the last bit the same in a batch, alone, and in the
exact search. Next module: `bentos.recommend`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bentos.index import VectorIndex

SPARE: Final = 16
"""Unseen rows beyond k that are scored too: what an index puts in an order of its own is put right among them."""
LEAST_FETCHED: Final = 64

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]


def search(index: VectorIndex, query: NDArray[np.float32], k: int, seen: Collection[int]) -> tuple[Rows, Scores]:
    """Rows and scores (inner products, descending) of the best min(k, unseen) rows of `index` outside `seen`.

    `query` has shape (d,) and is finite; `seen` holds distinct rows, best in a set. Equal scores are in ascending order
    of rows. The best of all when the index is exact, else as many of them as its report says.
    """
    return settled(index, query, propose_many(index, query.reshape(1, -1), [k], [seen])[0], k, seen)


def search_many(
    index: VectorIndex, queries: NDArray[np.float32], k: Sequence[int], seen: Sequence[Collection[int]]
) -> list[tuple[Rows, Scores]]:
    """`search` for each of `queries` of shape (q, d), with the same results."""
    proposed = propose_many(index, queries, k, seen)
    return [settled(index, *each) for each in zip(queries, proposed, k, seen, strict=True)]


def propose_many(
    index: VectorIndex, queries: NDArray[np.float32], k: Sequence[int], seen: Sequence[Collection[int]]
) -> list[Rows]:
    """The rows that the index proposes for each of `queries`: the part of `search_many` that holds up no other thread.

    The index is asked once for all queries that fetch equally many, for what it fetches decides what it finds.
    """
    sizes = [fetched(index, each, len(known)) for each, known in zip(k, seen, strict=True)]
    found: dict[int, Rows] = {}
    for size in set(sizes):
        members = [number for number, each in enumerate(sizes) if each == size]
        found |= zip(members, index.propose(queries[members], size), strict=True)
    return [found[number] for number in range(len(queries))]


def settled(
    index: VectorIndex, query: NDArray[np.float32], proposed: Rows, k: int, seen: Collection[int]
) -> tuple[Rows, Scores]:
    """The result of `search` when the index has `proposed` these rows."""
    found = best_of(index, query, proposed, k, seen)
    return exact(index.vectors, query, k, seen) if found is None else found


def fetched(index: VectorIndex, k: int, seen: int) -> int:
    """How many rows the index is asked for: a power of two, so that a batch falls into few groups."""
    needed = max(LEAST_FETCHED, k + seen + SPARE)
    return min(len(index), 1 << (needed - 1).bit_length())


def best_of(
    index: VectorIndex, query: NDArray[np.float32], proposed: Rows, k: int, seen: Collection[int]
) -> tuple[Rows, Scores] | None:
    """The best min(k, unseen) of the `proposed` rows; None when they are too few, or an exact index is undecided."""
    unseen = len(index) - len(seen)
    kept = list(islice((row for row in proposed.tolist() if row >= 0 and row not in seen), k + SPARE))
    if len(kept) < min(k, unseen):
        return None
    rows = np.array(kept, dtype=np.int64)
    scores = scored(index.vectors[rows], query)
    order = np.lexsort((rows, -scores))[:k]
    if index.exact and len(kept) < unseen and not scores[order[-1]] > scores[-1] + _doubt(index, query):
        return None
    return rows[order], scores[order]


def scored(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> Scores:
    """The inner product of every row of `vectors` with `query`: the same bits for a row whatever stands around it."""
    with np.errstate(over="ignore", invalid="ignore"):
        scores: Scores = np.vecdot(vectors, query)
    if np.isnan(scores).any():  # a query of absurd length; such rows come last, they are not lost
        scores[np.isnan(scores)] = -np.inf
    return scores


def _doubt(index: VectorIndex, query: NDArray[np.float32]) -> float:
    """How far two ways of summing the same inner product may be apart, four times: bound of Higham, 2002, §3.1.

    Beyond the last row that was scored may lie one that scores so much more than its place says.
    """
    bound = len(query) * np.finfo(np.float32).eps * index.largest_norm
    return float(2 * bound * np.linalg.norm(query.astype(np.float64)))


def exact(
    vectors: NDArray[np.float32], query: NDArray[np.float32], k: int, seen: Collection[int]
) -> tuple[Rows, Scores]:
    """`search` by scoring every vector."""
    scores = scored(vectors, query)
    unseen = np.ones(len(vectors), dtype=np.bool_)
    unseen[np.fromiter(seen, dtype=np.int64, count=len(seen))] = False
    rows = np.flatnonzero(unseen)
    if k < len(rows):
        least = np.partition(scores[rows], len(rows) - k)[len(rows) - k]
        rows = rows[scores[rows] >= least]
    order = np.lexsort((rows, -scores[rows]))[:k]
    return rows[order], scores[rows[order]]


def most_popular(popularity: NDArray[np.int64], k: int, seen: Collection[int]) -> NDArray[np.int64]:
    """The first k rows of `popularity` (rows, best first) outside `seen`."""
    head = popularity[: k + len(seen)]
    if seen:
        head = head[~np.isin(head, np.fromiter(seen, dtype=np.int64, count=len(seen)))]
    return head[:k]
