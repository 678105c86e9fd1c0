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
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import numpy as np
import torch
from msgspec import Meta
from numpy.typing import NDArray

from training.checkpoint import Checkpoint, State
from training.device import CPU, usable
from training.errors import TrainingError
from training.half_sweep import HalfSweep, Rows, Side, Workers, gram, placed, workers
from training.interactions import POSITIVE, Interactions, Known

LARGEST: Final = 1e6
"""Of a weight or a regularisation; more is a slip of the pen, and infinity is none."""
HALF_STARS: Final = np.arange(11, dtype=np.float32) / np.float32(2)
"""The stars by half stars: tables of weights and preferences have a row for each."""


class IalsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hyperparameters; the defaults won on validation (research note §2b)."""

    dimension: Annotated[int, Meta(ge=1, le=1024)] = 64
    """Length of the vectors."""
    sweeps: Annotated[int, Meta(ge=1, le=1000)] = 8
    """Full sweeps, each solving all users and then all items."""
    unobserved_weight: Annotated[float, Meta(ge=0, le=LARGEST)] = 0.1
    """w: weight of "no interaction" as a zero, for every cell."""
    regularisation: Annotated[float, Meta(gt=0, le=LARGEST)] = 1.0
    """reg."""
    regularisation_exponent: Annotated[float, Meta(ge=0, le=2)] = 0.5
    """ν: how strongly frequent users and items are regularised."""
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 1
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

    @property
    def canonical(self) -> IalsSettings:
        """The same model in one form: weights that are the default anyway are left out, a threshold between two numbers
        of stars is the upper one.
        """
        positive = math.ceil(2 * self.positive) / 2
        defaults = {stars: float(float(stars) >= positive) for stars in self.weights}
        # Adding 0 makes −0 a 0, which it is.
        weights = {stars: weight + 0.0 for stars, weight in self.weights.items() if weight != defaults[stars]}
        return msgspec.structs.replace(self, positive=positive, weights=weights)

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


def fit(
    interactions: Interactions,
    settings: IalsSettings,
    threads: int,
    on_sweep: Callable[[int, float], None] | None = None,
    checkpoint: Checkpoint | None = None,
    device: str = "cpu",
) -> Factors:
    """Fit on `interactions`. Rows without a positive have the zero vector. `on_sweep(sweep, loss)`.

    `device` is torch's name of what computes ("cpu", "cuda"); the vectors come back to the memory of the processor.

    Same data, settings, torch and device give the same bytes on the same machine, whatever `threads` torch may use.
    With a `checkpoint` a fit that was interrupted goes on after its last whole sweep, and ends with the same bytes.
    `TrainingError` names the sweep and the setting when the loss is no number any more; `ConfigurationError` the
    device that cannot be used.
    """
    on = usable(device)
    with workers(threads) as by:
        known, by_user, by_item = sides(interactions, settings, on)
        state = (checkpoint.load() if checkpoint else None) or _start(known, settings)
        # Copied into torch's memory: sums may depend on how their operands are aligned.
        user_vectors, item_vectors = torch.tensor(state.users, device=on), torch.tensor(state.items, device=on)
        losses = list(state.losses)
        for sweep in range(len(losses), settings.sweeps):
            try:
                _solve(by_user, item_vectors, user_vectors, settings, by)
                _solve(by_item, user_vectors, item_vectors, settings, by)
            except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
                told = f"sweep {sweep + 1}: a row has no solution in float32. {_suspect(settings)}"
                raise TrainingError(told) from error
            losses.append(loss(by_user, by_item, user_vectors, item_vectors, settings, by))
            if not math.isfinite(losses[-1]):
                raise TrainingError(f"sweep {sweep + 1}: the loss is {losses[-1]}. {_suspect(settings)}")
            if checkpoint:
                checkpoint.save(State(user_vectors.cpu().numpy(), item_vectors.cpu().numpy(), losses))
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
    interactions: Interactions, item_vectors: NDArray[np.float32], settings: IalsSettings, device: str = "cpu"
) -> NDArray[np.float32]:
    """User vectors against fixed `item_vectors` of shape (items, d): one half of a sweep; shape (users, d).

    The sums over all items go over those that occur in `interactions`, as in `fit`. Users without a rating have zero.
    """
    on = usable(device)
    with workers(1) as by:
        known, by_user, _ = sides(interactions, settings, on)
        solved = torch.zeros((len(known.users), item_vectors.shape[1]), device=on)
        _solve(by_user, torch.tensor(item_vectors[known.items], device=on), solved, settings, by)
    return _spread(solved, known.users, len(interactions.user_ids))


def _start(known: Known, settings: IalsSettings) -> State:
    """Small random item vectors, the same for the same seed; the first half of a sweep makes the users'."""
    generator = torch.Generator().manual_seed(settings.seed)
    items = torch.randn((len(known.items), settings.dimension), generator=generator) * 0.1 / settings.dimension**0.5
    return State(np.zeros((len(known.users), settings.dimension), np.float32), items.numpy(), [])


