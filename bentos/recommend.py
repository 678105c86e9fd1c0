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
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from bentos.bundle import Bundle
from bentos.fallback import FOLD_IN, HYBRID, POPULAR, POPULAR_RECENT, Fallback, Retrieved
from bentos.features import Features, FeatureStore, Missing
from bentos.fold_in import FoldIn
from bentos.history import NOTHING, History
from bentos.ranking import Ranker
from bentos.ranking_settings import RankingSettings
from bentos.retrieval import Proposed, propose_many, settled

LEAST_POSITIVES: Final = 2
"""With one positive a profile of genres finds more than a fold-in (docs/decisions/0010)."""
LARGEST_SCORE: Final = 1e24
"""Scores beyond it, either side of 0, are those of a corrupt vector."""
T = TypeVar("T")
NONE: Final = np.empty(0, dtype=np.int64)
NOT_ASKED: Final = Proposed([], 0)
"""For a case without a query."""
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


class Case(NamedTuple):
    """What a request comes to: the user's history, how many items, the store's fault, and what to search with, if with
    anything, from which rung.
    """

    history: History
    k: int
    fault: str
    query: NDArray[np.float32] | None
    source: str


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
        asked = time.perf_counter()
        case = self._case(found, k)
        proposed = self._propose([case])[0] if case.query is not None else NOT_ASKED
        return self._answer(case, proposed, now_us, asked - started, asked)

    async def recommend_many(self, asked: Sequence[tuple[str, int]], now_us: int | None = None) -> list[Recommendation]:
        """The answers to pairs (user id, k), in their order, each as `recommend` gives it.

        Features of all are read under one deadline, and the index is asked once for all of these, in another thread.
        Single requests that come meanwhile wait for a few of these answers at most.
        """
        started = time.perf_counter()
        everything = await self._store.read_many([user_id for user_id, _ in asked])
        seconds = time.perf_counter() - started
        cases = [self._case(*each) async for each in _unhurried(zip(everything, (k for _, k in asked), strict=True))]
        searched = [number for number, case in enumerate(cases) if case.query is not None]
        found = await asyncio.to_thread(self._propose, [cases[number] for number in searched])
        proposed = dict(zip(searched, found, strict=True))
        answers: list[Recommendation] = []
        async for number, case in _unhurried(enumerate(cases)):
            rows = proposed.get(number, NOT_ASKED)
            answers.append(self._answer(case, rows, now_us, seconds, time.perf_counter()))
        return answers

    def _case(self, found: Features | Missing, k: int) -> Case:
        """The first rung that can answer, and with what."""
        if isinstance(found, Missing):
            return Case(NOTHING, k, found.fault, None, "")
        history, query, source = History.of(found, self._rows), found.vector, HYBRID
        if query is None or (history.newest_us > self._cut_us and history.complete):
            folded = self._folded(history)
            if folded is not None:
                query, source = folded, FOLD_IN
        return Case(history, k, "", query, source)

    def _propose(self, cases: Sequence[Case]) -> list[Proposed]:
        """What the index proposes for cases with a query."""
        if not cases:
            return []
        queries = np.stack([case.query for case in cases if case.query is not None])
        depths = [self.ranker.depth(case.k) for case in cases]
        return propose_many(self.bundle.index, queries, depths, [case.history.seen for case in cases])

    def _answer(
        self, case: Case, proposed: Proposed, now_us: int | None, seconds: float, started: float
    ) -> Recommendation:
        """The answer to `case`, for which the index `proposed` rows, whose features took `seconds`, and which is being
        worked out since `started`.
        """
        depth, seen, fault = self.ranker.depth(case.k), case.history.seen, case.fault
        if case.query is not None:
            retrieved = Retrieved(*settled(self.bundle.index, case.query, proposed, depth, seen), case.source)
        elif seen:
            retrieved = self._fallback.content(case.history, depth)
        else:
            retrieved = self._fallback.popular(depth, seen)
        if not sane(retrieved.scores):
            # Whatever the vector came from: a score that is no number must not leave, nor be ranked by.
            retrieved, fault = self._fallback.popular(depth, seen), "corrupt"
        ranked, before = self._rank(retrieved, case.k, self._cut_us if now_us is None else now_us)
        return Recommendation(*ranked, fault, seconds, time.perf_counter() - started, before)

    def _rank(self, retrieved: Retrieved, k: int, now_us: int) -> tuple[Retrieved, NDArray[np.int64]]:
        """The list, and the rows it was chosen from; those are none when only relevance counts."""
        rows, scores, source = retrieved
        if not self.ranker.settings.active:
            return retrieved, NONE
        # Those who all get the same list would all get the same item of the tail: it would cost and bring nothing.
        order = self.ranker.order(rows, scores, k, now_us, tail=source not in (POPULAR_RECENT, POPULAR))
        return Retrieved(rows[order], scores[order], source), rows

    def _folded(self, history: History) -> NDArray[np.float32] | None:
        if self._fold_in is None or not len(history.rated):
            return None
        return self._fold_in.solve(history.rated, history.ratings, LEAST_POSITIVES)


def sane(scores: NDArray[np.floating]) -> bool:
    """Whether descending `scores` are numbers, and none of a size that no model gives."""
    return not len(scores) or (scores[0] <= LARGEST_SCORE and scores[-1] >= -LARGEST_SCORE)


async def _unhurried(items: Iterable[T]) -> AsyncIterator[T]:
    """`items`, with a chance for others after every few of them."""
    for number, item in enumerate(items, start=1):
        yield item
        if number % IN_A_ROW == 0:
            await asyncio.sleep(0)
