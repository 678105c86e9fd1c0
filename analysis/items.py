"""What the catalogue says of items, by their number in it: what lists are measured with. Pure, numpy only.

Next module: `analysis.rows`, whose lists hold these numbers.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

PAD: Final = -1
"""Stands for no item, behind the end of a short list. Numbers below it are ids that the catalogue does not hold."""

WORD: Final = 64
"""Features in one integer."""


@dataclass(frozen=True)
class Items:
    """The catalogue's items by number. `tail`, shape (items,), says which lie outside the head.

    `popularity` (items,) counts who liked each, `features` (items, words) holds a bit for each of its genres; None
    where the catalogue does not say. `whole`: every item is here, so an id that is not is a violation.
    """

    index: Mapping[str, int]
    tail: npt.NDArray[np.bool_]
    popularity: npt.NDArray[np.int64] | None = None
    features: npt.NDArray[np.uint64] | None = None
    whole: bool = False

    def __len__(self) -> int:
        return len(self.index)

    def number(self, item: str) -> int:
        """The item's number; below PAD, and the same in every process, for an id that is not in the catalogue."""
        known = self.index.get(item)
        return known if known is not None else PAD - 1 - (zlib.crc32(item.encode()) & 0x3FFF_FFFF)


def items_of_tail(tail: Collection[str]) -> Items:
    """Only which ids are tail is known; everything else is head."""
    ordered = sorted(tail)
    return Items({item: number for number, item in enumerate(ordered)}, np.ones(len(ordered), dtype=np.bool_))


def items_of_catalogue(
    ids: Sequence[str], tail: Sequence[bool], popularity: Sequence[int] | None, genres: Sequence[Sequence[str]] | None
) -> Items:
    """The whole catalogue; one entry per item in each. `ValueError` when an id stands twice."""
    index = {item: number for number, item in enumerate(ids)}
    if len(index) < len(ids):
        raise ValueError(f"{len(ids) - len(index)} item ids stand twice in the catalogue")
    return Items(
        index,
        np.array(tail, dtype=np.bool_),
        None if popularity is None else np.array(popularity, dtype=np.int64),
        None if genres is None else feature_bits(genres),
        whole=True,
    )


def feature_bits(genres: Sequence[Sequence[str]]) -> npt.NDArray[np.uint64]:
    """One bit per distinct genre, in alphabetical order; shape (items, words)."""
    names = {name: number for number, name in enumerate(sorted({each for some in genres for each in some}))}
    bits = np.zeros((len(genres), max(1, -(-len(names) // WORD))), dtype=np.uint64)
    for row, some in enumerate(genres):
        for name in some:
            word, bit = divmod(names[name], WORD)
            bits[row, word] |= np.uint64(1 << bit)
    return bits
