"""Measuring an index as it is served: recall@10 after filtering, and what a search costs in distance computations.

The measure is `bentos.retrieval` itself, asked by held-out users. Next module: `bentos.index_choice`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bentos.index import VectorIndex
from bentos.index_kinds import building, reset_statistics
from bentos.index_report import Figures
from bentos.retrieval import SPARE, Proposed, Rows, propose_many, search_many
from bentos.scoring import Scores, scored

K: Final = 10
CONFIDENCE: Final = 0.95
"""Of the lower bound, one-sided."""
DIGITS: Final = 6
"""Of what is reported."""
TOGETHER: Final = 256
"""Queries in one call."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Users to measure with: vectors (u, d), rows each has seen, the score of the last of each one's true first ten."""

    queries: NDArray[np.float32]
    seen: Sequence[frozenset[int]]
    least: NDArray[np.float32]

    @staticmethod
    def of(flat: VectorIndex, queries: NDArray[np.float32], seen: Sequence[frozenset[int]]) -> HeldOut:
        """Those of the users who have an unseen item, with what the exact index `flat` finds for them."""
        left = [number for number, each in enumerate(seen) if len(each) < len(flat)]
        queries, seen = np.ascontiguousarray(queries[left]), [seen[number] for number in left]
        with building():
            found = [
                scores[-1]
                for start in range(0, len(left), TOGETHER)
                for _, scores in _exact(flat, queries[start : start + TOGETHER], seen[start : start + TOGETHER])
            ]
        return HeldOut(queries, seen, np.array(found, dtype=np.float32))

    def __len__(self) -> int:
        return len(self.queries)


def _exact(
    flat: VectorIndex, queries: NDArray[np.float32], seen: Sequence[frozenset[int]]
) -> list[tuple[Rows, Scores]]:
    return search_many(flat, queries, [K] * len(queries), seen)


def measure(index: VectorIndex, held: HeldOut) -> Figures:
    """Recall and computations of `index` by the users of `held`; of an exact one they are known."""
    if index.exact:
        return Figures(recall=1.0, lower=1.0, computations=float(len(index) + min(K + SPARE, len(index))), short=0.0)
    reset_statistics()
    proposals = [
        each
        for start in range(0, len(held), TOGETHER)
        for each in _proposed(index, held.queries[start : start + TOGETHER], held.seen[start : start + TOGETHER])
    ]
    recalls = np.array([_recall(index, held, user, each.rows) for user, each in enumerate(proposals)])
    short = float(np.mean(np.isnan(recalls)))
    recalls = np.nan_to_num(recalls)
    asked = sum(each.asked for each in proposals)
    again = float(np.mean([len(each.rows) for each in proposals]))
    inside = index.kind.computations(len(index), asked) / len(held)
    return Figures(
        recall=round(float(recalls.mean()), DIGITS),
        lower=round(lower_bound(recalls), DIGITS),
        computations=round(inside + again + short * len(index), 1),
        short=round(short, DIGITS),
    )


def _proposed(index: VectorIndex, queries: NDArray[np.float32], seen: Sequence[frozenset[int]]) -> list[Proposed]:
    return propose_many(index, queries, [K] * len(queries), seen)


def _recall(index: VectorIndex, held: HeldOut, user: int, rows: list[int]) -> float:
    """The share of a user's true first ten, or their equals, among `rows`; no number when these are too few."""
    wanted = min(K, len(index) - len(held.seen[user]))
    if len(rows) < wanted:
        return float("nan")
    # Whatever scores as much as the last of the true ten is among the ten that are answered.
    scores = scored(index.vectors[rows], held.queries[user])
    return min(wanted, int((scores >= held.least[user]).sum())) / wanted


def lower_bound(values: NDArray[np.float64]) -> float:
    """Of the mean of independent `values`: mean − z · standard error."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(values.mean() - NormalDist().inv_cdf(CONFIDENCE) * error)