def sides(interactions: Interactions, settings: IalsSettings, device: torch.device = CPU) -> tuple[Known, Side, Side]:
    """Who and what occurs in `interactions`, and their ratings with a weight, by user and by item, on `device`.

    `TrainingError` when there is no positive among them.
    """
    known, data = interactions.compact()
    used = settings.confidence(data.rating) > 0
    user, item, halves = data.user[used], data.item[used], (2 * data.rating[used]).astype(np.uint8)
    positive = halves >= 2 * settings.positive
    if not positive.any():
        raise TrainingError(f"no rating of {settings.positive:g} stars or more has a weight: nothing to learn from")
    return (
        known,
        Side.of(user, item, halves, positive, len(data.user_ids), device),
        Side.of(item, user, halves, positive, len(data.item_ids), device),
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
    spread[rows] = vectors.cpu().numpy()
    return spread


def loss(
    side: Side, other: Side, users: torch.Tensor, items: torch.Tensor, settings: IalsSettings, by: Workers
) -> float:
    """The objective of the module's docstring: scores in single precision, sums in double precision."""
    weights, preferences = _tables(settings, users.device)

    def observed(rows: Rows) -> torch.Tensor:
        total = torch.zeros((), dtype=torch.float64, device=users.device)
        mine = users[placed(rows, users.device)][:, :, None]
        for entries, valid in side.slices(rows):
            stars = side.halves[entries].int()
            vectors = items.index_select(0, side.columns[entries].flatten()).view(*valid.shape, -1)
            missed = preferences[stars] - (vectors @ mine)[:, :, 0]
            total += (weights[stars].where(valid, 0).double() * missed.double().square()).sum()
        return total

    everything = settings.unobserved_weight * (gram(users) * gram(items)).sum()
    penalty = _penalty(side, len(items), settings) @ _squares(users)
    penalty += _penalty(other, len(users), settings) @ _squares(items)
    return math.fsum(map(float, by(observed, side.batches))) + float(everything + penalty)


def _squares(vectors: torch.Tensor) -> torch.Tensor:
    """|v|² of every row, float64."""
    lengths: torch.Tensor = torch.linalg.vector_norm(vectors, dim=1)
    return lengths.double().square()


def _tables(settings: IalsSettings, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """c and p by half stars; shape (11,), float32."""
    preferences = (settings.positive <= HALF_STARS).astype(np.float32)
    return torch.from_numpy(settings.confidence(HALF_STARS)).to(device), torch.from_numpy(preferences).to(device)


def _penalty(side: Side, others: int, settings: IalsSettings) -> torch.Tensor:
    """λ of every row of one side, float64."""
    scale = side.positives.double() + settings.unobserved_weight * others
    return settings.regularisation * scale**settings.regularisation_exponent


def _solve(side: Side, fixed: torch.Tensor, solved: torch.Tensor, settings: IalsSettings, by: Workers) -> None:
    """Set every row of `solved` with a rating to its optimum given `fixed`; the rest to zero."""
    weights, preferences = _tables(settings, fixed.device)
    penalty = _penalty(side, len(fixed), settings)
    half = HalfSweep.of(side, fixed, settings.unobserved_weight, penalty, weights.sqrt(), preferences)
    solved.zero_()

    def work(rows: Rows) -> None:
        solved[placed(rows, solved.device)] = half.solve(rows)

    deque(by(work, side.batches), maxlen=0)
