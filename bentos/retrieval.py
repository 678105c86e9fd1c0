"""Search: the items with the highest inner product that the user has not seen.

Filtering comes after the search, so k + |seen| are fetched: with an exact index that always leaves min(k, unseen).
Next module: `bentos.recommend`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray


def search(
    index: Any, query: NDArray[np.float32], k: int, seen: Collection[int]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Rows and scores (inner products, descending) of the best min(k, unseen) rows of `index` outside `seen`.

    `query` has shape (d,). Equal scores are in ascending order of rows. `k` must be at least 1.
    """
    fetched = min(k + len(seen), index.ntotal)
    if fetched == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    scores, rows = index.search(query.reshape(1, -1), fetched)
    scores, rows = scores[0], rows[0]
    keep = rows >= 0
    if seen:
        keep &= ~np.isin(rows, np.fromiter(seen, dtype=np.int64, count=len(seen)))
    scores, rows = scores[keep], rows[keep]
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]


def most_popular(popularity: NDArray[np.int64], k: int, seen: Collection[int]) -> NDArray[np.int64]:
    """The first k rows of `popularity` (rows, best first) outside `seen`."""
    head = popularity[: k + len(seen)]
    if seen:
        head = head[~np.isin(head, np.fromiter(seen, dtype=np.int64, count=len(seen)))]
    return head[:k]
