"""iALS: matrix factorisation for implicit feedback by alternating least squares, in PyTorch.

Minimises  Σ_{(u,i) ∈ S} c_ui (1 − x_u·y_i)²  +  w Σ_{u,i} (x_u·y_i)²  +  Σ_u λ_u |x_u|²  +  Σ_i λ_i |y_i|²
over the positives S, with λ_u = reg · (|S_u| + w · items)^ν and λ_i alike; the second sum and the counts go over the
users and items that occur in the data, whatever else the id lists name (Hu, Koren and Volinsky, ICDM 2008; the
scaling by frequency: Rendle, Krichene, Zhang and Koren, "Revisiting the Performance of iALS", RecSys 2022). Each half
of a sweep solves its side exactly, so the loss never rises. Next module: `training.evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from training.interactions import Interactions

BATCH_ENTRIES: Final = 100_000
"""Padded entries that are gathered at once: bounds memory to about 100 MB at 64 dimensions."""


class IalsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hyperparameters; the defaults won on validation (research note §2b)."""

    dimension: int = 64
    """Length of the vectors."""
    sweeps: int = 8
    """Full sweeps, each solving all users and then all items."""
    unobserved_weight: float = 0.1
    """w: weight of "no interaction" as a zero, for every cell."""
    regularisation: float = 1.0
    """reg."""
    regularisation_exponent: float = 0.5
    """ν: how strongly frequent users and items are regularised."""
    seed: int = 1
    """Of the item vectors to start from."""
    four_star_weight: float = 1.0
    """c of a positive with 4 stars."""
    five_star_weight: float = 1.0
    """c of a positive with 5 stars."""


@dataclass(frozen=True)
class Factors:
    """Vectors of shape (users, d) and (items, d), float32, and the loss after each sweep."""

    users: NDArray[np.float32]
    items: NDArray[np.float32]
    losses: list[float]


@dataclass(frozen=True)
class Side:
    """One side's positives: for row r the entries start[r]..start[r+1] of `columns` and `weights`."""

    start: torch.Tensor
    columns: torch.Tensor
    weights: torch.Tensor
    batches: list[torch.Tensor]

    @staticmethod
    def of(rows: NDArray[np.int32], columns: NDArray[np.int32], weights: NDArray[np.float32], count: int) -> Side:
        """Group entries by row; batches hold rows of like length, so that little is padded."""
        order = np.argsort(rows, kind="stable")
        lengths = np.bincount(rows, minlength=count)
        start = np.concatenate([[0], np.cumsum(lengths)])
        by_length = np.argsort(lengths, kind="stable")
        by_length = by_length[lengths[by_length] > 0]
        batches, begin = [], 0
        while begin < len(by_length):
            end = begin + 1
            while end < len(by_length) and (end + 1 - begin) * lengths[by_length[end]] <= BATCH_ENTRIES:
                end += 1
            batches.append(torch.from_numpy(by_length[begin:end].copy()))
            begin = end
        return Side(
            torch.from_numpy(start),
            torch.from_numpy(columns[order].astype(np.int64)),
            torch.from_numpy(weights[order]),
            batches,
        )


def fit(
    interactions: Interactions,
    settings: IalsSettings,
    threads: int,
    on_sweep: Callable[[int, float], None] | None = None,
) -> Factors:
    """Fit on the positives of `interactions`. Rows without a positive have the zero vector. `on_sweep(sweep, loss)`.

    Same data, settings and torch give the same bytes on the same machine, whatever `threads` torch may use.
    """
    torch.set_num_threads(threads)
    known, data = interactions.compact()
    liked = data.positives
    weight = np.where(liked.rating == 5, settings.five_star_weight, settings.four_star_weight).astype(np.float32)
    by_user = Side.of(liked.user, liked.item, weight, len(data.user_ids))
    by_item = Side.of(liked.item, liked.user, weight, len(data.item_ids))
    generator = torch.Generator().manual_seed(settings.seed)
    deviation = 0.1 / settings.dimension**0.5
    item_vectors = torch.randn((len(data.item_ids), settings.dimension), generator=generator) * deviation
    user_vectors = torch.zeros((len(data.user_ids), settings.dimension))
    losses = []
    for sweep in range(settings.sweeps):
        _solve(by_user, item_vectors, user_vectors, settings)
        _solve(by_item, user_vectors, item_vectors, settings)
        losses.append(loss(by_user, by_item, user_vectors, item_vectors, settings))
        if on_sweep:
            on_sweep(sweep + 1, losses[-1])
    return Factors(
        _spread(user_vectors, known.users, len(interactions.user_ids)),
        _spread(item_vectors, known.items, len(interactions.item_ids)),
        losses,
    )


def _spread(vectors: torch.Tensor, rows: NDArray[np.int64], count: int) -> NDArray[np.float32]:
    """`vectors` at `rows` of `count`, zeros elsewhere."""
    spread = np.zeros((count, vectors.shape[1]), np.float32)
    spread[rows] = vectors.numpy()
    return spread


def loss(side: Side, other: Side, users: torch.Tensor, items: torch.Tensor, settings: IalsSettings) -> float:
    """The objective of the module's docstring, in double precision."""
    x, y = users.double(), items.double()
    rows = torch.repeat_interleave(torch.arange(len(users)), side.start.diff())
    scores = (x[rows] * y[side.columns]).sum(1)
    observed = (side.weights * (1 - scores) ** 2).sum()
    everything = settings.unobserved_weight * ((x.T @ x) * (y.T @ y)).sum()
    penalty = (_penalty(side, len(items), settings) * x.square().sum(1)).sum()
    penalty += (_penalty(other, len(users), settings) * y.square().sum(1)).sum()
    return float(observed + everything + penalty)


def _penalty(side: Side, others: int, settings: IalsSettings) -> torch.Tensor:
    """λ of every row of one side."""
    scale = side.start.diff().double() + settings.unobserved_weight * others
    return settings.regularisation * scale**settings.regularisation_exponent


def _solve(side: Side, fixed: torch.Tensor, solved: torch.Tensor, settings: IalsSettings) -> None:
    """Set every row of `solved` with a positive to its optimum given `fixed`; the rest to zero."""
    gram = settings.unobserved_weight * (fixed.T @ fixed)
    penalty = _penalty(side, len(fixed), settings).float()
    lengths = side.start.diff()
    solved.zero_()
    for rows in side.batches:
        width = int(lengths[rows].max())
        offsets = torch.arange(width)
        valid = offsets[None, :] < lengths[rows][:, None]
        entries = torch.where(valid, side.start[rows][:, None] + offsets, 0)
        vectors = fixed[side.columns[entries]]
        weights = side.weights[entries] * valid
        weighted = vectors * weights[:, :, None]
        matrix = (
            weighted.transpose(1, 2) @ vectors
            + gram
            + torch.diag_embed(penalty[rows][:, None].expand(-1, fixed.shape[1]))
        )
        factor = torch.linalg.cholesky(matrix)
        solved[rows] = torch.cholesky_solve(weighted.sum(1)[:, :, None], factor)[:, :, 0]
