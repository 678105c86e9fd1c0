"""Half a sweep of iALS: every row of one side solved exactly against the fixed vectors of the other.

Row r minimises  Σ_i c_i (p_i − x·y_i)² + w xᵀG x + λ_r |x|²  with G = YᵀY, so (YᵀCY + w G + λ_r I) x = YᵀC p with the
rows of Y and C that r has ratings for. In the basis of G's eigenvectors w G + λ_r I is a diagonal D, and with
A = √C Y D^−½ and b = √C p

    x = D^−½ (I + AᵀA)⁻¹ Aᵀ b  =  D^−½ Aᵀ (I + AAᵀ)⁻¹ b.

The first matrix has the size of the vectors, the second the number of ratings, and a Cholesky factor costs the cube:
the smaller one is factored (most users have fewer ratings than dimensions). Both are the identity plus something
positive, so float32 carries them.

Rows of like length are padded into batches of bounded size. Threads take whole batches and every kernel runs on one
thread, so the bytes do not depend on how many there are. Next module: `training.ials`, which alternates.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from training.device import CPU

BATCH_ENTRIES: Final = 16_384
"""Padded ratings that a thread gathers at once: about 12 MB of working memory at 64 dimensions."""
GRAM_ROWS: Final = 65_536
"""Rows summed in single precision before the sum goes on in double precision."""
Rows = NDArray[np.int64]
"""Numbers of rows, in the memory of the processor."""
T = TypeVar("T")


class Workers(Protocol):
    """Maps a function over batches, several at a time; the results come in the order of the batches."""

    def __call__(self, work: Callable[[Rows], T], batches: list[Rows], /) -> Iterator[T]:
        """The first exception of `work` ends it."""


@dataclass(frozen=True)
class Side:
    """One side's ratings: for row r the entries start[r]..start[r+1] of `columns` (int32) and `halves` (uint8).

    `halves` are half stars. `positives` (int64): how many entries of a row are positive. `batches`: the rows that have
    an entry, those of like length together. `lengths` (int64): entries of a row. The last two stay in the memory of the
    processor, where the work is cut into pieces; the tensors are on the device that does it.
    """

    start: torch.Tensor
    columns: torch.Tensor
    halves: torch.Tensor
    positives: torch.Tensor
    lengths: NDArray[np.int64]
    batches: list[Rows]

    @staticmethod
    def of(
        rows: NDArray[np.int32],
        columns: NDArray[np.int32],
        halves: NDArray[np.uint8],
        positive: NDArray[np.bool_],
        count: int,
        device: torch.device = CPU,
    ) -> Side:
        """Group entries by row, in their order. `positive`: which of them are; `count`: rows in all."""
        # Torch sorts whole numbers by radix, several times as fast as numpy; it is as stable.
        order = torch.sort(torch.from_numpy(rows), stable=True).indices
        lengths = np.bincount(rows, minlength=count)
        positives = np.bincount(rows[positive], minlength=count)
        return Side(
            start=torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)])).to(device),
            columns=torch.from_numpy(columns)[order].to(device),
            halves=torch.from_numpy(halves)[order].to(device),
            positives=torch.from_numpy(positives).to(device),
            lengths=lengths,
            # Without a positive the optimum is zero, also where λ is (no weight on the unobserved).
            batches=_batches(np.where(positives > 0, lengths, 0)),
        )

    def slices(self, rows: Rows) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(entries, valid), both of shape (rows, width), padded and in slices of at most about `BATCH_ENTRIES`.

        A batch is one slice; only a single row with more ratings than that has several.
        """
        width, step = self.longest(rows), max(1, BATCH_ENTRIES // len(rows))
        mine = placed(rows, self.start.device)
        begin, end = self.start[mine], self.start[mine + 1]
        for first in range(0, width, step):
            entries = begin[:, None] + torch.arange(first, min(first + step, width), device=begin.device)
            valid = entries < end[:, None]
            yield entries.where(valid, 0), valid

    def longest(self, rows: Rows) -> int:
        """The most entries that one of `rows` has; asks no device."""
        return int(self.lengths[rows].max())


def placed(rows: Rows, device: torch.device) -> torch.Tensor:
    """`rows` on `device`."""
    return torch.from_numpy(rows).to(device)


def _batches(lengths: NDArray[np.int64]) -> list[Rows]:
    """The rows with a length, ascending, in batches of at most `BATCH_ENTRIES` padded entries or one row."""
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] > 0]
    ascending, cuts = lengths[order].tolist(), [0]
    while cuts[-1] < len(order):
        cuts.append(_end(ascending, cuts[-1]))
    return [order[begin:end].copy() for begin, end in itertools.pairwise(cuts)]


