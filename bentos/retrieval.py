"""Search: the items with the highest inner product that the user has not seen.

The index proposes; seen items are dropped; the rest is scored by the vectors themselves. When too few are left, the
index is asked for four times as many, up to k + |seen| and some to spare, and in the end everything is scored: never a
seen item, never fewer than there are. Scores are inner products whatever the index computes inside, to the last bit
the same in a batch, alone, and in the exact search. Next module: `bentos.recommend`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bentos.index import VectorIndex
from bentos.scoring import Scores, scored

SPARE: Final = 16
"""Unseen rows beyond k that are scored too: what an index puts in an order of its own is put right among them."""
AHEAD: Final = 4
"""Rows fetched at first, for each that must be unseen. Of users of MovieLens-1M 95 % have enough among so many."""

Rows = NDArray[np.int64]


class Proposed(NamedTuple):
    """The first k + `SPARE` unseen rows, or fewer, most promising first; how often the index was asked for them."""

    rows: list[int]
    asked: int


def search(index: VectorIndex, query: NDArray[np.float32], k: int, seen: Collection[int]) -> tuple[Rows, Scores]:
    """Rows and scores (inner products, descending) of the best min(k, unseen) rows of `index` outside `seen`.

    `query` has shape (d,) and is finite; `seen` holds distinct rows, best in a set. Equal scores are in ascending order
    of rows. The best of all when the index is exact, else as many of them as its report says.
    """
    alone, sizes = query.reshape(1, -1), _sizes(index, k, len(seen))
    for turn, size in enumerate(sizes, start=1):
        proposed = _unseen(index.propose(alone, size)[0], k, seen, turn, last=turn == len(sizes))
        if proposed is not None:
            break
    assert proposed is not None
    return settled(index, query, proposed, k, seen)


def search_many(
    index: VectorIndex, queries: NDArray[np.float32], k: Sequence[int], seen: Sequence[Collection[int]]
) -> list[tuple[Rows, Scores]]:
    """`search` for each of `queries` of shape (q, d), with the same results.

    The index is asked once for all queries that fetch equally many, then again for those that are left with too few.
    """
    proposals = propose_many(index, queries, k, seen)
    asked = zip(queries, proposals, k, seen, strict=True)
    return [settled(index, query, proposed, count, known) for query, proposed, count, known in asked]


def propose_many(
    index: VectorIndex, queries: NDArray[np.float32], k: Sequence[int], seen: Sequence[Collection[int]]
) -> list[Proposed]:
    """What the index proposes for each of `queries`: what it finds for one depends on how many it is asked for, so each
    is asked for exactly what it would be alone.
    """
    sizes = [_sizes(index, count, len(known)) for count, known in zip(k, seen, strict=True)]
    found: dict[int, Proposed] = {}
    waiting, turn = list(range(len(queries))), 0
    while waiting:
        for size in sorted({sizes[number][turn] for number in waiting}):
            members = [number for number in waiting if sizes[number][turn] == size]
            for number, rows in zip(members, index.propose(queries[members], size), strict=True):
                last = turn + 1 == len(sizes[number])
                proposed = _unseen(rows, k[number], seen[number], turn + 1, last=last)
                if proposed is not None:
                    found[number] = proposed
        waiting, turn = [number for number in waiting if number not in found], turn + 1
    return [found[number] for number in range(len(queries))]


def _sizes(index: VectorIndex, k: int, seen: int) -> list[int]:
    """How many rows the index is asked for, one after the other: powers of two, so that a batch has few of them."""
    least, most = (min(len(index), 1 << (count - 1).bit_length()) for count in (AHEAD * (k + SPARE), k + seen + SPARE))
    sizes = [least]
    while sizes[-1] < most:
        sizes.append(min(most, AHEAD * sizes[-1]))
    return sizes


def _unseen(proposed: Rows, k: int, seen: Collection[int], asked: int, *, last: bool) -> Proposed | None:
    """The unseen ones of the `proposed` rows; None when they are too few and the index may have more."""
    rows = list(islice((row for row in proposed.tolist() if row >= 0 and row not in seen), k + SPARE))
    # An index that fills up with −1 has no more.
    return Proposed(rows, asked) if last or len(rows) == k + SPARE or proposed[-1] < 0 else None


def settled(
    index: VectorIndex, query: NDArray[np.float32], proposed: Proposed, k: int, seen: Collection[int]
) -> tuple[Rows, Scores]:
    """The result of `search` from what the index proposed, or from all rows when that is too few or equals leave it
    open.
    """
    unseen = len(index) - len(seen)
    if len(proposed.rows) < min(k, unseen):
        return exact(index.vectors, query, k, seen)
    rows = np.array(proposed.rows, dtype=np.int64)
    scores = scored(index.vectors[rows], query)
    order = np.lexsort((rows, -scores))[:k]
    if index.exact and len(rows) < unseen and not scores[order[-1]] > scores[-1] + _doubt(index, query):
        return exact(index.vectors, query, k, seen)
    return rows[order], scores[order]


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
