"""The request ladder, without HTTP: vector → fold-in → profile → popularity. Every answer says which rung gave it.

The stored vector answers, unless the user's events say more than it could know: one that is newer than anything in the
bundle, in a list of events that is whole. Then, and for users without a vector, the events are folded in. Who has too
few positives for that gets a profile of genres; who is unknown, or cannot be looked up, gets what is popular. Then the
candidates are ranked. The answer is never empty while there is an unseen item. Next module: `bentos.api`, which
speaks HTTP.
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
from bentos.fallback import FOLD_IN, HYBRID, POPULAR, POPULAR_RECENT, Fallback, Retrieved
from bentos.features import Features, FeatureStore, Missing
from bentos.fold_in import FoldIn
from bentos.history import History
from bentos.ranking import Ranker
from bentos.ranking_settings import RankingSettings
from bentos.retrieval import search

LEAST_POSITIVES: Final = 2
"""With one positive a profile of genres finds more than a fold-in (docs/decisions/0010)."""
READ_AT_ONCE: Final = 128
"""Reads of a batch that are waited for together: what comes back is decoded within the deadline of each."""
IN_A_ROW: Final = 8
"""Answers of a batch that are worked out before others may have the processor: some milliseconds."""


@dataclass(frozen=True)
class Recommendation:
    """Rows and scores, best first; the rung, one of `bentos.fallback.SOURCES`; the store's fault or ""; seconds spent
    on features and on ranking.

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

    def __init__(self, bundle: Bundle, store: FeatureStore, ranking: RankingSettings | None = None) -> None:
        """`ranking`: what else than relevance counts; without it nothing does."""
        self.bundle = bundle
        self.ranker = Ranker(ranking or RankingSettings(), bundle.catalogue)
        self._store = store
        self._rows = {item: row for row, item in enumerate(bundle.item_ids)}
        self._fallback = Fallback(bundle)
        last = bundle.catalogue.column("last_interaction_us").to_numpy()
        self._cut_us = int(last.max(initial=0))
        self._fold_in = FoldIn(bundle.fold_in, bundle.item_vectors, last > 0) if bundle.fold_in else None

    async def recommend(self, user_id: str, k: int, now_us: int | None = None) -> Recommendation:
        """The best k items for the user; fewer only when fewer are unseen.

        `now_us`: the moment that the age of items counts from; without it the end of what the bundle knows. The clock
        on the wall is not asked: equal requests have equal answers, on every replica and at any time.
        """
        started = time.perf_counter()
        found = await self._store.read(user_id)
        return self._answer(found, k, now_us, time.perf_counter() - started)

    async def recommend_many(self, asked: Sequence[tuple[str, int]], now_us: int | None = None) -> list[Recommendation]:
        """The answers to pairs (user id, k), in their order, each as `recommend` gives it.

        Features of many are asked for at one moment, so that they share round trips. Single requests that come
        meanwhile wait for a few of these answers at most, not for all.
        """
        answers: list[Recommendation] = []
        for start in range(0, len(asked), READ_AT_ONCE):
            part = asked[start : start + READ_AT_ONCE]
            started = time.perf_counter()
            everything = await asyncio.gather(*(self._store.read(user_id) for user_id, _ in part))
            seconds = time.perf_counter() - started
            for found, (_, k) in zip(everything, part, strict=True):
                answers.append(self._answer(found, k, now_us, seconds))
                if len(answers) % IN_A_ROW == 0:
                    await asyncio.sleep(0)
        return answers

    def _answer(self, found: Features | Missing, k: int, now_us: int | None, seconds: float) -> Recommendation:
        """The answer to a user of whom `found` is known, which took `seconds`."""
        started = time.perf_counter()
        depth = self.ranker.depth(k)
        if isinstance(found, Missing):
            retrieved, fault = self._fallback.popular(depth, frozenset()), found.fault
        else:
            retrieved, fault = self._retrieve(found.vector, History.of(found, self._rows), depth), ""
        ranked, before = self._rank(retrieved, k, self._cut_us if now_us is None else now_us)
        return Recommendation(*ranked, fault, seconds, time.perf_counter() - started, before)

    def _rank(self, retrieved: Retrieved, k: int, now_us: int) -> tuple[Retrieved, NDArray[np.int64]]:
        """The list, and the rows it was chosen from; those are none when only relevance counts."""
        rows, scores, source = retrieved
        if not self.ranker.settings.active:
            return retrieved, np.empty(0, np.int64)
        # Those who all get the same list would all get the same item of the tail: it would cost and bring nothing.
        order = self.ranker.order(rows, scores, k, now_us, tail=source not in (POPULAR_RECENT, POPULAR))
        return Retrieved(rows[order], scores[order], source), rows

    def _retrieve(self, vector: NDArray[np.float32] | None, history: History, k: int) -> Retrieved:
        """The first rung that has an answer."""
        if vector is None or (history.newest_us > self._cut_us and history.complete):
            folded = self._folded(history)
            if folded is not None:
                return Retrieved(*search(self.bundle.index, folded, k, history.seen), FOLD_IN)
        if vector is not None:
            return Retrieved(*search(self.bundle.index, vector, k, history.seen), HYBRID)
        if history.seen:
            return self._fallback.content(history, k)
        return self._fallback.popular(k, history.seen)

    def _folded(self, history: History) -> NDArray[np.float32] | None:
        if self._fold_in is None or not len(history.rated):
            return None
        return self._fold_in.solve(history.rated, history.ratings, LEAST_POSITIVES)
