"""The request ladder, without HTTP: features → vector ? search : popularity. Every answer says which rung gave it.

An unknown user and a store that cannot be read both end on the popularity of the bundle, so the answer is never empty
while there is an unseen item. Next module: `bentos.api`, which speaks HTTP.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bentos.bundle import Bundle
from bentos.features import FeatureStore, Missing
from bentos.retrieval import most_popular, search

HYBRID: Final = "hybrid"
FOLD_IN: Final = "fold_in"
CONTENT: Final = "content"
POPULAR_RECENT: Final = "popular_recent"
POPULAR: Final = "popular"
SOURCES: Final = (HYBRID, FOLD_IN, CONTENT, POPULAR_RECENT, POPULAR)
"""The rungs from the top. Only the first and the last answer so far."""
AT_ONCE: Final = 16
"""Requests of a batch that read features at the same time: each holds a connection."""


@dataclass(frozen=True)
class Recommendation:
    """Rows and scores, best first; the rung; the store's fault or ""; seconds spent on features and on ranking.

    `retrieved` are the rows that were ranked, by relevance, for the log; empty when nothing was ranked.
    """

    rows: NDArray[np.int64]
    scores: NDArray[np.floating]
    source: str
    fault: str
    features_seconds: float
    ranking_seconds: float
    retrieved: NDArray[np.int64]


class Ladder:
    """Answers requests from one bundle and one feature store."""

    def __init__(self, bundle: Bundle, store: FeatureStore) -> None:
        self.bundle = bundle
        self._store = store
        self._rows = {item: row for row, item in enumerate(bundle.item_ids)}
        self._counts = bundle.catalogue.column("popularity").to_numpy().astype(np.float64)

    async def recommend(self, user_id: str, k: int, now_us: int | None = None) -> Recommendation:  # noqa: ARG002
        """The best k items for the user; fewer only when fewer are unseen.

        `now_us`: the logical time of the request, for what weighs recency; None: none was given.
        """
        started = time.perf_counter()
        found = await self._store.read(user_id)
        asked = time.perf_counter()
        if isinstance(found, Missing):
            rows, scores, source, fault = *self._popular(k, frozenset()), POPULAR, found.fault
        else:
            seen = frozenset(self._rows[item] for item in found.seen if item in self._rows)
            if found.vector is None:
                rows, scores, source = *self._popular(k, seen), POPULAR
            else:
                rows, scores, source = *search(self.bundle.index, found.vector, k, seen), HYBRID
            fault = ""
        none = np.empty(0, dtype=np.int64)
        return Recommendation(rows, scores, source, fault, asked - started, time.perf_counter() - asked, none)

    async def recommend_many(self, asked: Sequence[tuple[str, int]], now_us: int | None = None) -> list[Recommendation]:
        """The answers to pairs (user id, k), in their order, each as `recommend` gives it."""
        found: list[Recommendation] = []
        for start in range(0, len(asked), AT_ONCE):
            part = asked[start : start + AT_ONCE]
            found += await asyncio.gather(*(self.recommend(user_id, k, now_us) for user_id, k in part))
        return found

    def _popular(self, k: int, seen: frozenset[int]) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
        rows = most_popular(self.bundle.popularity, k, seen)
        return rows, self._counts[rows]
