"""Additive sufficient statistics: sums per (user, time block), so that shards of a log can be added in any grouping.

One `CellSums` holds, for each cell in which a user had requests in a time block, the count and the sum of the values.
Means, rates and their two-way clustered variances need nothing else. Next module: `analysis.estimates`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Texts = npt.NDArray[np.str_]
Labels = npt.NDArray[Any]
"""What names users: texts, or integers that mean the same in every shard."""


@dataclass(frozen=True)
class CellSums:
    """Counts and sums of one metric per (user, block) cell, in ascending order of (user, block); all of one length."""

    users: Labels
    blocks: Integers
    counts: Floats
    sums: Floats

    def __add__(self, other: CellSums) -> CellSums:
        """The statistics of both parts together."""
        return combined([self, other])

    @property
    def requests(self) -> int:
        """How many values went in."""
        return int(self.counts.sum())


def cell_sums(users: Labels, blocks: Integers, values: Floats) -> CellSums:
    """Sum `values` (one per request) into cells. All arrays have one entry per request."""
    return _grouped(users, blocks, np.ones(len(values)), values)


def combined(parts: Iterable[CellSums]) -> CellSums:
    """The sum of all parts, whatever their number and order; empty when there are none."""
    some = [part for part in parts if len(part.counts)]
    if not some:
        return CellSums(np.array([], dtype=np.str_), np.array([], dtype=np.int64), np.array([]), np.array([]))
    return _grouped(
        np.concatenate([part.users for part in some]),
        np.concatenate([part.blocks for part in some]),
        np.concatenate([part.counts for part in some]),
        np.concatenate([part.sums for part in some]),
    )


def time_blocks(event_us: Integers, block_us: int) -> Integers:
    """The number of the block each event time falls into, counted from the epoch: the same for every shard."""
    return event_us // block_us


def totals(codes: npt.NDArray[np.intp], values: Floats) -> Floats:
    """The sum of `values` for each code 0, 1, 2, …"""
    return np.asarray(np.bincount(codes, weights=values), dtype=np.float64)


def same_cells(first: CellSums, second: CellSums) -> bool:
    """Whether both were summed over the same requests, so that their sums may be divided cell by cell."""
    pairs = ((first.users, second.users), (first.blocks, second.blocks), (first.counts, second.counts))
    return all(np.array_equal(one, other) for one, other in pairs)


def _grouped(users: Labels, blocks: Integers, counts: Floats, sums: Floats) -> CellSums:
    user_names, user_codes = np.unique(users, return_inverse=True)
    block_names, block_codes = np.unique(blocks, return_inverse=True)
    width = max(len(block_names), 1)
    cells, codes = np.unique(user_codes.astype(np.int64) * width + block_codes, return_inverse=True)
    return CellSums(
        users=user_names[cells // width],
        blocks=block_names[cells % width].astype(np.int64),
        counts=totals(codes, counts),
        sums=totals(codes, sums),
    )
