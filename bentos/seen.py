"""What held-out users have seen, for measuring an index as it is served: from facts, or a stand-in that says so.

Next module: `bentos.index_measure`, which leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bentos.index import VectorIndex
from bentos.index_kinds import building
from bentos.retrieval import search_many

FACTS: Final = "facts"
STAND_IN: Final = "stand-in: half of a user's own best items, as many as users of MovieLens-1M have seen"
MEDIAN, SIGMA, FEWEST, MOST = 96, 1.1, 20, 1_000
"""Of the stand-in's log-normal number of items; in MovieLens-1M the median is 96 and the 90th percentile 400."""

Seen = list[frozenset[int]]


@dataclass(frozen=True)
class SeenSource:
    """`of` gives the rows of items that users, given by their rows, have seen; `told` is what a report says of it."""

    told: str
    of: Callable[[NDArray[np.int64]], Seen]


def from_pairs(users: NDArray[np.int64], items: NDArray[np.int64], count: int) -> SeenSource:
    """User row `users[i]`, of `count`, has seen item row `items[i]`."""
    order = np.argsort(users, kind="stable")
    items, ends = items[order], np.cumsum(np.bincount(users, minlength=count))

    def of(wanted: NDArray[np.int64]) -> Seen:
        starts = np.concatenate([[0], ends])
        return [frozenset(items[starts[user] : starts[user + 1]].tolist()) for user in wanted.tolist()]

    return SeenSource(FACTS, of)


def from_facts(path: Path, user_ids: Sequence[str], item_ids: Sequence[str]) -> SeenSource:
    """The facts file at `path`, read only for the users that are asked for. `ValueError` when it does not fit."""
    names = ["user_id", "item_id"]
    try:
        known = set(pq.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path}: not a facts file ({error}). Write it with understudy data facts.") from error
    if missing := [name for name in names if name not in known]:
        raise ValueError(f"{path}: no column {missing[0]}. Write it with understudy data facts.")

    def of(wanted: NDArray[np.int64]) -> Seen:
        asked = pa.array([user_ids[user] for user in wanted.tolist()])
        found: list[set[int]] = [set() for _ in range(len(wanted))]
        for batch in pq.ParquetFile(path).iter_batches(columns=names):
            place = pc.index_in(batch["user_id"], asked)
            row = pc.index_in(batch["item_id"], items)
            both = pc.and_(place.is_valid(), row.is_valid())
            for user, item in zip(place.filter(both).to_pylist(), row.filter(both).to_pylist(), strict=True):
                found[user].add(item)
        if not any(found):
            raise ValueError(f"{path}: nothing of this bundle's users and items. Give the facts it was trained on.")
        return [frozenset(each) for each in found]

    items = pa.array(item_ids)
    return SeenSource(FACTS, of)


def stand_in(flat: VectorIndex, queries: NDArray[np.float32], seed: int) -> Seen:
    """For users with vectors `queries`: a draw of half of their own best items, by the exact index `flat`."""
    rng = np.random.default_rng(seed)
    most = min(MOST, len(flat) // 4)
    drawn = np.exp(rng.normal(np.log(MEDIAN), SIGMA, len(queries)))
    counts = np.clip(drawn, min(FEWEST, most), most).astype(np.int64).tolist()
    with building():
        best = search_many(flat, queries, [max(1, 2 * count) for count in counts], [frozenset()] * len(queries))
    return [
        frozenset(rng.choice(rows, count, replace=False).tolist())
        for (rows, _), count in zip(best, counts, strict=True)
    ]