def _end(ascending: list[int], begin: int) -> int:
    """Where the batch that begins at `begin` ends."""

    def padded(end: int) -> int:
        return (end - begin) * ascending[end - 1]

    beyond = bisect.bisect_right(range(len(ascending) + 1), BATCH_ENTRIES, lo=begin + 1, key=padded)
    return max(begin + 1, beyond - 1)


@contextmanager
def workers(threads: int) -> Iterator[Workers]:
    """`threads` workers. Torch's own threads are one meanwhile, everywhere, or sums would depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads, thread_name_prefix="half-sweep") as pool:
            yield pool.map
    finally:
        torch.set_num_threads(before)


def gram(vectors: torch.Tensor) -> torch.Tensor:
    """VᵀV of `vectors` (rows, d), float64."""
    total = torch.zeros(vectors.shape[1], vectors.shape[1], dtype=torch.float64, device=vectors.device)
    for first in range(0, len(vectors), GRAM_ROWS):
        part = vectors[first : first + GRAM_ROWS]
        total += part.T @ part
    return total


@dataclass(frozen=True)
class HalfSweep:
    """What the batches of a half share.

    `rotated` (others, d): the fixed vectors in the eigenbasis of their Gram matrix, `basis` (d, d). D of row r is
    `shared` (d,) + `penalty[r]`, float64. `roots` and `preferences` (11,), float32: √c and p by half stars.
    """

    side: Side
    rotated: torch.Tensor
    basis: torch.Tensor
    shared: torch.Tensor
    penalty: torch.Tensor
    roots: torch.Tensor
    preferences: torch.Tensor

    @staticmethod
    def of(
        side: Side,
        fixed: torch.Tensor,
        unobserved_weight: float,
        penalty: torch.Tensor,
        roots: torch.Tensor,
        preferences: torch.Tensor,
    ) -> HalfSweep:
        """For the rows of `side` against `fixed` (others, d), float32."""
        eigenvalues, basis = torch.linalg.eigh(gram(fixed))
        shared = unobserved_weight * eigenvalues.clamp(min=0)
        return HalfSweep(side, fixed @ basis.float(), basis.float(), shared, penalty, roots, preferences)

    def solve(self, rows: Rows) -> torch.Tensor:
        """The optimum of each of `rows`; shape (rows, d). `LinAlgError` when float32 has none."""
        scale = (self.shared + self.penalty[placed(rows, self.penalty.device)][:, None]).rsqrt().float()
        few = self.side.longest(rows) < len(self.shared)
        scaled = self._by_ratings(rows, scale) if few else self._by_dimensions(rows, scale)
        return (scaled[:, :, 0] * scale) @ self.basis.T

    def _by_ratings(self, rows: Rows, scale: torch.Tensor) -> torch.Tensor:
        """Aᵀ (I + AAᵀ)⁻¹ b."""
        ((entries, valid),) = self.side.slices(rows)
        a, b = self._gathered(entries, valid, scale)
        return a.transpose(1, 2) @ _solve_positive(a @ a.transpose(1, 2), b)

    def _by_dimensions(self, rows: Rows, scale: torch.Tensor) -> torch.Tensor:
        """(I + AᵀA)⁻¹ Aᵀ b."""
        d = scale.shape[1]
        matrix, wanted = scale.new_zeros(len(rows), d, d), scale.new_zeros(len(rows), d, 1)
        for entries, valid in self.side.slices(rows):
            a, b = self._gathered(entries, valid, scale)
            matrix.baddbmm_(a.transpose(1, 2), a)
            wanted.baddbmm_(a.transpose(1, 2), b)
        return _solve_positive(matrix, wanted)

    def _gathered(
        self, entries: torch.Tensor, valid: torch.Tensor, scale: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A and b of `entries`: shapes (rows, width, d) and (rows, width, 1); padding is zero."""
        stars = self.side.halves[entries].int()
        roots = self.roots[stars].where(valid, 0)
        # index_select copies whole rows; indexing by a table of rows is five times as slow.
        a = self.rotated.index_select(0, self.side.columns[entries].flatten()).view(*valid.shape, -1)
        a.mul_(roots[:, :, None]).mul_(scale[:, None, :])
        return a, (roots * self.preferences[stars])[:, :, None]


def _solve_positive(matrix: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """(I + matrix)⁻¹ wanted for a batch; `matrix` is used up."""
    matrix.diagonal(dim1=1, dim2=2).add_(1)
    return torch.cholesky_solve(wanted, torch.linalg.cholesky(matrix))
