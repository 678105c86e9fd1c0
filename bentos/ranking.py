"""The list of a user from the best candidates: relevance, diversity, recency, and one place for the tail.

Relevance is the candidates' scores, brought to [0, 1] for each user. Items are taken one by one, each time the one with
the highest relevance + recency − diversity × similarity to what was taken (maximal marginal relevance: Carbonell and
Goldstein, SIGIR 1998). One place of the list can be given to the least popular of the first candidates. Equal values
go to the more relevant item. The same candidates and settings give the same list: nothing is random, nothing is
remembered. What it costs and brings is measured by tests/bench/ranking_pareto.py. Next module: `bentos.recommend`.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bentos.ranking_settings import RankingSettings

DAY_US: Final = 86_400_000_000
YEAR_DAYS: Final = 365.2425
WORD_BITS: Final = 64
UNKNOWN: Final = -(2**62)
"""When an item of unknown age is from: so long ago that recency is 0."""


class Ranker:
    """Ranks candidates of one catalogue."""

    def __init__(self, settings: RankingSettings, catalogue: pa.Table) -> None:
        self.settings = settings
        self._popularity = catalogue.column("popularity").to_numpy()
        self._genres = genre_bits(catalogue)
        self._counts = np.bitwise_count(self._genres).sum(1, dtype=np.float64)
        self._from_us = _released_us(catalogue) if settings.recency_of == "release" else _last_us(catalogue)

    def depth(self, k: int) -> int:
        """How many candidates a list of `k` needs; k itself when only relevance counts."""
        return max(self.settings.candidates, k) if self.settings.active else k

    def order(
        self, rows: NDArray[np.int64], scores: NDArray[np.floating], k: int, now_us: int, tail: bool = True
    ) -> NDArray[np.int64]:
        """Positions in `rows` of the list, best first: min(k, candidates) of them, each once.

        `rows` and `scores` have shape (candidates,), the most relevant first. `now_us` is the moment that ages count
        from. Without `tail` no place is given to the tail.
        """
        settings = self.settings
        value = _relevance(scores)
        if settings.recency:
            age = np.maximum(now_us - self._from_us[rows], 0) / (DAY_US * settings.half_life_days)
            value += settings.recency * np.exp2(-age)
        taken = self._taken(rows, value, min(k, len(rows)))
        if tail and 0 < settings.tail_slot <= len(taken):
            return self._with_tail(rows, taken)
        return taken

    def _taken(self, rows: NDArray[np.int64], value: NDArray[np.float64], k: int) -> NDArray[np.int64]:
        """The `k` positions with the highest marginal value, one after the other."""
        if not self.settings.diversity:
            return np.argsort(-value, kind="stable")[:k]
        genres, counts = self._genres[rows], self._counts[rows]
        taken = np.empty(k, np.int64)
        likeness, marginal = np.zeros(len(rows)), value.copy()
        for place in range(k):
            # Of equal values argmax has the first, which is the most relevant.
            best = int(marginal.argmax())
            taken[place] = best
            shared = np.bitwise_count(genres & genres[best]).sum(1)
            np.maximum(likeness, shared / (counts + counts[best] - shared), out=likeness)
            value[best] = -np.inf
            np.multiply(likeness, -self.settings.diversity, out=marginal)
            marginal += value
        return taken

    def _with_tail(self, rows: NDArray[np.int64], taken: NDArray[np.int64]) -> NDArray[np.int64]:
        """`taken` with the least popular of the first candidates at its place; what stood last makes room."""
        kept = taken[:-1]
        free = np.ones(min(self.settings.tail_from, len(rows)), np.bool_)
        free[kept[kept < len(free)]] = False
        left = np.flatnonzero(free)
        if not len(left):
            return taken
        least = left[self._popularity[rows[left]].argmin()]
        return np.insert(kept, self.settings.tail_slot - 1, least)


def genre_bits(catalogue: pa.Table) -> NDArray[np.uint64]:
    """One row of 64-bit words per item, one bit per genre; shape (items, words). Items without a genre share a bit of
    their own: they are as like as two items with the same genre (`analysis.lists.intra_list_diversity`).
    """
    genres = [frozenset(each) or frozenset({None}) for each in catalogue.column("genres").to_pylist()]
    names = sorted({name for each in genres for name in each}, key=lambda name: (name is None, name or ""))
    place = {name: divmod(number, WORD_BITS) for number, name in enumerate(names)}
    bits = np.zeros((len(genres), max(1, -(-len(names) // WORD_BITS))), np.uint64)
    for row, each in enumerate(genres):
        for word, bit in (place[name] for name in each):
            bits[row, word] |= np.uint64(1 << bit)
    return bits


def _relevance(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Scores, descending, brought to [0, 1]; 0 when they are all alike."""
    value = scores.astype(np.float64)
    if not len(value):
        return value
    span = value[0] - value[-1]
    value -= value[-1]
    return value / span if span > 0 else value


def _released_us(catalogue: pa.Table) -> NDArray[np.int64]:
    years = catalogue.column("year").to_numpy(zero_copy_only=False).astype(np.float64)
    since = (years - 1970) * YEAR_DAYS * DAY_US
    return np.where(np.isnan(since), UNKNOWN, np.clip(np.nan_to_num(since), UNKNOWN, -UNKNOWN)).astype(np.int64)


def _last_us(catalogue: pa.Table) -> NDArray[np.int64]:
    last = catalogue.column("last_interaction_us").to_numpy()
    return np.where(last > 0, last, UNKNOWN)
