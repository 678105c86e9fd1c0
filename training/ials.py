"""iALS: matrix factorisation for implicit feedback by alternating least squares, in PyTorch.

Minimises  Σ_{(u,i) ∈ S} c_ui (p_ui − x_u·y_i)²  +  w Σ_{u,i} (x_u·y_i)²  +  Σ_u λ_u |x_u|²  +  Σ_i λ_i |y_i|²
over the ratings S that have a weight c: p is 1 for a positive and 0 for an observed dislike. λ_u = reg · (n_u + w ·
items)^ν with n_u the positives of u, and λ_i alike; the second sum and the counts go over the users and items that
occur in the data, whatever else the id lists name (Hu, Koren and Volinsky, ICDM 2008; the
scaling by frequency: Rendle, Krichene, Zhang and Koren, "Revisiting the Performance of iALS", RecSys 2022). Each half
of a sweep solves its side exactly, so the loss never rises. Next module: `training.evaluate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray

from training.checkpoint import Checkpoint, State
from training.errors import TrainingError
from training.interactions import POSITIVE, Interactions

BATCH_ENTRIES: Final = 100_000
"""Padded entries that are gathered at once: bounds memory to about 100 MB at 64 dimensions."""


class IalsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hyperparameters; the defaults won on validation (research note §2b)."""

    dimension: Annotated[int, Meta(ge=1, le=1024)] = 64
    """Length of the vectors."""
    sweeps: Annotated[int, Meta(ge=1, le=1000)] = 8
    """Full sweeps, each solving all users and then all items."""
    unobserved_weight: Annotated[float, Meta(ge=0)] = 0.1
    """w: weight of "no interaction" as a zero, for every cell."""
    regularisation: Annotated[float, Meta(gt=0)] = 1.0
    """reg."""
    regularisation_exponent: Annotated[float, Meta(ge=0, le=2)] = 0.5
    """ν: how strongly frequent users and items are regularised."""
    seed: int = 1
    """Of the item vectors to start from."""
    positive: Annotated[float, Meta(ge=0.5, le=5)] = POSITIVE
    """A rating of so many stars or more is a positive."""
    weights: dict[str, float] = {}
    """c by stars, for instance {"5": 1.7, "2": 0.5}. Stars that are not named weigh 1 as positives and 0 below."""

    def __post_init__(self) -> None:
        known = {f"{half / 2:g}" for half in range(1, 11)}
        for stars, weight in self.weights.items():
            if stars not in known:
                raise ValueError(f"weights: {stars!r} is no number of stars; write 0.5, 1, 1.5 … 5")
            if not 0 <= weight < math.inf:
                raise ValueError(f"weights.{stars} is {weight:g}; it must be 0 or more and finite")

    def confidence(self, rating: NDArray[np.float32]) -> NDArray[np.float32]:
        """c of each rating."""
        found = (rating >= self.positive).astype(np.float32)
        for stars, weight in self.weights.items():
            found[rating == float(stars)] = weight
        return found


@dataclass(frozen=True)
class Factors:
    """Vectors of shape (users, d) and (items, d), float32, and the loss after each sweep."""

    users: NDArray[np.float32]
    items: NDArray[np.float32]
    losses: list[float]


@dataclass(frozen=True)
class Side:
    """One side's ratings: for row r the entries start[r]..start[r+1] of `columns`, `weights` and `preferences`."""

    start: torch.Tensor
    columns: torch.Tensor
    weights: torch.Tensor
    preferences: torch.Tensor
    positives: torch.Tensor
    """n: how many of a row's entries have preference 1."""
    batches: list[torch.Tensor]

    @staticmethod
    def of(
        rows: NDArray[np.int32],
        columns: NDArray[np.int32],
        weights: NDArray[np.float32],
        preferences: NDArray[np.float32],
        count: int,
    ) -> Side:
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
            torch.from_numpy(preferences[order]),
            torch.from_numpy(np.bincount(rows, preferences, count)),
            batches,
        )


