"""How the vectors of a bundle were made, as far as serving must know it to make one more user, and making one.

A user who has no vector yet is solved against the fixed item vectors, exactly as half a sweep of training does (Hu,
Koren and Volinsky, ICDM 2008). Training writes these settings into the bundle (`fold_in.json`). Next module:
`bentos.bundle`.
"""

from __future__ import annotations

import math
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

STARS: Final = frozenset(f"{half / 2:g}" for half in range(1, 11))
BLOCK: Final = 65_536
"""Item vectors that are summed at once, in double precision: bounds memory."""


class FoldInSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The objective of the factors (`training.ials`), and where they stand in an item vector.

    An item vector is [w · y ; (1 − w) · c] with y the factors and c the content, both of `dimension`; of factors alone
    it is y, and w is 1. The sums over all items go over those that had an interaction before the cut.
    """

    dimension: Annotated[int, Meta(ge=1)]
    """d: length of y."""
    factor_share: Annotated[float, Meta(ge=0, le=1)] = 1.0
    """w."""
    unobserved_weight: Annotated[float, Meta(ge=0)]
    """Weight of every cell without a rating, as a zero."""
    regularisation: Annotated[float, Meta(gt=0)]
    """reg: λ = reg · (positives + unobserved_weight · items) ^ regularisation_exponent."""
    regularisation_exponent: Annotated[float, Meta(ge=0, le=2)]
    """ν."""
    positive: Annotated[float, Meta(ge=0.5, le=5)]
    """A rating of so many stars or more has preference 1, others 0."""
    weights: dict[str, float] = {}
    """Confidence by stars; stars that are not named weigh 1 as positives and 0 below."""

    def __post_init__(self) -> None:
        for stars, weight in self.weights.items():
            if stars not in STARS or not 0 <= weight < math.inf:
                raise ValueError(f"weights.{stars} is {weight:g}; stars are 0.5, 1 … 5, weights 0 or more and finite")

    def confidence(self, ratings: NDArray[np.floating]) -> NDArray[np.float32]:
        """c of each rating, as `training.ials` has it; in its precision, for what is 0 there is no rating."""
        found = (ratings >= self.positive).astype(np.float32)
        for stars, weight in self.weights.items():
            found[ratings == float(stars)] = weight
        return found


class FoldIn:
    """Solves users against the item vectors of one bundle; the sums over all items are made once, here.

    x = (Σ c y yᵀ + w YᵀY + λI)⁻¹ Σ c p y, over the user's ratings, Y being the items that are `known`, those that had
    an interaction before the cut; of a hybrid the content half is solved alike, against the content vectors.
    """

    def __init__(self, settings: FoldInSettings, item_vectors: NDArray[np.float32], known: NDArray[np.bool_]) -> None:
        """Item vectors have shape (items, d) or, of a hybrid, (items, 2d), as in the bundle; `known` has (items,)."""
        self._settings = settings
        self._known = known
        size = settings.dimension
        shares = (settings.factor_share, 1 - settings.factor_share)[: item_vectors.shape[1] // size]
        # A half without a share has only zeros in the item vectors, and nothing the user had there would be seen.
        self._halves = [
            (slice(number * size, (number + 1) * size), share) for number, share in enumerate(shares) if share
        ]
        self._vectors = item_vectors
        self._grams = [self._gram(columns) / share**2 for columns, share in self._halves]
        self._items = settings.unobserved_weight * np.count_nonzero(known)

    def solve(
        self, rows: NDArray[np.int64], ratings: NDArray[np.floating], least: int = 1
    ) -> NDArray[np.float32] | None:
        """The vector of the user who rated the distinct items in `rows` with `ratings`; shape (d,) or (2d,).

        None when there are fewer than `least` positives with a weight among them (without one the solution would be
        zero), or no solution in double precision. Items that are not known are left out: training had none of them.
        """
        weights = self._settings.confidence(ratings)
        used = (weights > 0) & self._known[rows]
        weights, preferences = weights[used].astype(np.float64), ratings[used] >= self._settings.positive
        positives = np.count_nonzero(preferences)
        if positives < least:
            return None
        settings = self._settings
        scale = positives + self._items
        penalty = settings.regularisation * scale**settings.regularisation_exponent
        vectors = self._vectors[rows[used]].astype(np.float64)
        solved = np.zeros(vectors.shape[1], np.float32)
        for (columns, share), gram in zip(self._halves, self._grams, strict=True):
            y = vectors[:, columns] / share
            weighted = y * weights[:, None]
            matrix = weighted.T @ y + gram
            matrix.flat[:: len(matrix) + 1] += penalty
            try:
                solved[columns] = np.linalg.solve(matrix, weighted.T @ preferences)
            except np.linalg.LinAlgError:
                return None
        return solved if np.isfinite(solved).all() else None

    def _gram(self, columns: slice) -> NDArray[np.float64]:
        """w Σ y yᵀ over the known items."""
        rows = np.flatnonzero(self._known)
        total = np.zeros((self._settings.dimension,) * 2)
        for begin in range(0, len(rows), BLOCK):
            block = self._vectors[rows[begin : begin + BLOCK], columns].astype(np.float64)
            total += block.T @ block
        return self._settings.unobserved_weight * total
