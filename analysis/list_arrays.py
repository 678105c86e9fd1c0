"""The metrics of `analysis.lists` over many lists at once. Those are the definitions; a test holds both equal.

A list is a row of item numbers from best to worst, PAD behind its end (`analysis.items`). Next module:
`analysis.populations`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analysis.items import PAD, Items
from analysis.rank_biased_overlap import P

Lists = npt.NDArray[np.int32]
"""Shape (lists, k)."""
Values = npt.NDArray[np.float64]
"""Shape (lists,)."""
Flags = npt.NDArray[np.bool_]
CHUNK: Final = 1 << 15
"""Pairs of lists compared at once: k² flags each."""


def lengths(lists: Lists) -> npt.NDArray[np.int64]:
    """How many of the k slots are filled; shape (lists,)."""
    return np.asarray((lists != PAD).sum(axis=1))


def firsts(lists: Lists) -> Flags:
    """Where an id stands for the first time in its list; shape (lists, k)."""
    found = lists != PAD
    for place in range(1, lists.shape[1]):
        found[:, place] &= (lists[:, :place] != lists[:, place : place + 1]).all(axis=1)
    return np.asarray(found, dtype=np.bool_)


def tail_shares(lists: Lists, items: Items) -> Values:
    """`lists.long_tail_share` of each list."""
    return _shares(np.append(items.tail, False)[_rows(lists, len(items.tail))], lists)


def unknown_shares(lists: Lists) -> Values:
    """`lists.unknown_items` of each list."""
    return _shares(lists < PAD, lists)


def duplicate_shares(lists: Lists) -> Values:
    """`lists.duplicates` of each list."""
    return _shares((lists != PAD) & ~firsts(lists), lists)


def novelties(lists: Lists, popularity: npt.NDArray[np.int64]) -> Values:
    """`lists.novelty` of each list in bits, with all likes of the catalogue in the place of all users."""
    information = -np.log2(np.maximum(np.append(popularity, 0), 1) / max(int(popularity.sum()), 1))
    found = information[_rows(lists, len(popularity))]
    return _mean(np.where(lists != PAD, found, 0.0).sum(axis=1), lengths(lists))


def diversities(lists: Lists, features: npt.NDArray[np.uint64]) -> Values:
    """`lists.intra_list_diversity` of each list."""
    known = np.vstack([features, np.zeros((1, features.shape[1]), dtype=np.uint64)])
    bits = known[_rows(lists, len(features))]
    filled = lists != PAD
    total, pairs = np.zeros(len(lists)), np.zeros(len(lists), dtype=np.int64)
    for one in range(lists.shape[1]):
        for other in range(one + 1, lists.shape[1]):
            union = _bits(bits[:, one] | bits[:, other])
            alike = np.where(union > 0, _bits(bits[:, one] & bits[:, other]) / np.maximum(union, 1), 1.0)
            both = filled[:, one] & filled[:, other]
            total += np.where(both, 1 - alike, 0.0)
            pairs += both
    return _mean(total, pairs)


@dataclass(frozen=True)
class Matches:
    """What pairs of lists share: `shared` (pairs, k + 1) is X_d, ids common to the first d of both, for d = 0 … k.

    `sizes` (2, pairs) are the lengths, `distinct` (2, pairs) without repeats, `top` whether both begin alike, `places`
    (2, pairs) the sum of k − rank over distinct ids (rank from 0).
    """

    shared: npt.NDArray[np.int16]
    sizes: npt.NDArray[np.int64]
    distinct: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    top: Flags

    def overlap(self) -> Values:
        """`lists.overlap`."""
        return _mean(self.shared[:, -1], self.distinct.max(axis=0), empty=1.0)

    def jaccard(self) -> Values:
        """`lists.jaccard`."""
        return _mean(self.shared[:, -1], self.distinct.sum(axis=0) - self.shared[:, -1], empty=1.0)

    def displacement(self) -> Values:
        """`lists.displacement`: an id at ranks i and j takes k − max(i, j) off both, which is how often X counts it."""
        most = self.places.sum(axis=0)
        return _mean(most - 2 * self.shared.sum(axis=1), most)

    def rank_biased_overlap(self, p: float = P) -> Values:
        """`rank_biased_overlap.extrapolated`."""
        shorter, longer = self.sizes.min(axis=0)[:, None], self.sizes.max(axis=0)[:, None]
        depth = np.arange(1, self.shared.shape[1])
        both = np.take_along_axis(self.shared, shorter, axis=1)
        part = both / np.maximum(shorter, 1)
        # Behind the shorter list's end it is taken to go on sharing as it did.
        assumed = np.where(depth > shorter, part * (depth - shorter), 0.0)
        seen = np.where(depth <= longer, (self.shared[:, 1:] + assumed) / depth * p**depth, 0.0).sum(axis=1)
        rest = (self.shared[:, -1:] - both) / np.maximum(longer, 1) + part
        found = (1 - p) / p * seen + (rest * p**longer)[:, 0]
        return np.asarray(np.where(shorter[:, 0] > 0, found, (longer[:, 0] == 0).astype(np.float64)))


def matches(first: Lists, second: Lists) -> Matches:
    """Compare row i of `first` with row i of `second`."""
    k = first.shape[1]
    shared = np.zeros((len(first), k + 1), dtype=np.int16)
    once = [firsts(each) for each in (first, second)]
    for rows in _chunks(len(first)):
        same = first[rows][:, :, None] == second[rows][:, None, :]
        same &= once[0][rows][:, :, None] & once[1][rows][:, None, :]
        for depth in range(1, k + 1):
            # What joins at this depth stands in its last row or column.
            new = same[:, depth - 1, :depth].sum(axis=1) + same[:, : depth - 1, depth - 1].sum(axis=1)
            shared[rows, depth] = shared[rows, depth - 1] + new
    return Matches(
        shared=shared,
        sizes=np.stack([lengths(first), lengths(second)]),
        distinct=np.stack([each.sum(axis=1) for each in once]),
        places=np.stack([(each * (k - np.arange(k))).sum(axis=1) for each in once]),
        top=np.asarray(first[:, 0] == second[:, 0]),
    )


def _chunks(rows: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, rows, CHUNK))


def _rows(lists: Lists, items: int) -> npt.NDArray[np.int64]:
    """Row numbers into an array of the items with one more at the end, for whatever is none of them."""
    return np.where(lists >= 0, lists, items)


def _shares(marked: Flags, lists: Lists) -> Values:
    return _mean(marked.sum(axis=1), lengths(lists))


def _mean(total: npt.NDArray[np.generic], number: npt.NDArray[np.generic], empty: float = 0.0) -> Values:
    return np.asarray(np.where(number > 0, total / np.maximum(number, 1), empty), dtype=np.float64)  # type: ignore[operator]


def _bits(words: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.asarray(np.bitwise_count(words).sum(axis=1), dtype=np.int64)
