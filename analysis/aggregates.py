"""Additive sufficient statistics: sums per (user, time block), so that shards of a log can be added in any grouping.

One `CellSums` holds, for each cell in which a user had requests in a time block, the count and the sum of the values.
Means, rates and their two-way clustered variances need nothing else. Next module: `analysis.estimates`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
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


CLOSE: Final = 4
"""So many times as many numbers as labels may lie between the least and the greatest for a table of them."""


@dataclass(frozen=True)
class Clusters:
    """Users, blocks and cells of many requests, numbered once so that every metric can be summed by them.

    `cells` (requests,) is each request's cell; `users` and `blocks` (cells,) say whose it is, in ascending order.
    """

    cells: npt.NDArray[np.intp]
    users: Labels
    blocks: Integers

    @staticmethod
    def of(users: Labels, blocks: Integers) -> Clusters:
        """From one entry per request."""
        user_names, user_codes = np.unique(users, return_inverse=True)
        block_names, block_codes = np.unique(blocks, return_inverse=True)
        width = max(len(block_names), 1)
        cells, codes = np.unique(user_codes.astype(np.int64) * width + block_codes, return_inverse=True)
        return Clusters(codes, user_names[cells // width], block_names[cells % width].astype(np.int64))

    def sums(self, rows: npt.NDArray[np.bool_], values: Floats) -> CellSums:
        """The sums of `values` over the requests that `rows` marks; both have one entry per request."""
        return self.at(rows).all_sums(values[rows])

    def at(self, rows: npt.NDArray[np.bool_]) -> Clusters:
        """Those of the requests that `rows` marks."""
        return Clusters(self.cells[rows], self.users, self.blocks)

    def all_sums(self, values: Floats) -> CellSums:
        """The sums of `values`, one per request."""
        cells = self.cells
        counts = np.bincount(cells, minlength=len(self.users)).astype(np.float64)
        summed = totals(cells, values, len(self.users))
        some = counts > 0
        return CellSums(self.users[some], self.blocks[some], counts[some], summed[some])


def numbered(labels: Labels) -> npt.NDArray[np.intp]:
    """Labels as 0, 1, 2, … in ascending order: fast where they are sorted already, as the users of cells are, or are
    whole numbers that lie close together, as blocks do."""
    if len(labels) and (labels[1:] >= labels[:-1]).all():
        return np.concatenate([[0], np.cumsum(labels[1:] != labels[:-1])]).astype(np.intp)
    if len(labels) and labels.dtype == np.int64 and int(labels.max()) - int(labels.min()) <= CLOSE * len(labels):
        there = np.bincount(labels - labels.min()) > 0
        return np.asarray((np.cumsum(there) - 1)[labels - labels.min()], dtype=np.intp)
    return np.asarray(np.unique(labels, return_inverse=True)[1], dtype=np.intp)


def cell_sums(users: Labels, blocks: Integers, values: Floats) -> CellSums:
    """Sum `values` (one per request) into cells. All arrays have one entry per request."""
    return Clusters.of(users, blocks).all_sums(values)


def combined(parts: Iterable[CellSums]) -> CellSums:
    """The sum of all parts, whatever their number and order; empty when there are none."""
    some = [part for part in parts if len(part.counts)]
    if not some:
        return CellSums(np.array([], dtype=np.str_), np.array([], dtype=np.int64), np.array([]), np.array([]))
    who = Clusters.of(np.concatenate([part.users for part in some]), np.concatenate([part.blocks for part in some]))
    return CellSums(
        users=who.users,
        blocks=who.blocks,
        counts=totals(who.cells, np.concatenate([part.counts for part in some])),
        sums=totals(who.cells, np.concatenate([part.sums for part in some])),
    )


def time_blocks(event_us: Integers, block_us: int) -> Integers:
    """The number of the block each event time falls into, counted from the epoch: the same for every shard."""
    return event_us // block_us


def totals(codes: npt.NDArray[np.intp], values: Floats, least: int = 0) -> Floats:
    """The sum of `values` for each code 0, 1, 2, …, for `least` codes at least."""
    return np.asarray(np.bincount(codes, weights=values, minlength=least), dtype=np.float64)


def same_cells(first: CellSums, second: CellSums) -> bool:
    """Whether both were summed over the same requests, so that their sums may be divided cell by cell."""
    pairs = ((first.users, second.users), (first.blocks, second.blocks), (first.counts, second.counts))
    return all(np.array_equal(one, other) for one, other in pairs)
