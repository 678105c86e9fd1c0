"""The rungs below the vectors: a profile of genres for who has a history, popularity for who has none.

All of it comes from the bundle, so it answers whatever Redis does, and as long as an item is unseen it is never empty.
What each rung is worth was measured (docs/decisions/0010). Next module: `bentos.ranking`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bentos.bundle import Bundle
from bentos.catalogue import recent_suffices
from bentos.history import History
from bentos.retrieval import most_popular

HYBRID: Final = "hybrid"
FOLD_IN: Final = "fold_in"
CONTENT: Final = "content"
POPULAR_RECENT: Final = "popular_recent"
POPULAR: Final = "popular"
SOURCES: Final = (HYBRID, FOLD_IN, CONTENT, POPULAR_RECENT, POPULAR)
"""The rungs of the ladder, from the top."""
PSEUDO_ITEMS: Final = 20.0
"""How many items of average genres the profile of a user starts from."""
SEEN_WEIGHT: Final = 0.5
"""What an item that was seen and not liked counts in a profile; one that was liked counts 1."""
HEAD: Final = 5_000
"""A profile scores the so many most popular items: popularity is a factor of the score, and time is bounded."""
POSITIVE: Final = 4.0
"""Stars from which an item counts as liked, for bundles that do not say."""


class Retrieved(NamedTuple):
    """Rows and scores of items, the best first, and the rung that gave them."""

    rows: NDArray[np.int64]
    scores: NDArray[np.floating]
    source: str


class Fallback:
    """Answers from the catalogue of one bundle."""

    def __init__(self, bundle: Bundle) -> None:
        catalogue = bundle.catalogue
        recent = catalogue.column("recent_popularity").to_numpy()
        if recent_suffices(recent):
            self._order, counts, self._source = bundle.recent_popularity, recent, POPULAR_RECENT
        else:
            self._order, self._source = bundle.popularity, POPULAR
            counts = catalogue.column("popularity").to_numpy()
        self._counts = counts.astype(np.float64)
        self._positive = bundle.fold_in.positive if bundle.fold_in else POSITIVE
        self._genres = genre_shares(catalogue)
        self._plain: NDArray[np.bool_] = np.logical_not(self._genres.any(1))
        share = self._counts @ self._genres
        # A genre of which nothing is popular says nothing: its share of every profile stays what it is.
        self._share = np.where(share > 0, share / max(share.sum(), 1.0), 1.0)

    def popular(self, k: int, seen: frozenset[int]) -> Retrieved:
        """What everybody likes: of late where that is known well enough, else of all time; min(k, unseen) items."""
        rows = most_popular(self._order, k, seen)
        return Retrieved(rows, self._counts[rows], self._source)

    def content(self, history: History, k: int) -> Retrieved:
        """How much more than others the user has to do with an item's genres × its popularity; min(k, unseen) items."""
        head = most_popular(self._order, max(HEAD, k), history.seen)
        affinity = self._genres[head] @ self._lifts(history)
        affinity[self._plain[head]] = 1.0
        scores = affinity * self._counts[head]
        # Stable: equal scores stay in the order of popularity.
        best = np.argsort(-scores, kind="stable")[:k]
        return Retrieved(head[best], scores[best], CONTENT)

    def _lifts(self, history: History) -> NDArray[np.float64]:
        """By genre, its share in what the user saw and liked over its share in what is popular; shrunk towards 1."""
        liked = history.rated[history.ratings >= self._positive]
        seen = np.fromiter(history.seen, np.int64, len(history.seen))
        profile = SEEN_WEIGHT * self._genres[seen].sum(0) + (1 - SEEN_WEIGHT) * self._genres[liked].sum(0)
        shrunk = (profile + PSEUDO_ITEMS * self._share) / (profile.sum() + PSEUDO_ITEMS)
        lifts: NDArray[np.float64] = shrunk / self._share
        return lifts


def genre_shares(catalogue: pa.Table) -> NDArray[np.float64]:
    """One row per item, one column per genre: 1 over the number of the item's genres; shape (items, genres)."""
    genres = [list(dict.fromkeys(each)) for each in catalogue.column("genres").to_pylist()]
    column = {name: number for number, name in enumerate(sorted({name for each in genres for name in each}))}
    shares = np.zeros((len(genres), len(column)))
    for row, each in enumerate(genres):
        shares[row, [column[name] for name in each]] = 1 / max(len(each), 1)
    return shares