def fit(
    interactions: Interactions,
    settings: IalsSettings,
    threads: int,
    on_sweep: Callable[[int, float], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Factors:
    """Fit on `interactions`. Rows without a positive have the zero vector. `on_sweep(sweep, loss)`.

    Same data, settings and torch give the same bytes on the same machine, whatever `threads` torch may use.
    With a `checkpoint` a fit that was interrupted goes on after its last whole sweep, and ends with the same bytes.
    `TrainingError` names the sweep and the setting when the loss is no number any more.
    """
    torch.set_num_threads(threads)
    known, data = interactions.compact()
    by_user, by_item = sides(data, settings)
    state = (checkpoint.load() if checkpoint else None) or _start(data, settings)
    user_vectors, item_vectors = torch.from_numpy(state.users), torch.from_numpy(state.items)
    losses = list(state.losses)
    for sweep in range(len(losses), settings.sweeps):
        try:
            _solve(by_user, item_vectors, user_vectors, settings)
            _solve(by_item, user_vectors, item_vectors, settings)
        except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
            raise TrainingError(f"sweep {sweep + 1}: a row has no solution in float32. {_suspect(settings)}") from error
        losses.append(loss(by_user, by_item, user_vectors, item_vectors, settings))
        if not math.isfinite(losses[-1]):
            raise TrainingError(f"sweep {sweep + 1}: the loss is {losses[-1]}. {_suspect(settings)}")
        if checkpoint:
            checkpoint.save(State(user_vectors.numpy(), item_vectors.numpy(), losses))
        if on_sweep:
            on_sweep(sweep + 1, losses[-1])
    if checkpoint:
        checkpoint.clear()
    return Factors(
        _spread(user_vectors, known.users, len(interactions.user_ids)),
        _spread(item_vectors, known.items, len(interactions.item_ids)),
        losses,
    )


def fold_in(
    interactions: Interactions, item_vectors: NDArray[np.float32], settings: IalsSettings
) -> NDArray[np.float32]:
    """User vectors against fixed `item_vectors` of shape (items, d): one half of a sweep; shape (users, d).

    The sums over all items go over those that occur in `interactions`, as in `fit`. Users without a rating have zero.
    """
    known, data = interactions.compact()
    by_user, _ = sides(data, settings)
    fixed = torch.from_numpy(np.ascontiguousarray(item_vectors[known.items]))
    solved = torch.zeros((len(data.user_ids), item_vectors.shape[1]))
    _solve(by_user, fixed, solved, settings)
    return _spread(solved, known.users, len(interactions.user_ids))


def _start(data: Interactions, settings: IalsSettings) -> State:
    """Small random item vectors, the same for the same seed; the first half of a sweep makes the users'."""
    generator = torch.Generator().manual_seed(settings.seed)
    items = torch.randn((len(data.item_ids), settings.dimension), generator=generator) * 0.1 / settings.dimension**0.5
    return State(np.zeros((len(data.user_ids), settings.dimension), np.float32), items.numpy(), [])


def sides(data: Interactions, settings: IalsSettings) -> tuple[Side, Side]:
    """The ratings with a weight, by user and by item. `TrainingError` when there is no positive among them."""
    confidence = settings.confidence(data.rating)
    used = data.where(confidence > 0)
    weights = confidence[confidence > 0]
    preferences = (used.rating >= settings.positive).astype(np.float32)
    if not preferences.any():
        raise TrainingError(f"no rating of {settings.positive:g} stars or more has a weight: nothing to learn from")
    return (
        Side.of(used.user, used.item, weights, preferences, len(data.user_ids)),
        Side.of(used.item, used.user, weights, preferences, len(data.item_ids)),
    )


def _suspect(settings: IalsSettings) -> str:
    """The setting that most likely made a loss infinite."""
    largest = max(settings.weights.values(), default=1.0)
    if largest > 1e6:
        return f"weights has {largest:g}; float32 cannot carry it."
    return f"Raise regularisation ({settings.regularisation:g}) or lower the weights."


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
    observed = (side.weights * (side.preferences - scores) ** 2).sum()
    everything = settings.unobserved_weight * ((x.T @ x) * (y.T @ y)).sum()
    penalty = (_penalty(side, len(items), settings) * x.square().sum(1)).sum()
    penalty += (_penalty(other, len(users), settings) * y.square().sum(1)).sum()
    return float(observed + everything + penalty)


def _penalty(side: Side, others: int, settings: IalsSettings) -> torch.Tensor:
    """λ of every row of one side."""
    scale = side.positives.double() + settings.unobserved_weight * others
    return settings.regularisation * scale**settings.regularisation_exponent


def _solve(side: Side, fixed: torch.Tensor, solved: torch.Tensor, settings: IalsSettings) -> None:
    """Set every row of `solved` with a rating to its optimum given `fixed`; the rest to zero."""
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
        wanted = (weighted * side.preferences[entries][:, :, None]).sum(1)
        solved[rows] = torch.cholesky_solve(wanted[:, :, None], factor)[:, :, 0]
