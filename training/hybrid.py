"""Factors and content in one inner product, so that one search answers for warm and cold items alike (DESIGN §4).

item = [w · y ; (1 − w) · c],  user = [x ; z]: y and x are the factors of iALS, c = f W the content vector of the item,
and z the user solved against the content vectors of what the user rated, with the settings of the factors (a fold-in).
The score is w x·y + (1 − w) z·c. An item that nobody has rated has y = c, what its content makes of it, and so a score
of the same size as the others: with y = 0 it would never be among the first of a whole catalogue. Next module:
`training.model`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.content import ContentSettings, ItemFeatures, content_vectors
from training.ials import Factors, IalsSettings, fold_in
from training.interactions import Interactions


@dataclass(frozen=True)
class Hybrid:
    """Vectors of shape (users, 2d) and (items, 2d), float32."""

    users: NDArray[np.float32]
    items: NDArray[np.float32]


@dataclass(frozen=True)
class Parts:
    """The halves before they are weighted: x and z of the users, y and c of the items."""

    x: NDArray[np.float32]
    z: NDArray[np.float32]
    y: NDArray[np.float32]
    c: NDArray[np.float32]

    def weighted(self, weight: float) -> Hybrid:
        """The hybrid with the share `weight` of the factors."""
        items = np.hstack([np.float32(weight) * self.y, np.float32(1 - weight) * self.c])
        return Hybrid(np.hstack([self.x, self.z]), items)


def parts(
    before: Interactions,
    factors: Factors,
    features: ItemFeatures,
    ials: IalsSettings,
    content: ContentSettings,
    device: str = "cpu",
) -> Parts:
    """The halves of a hybrid of `factors`, which were fitted on `before` with `ials`."""
    positives = np.bincount(before.liked(ials.positive).item, minlength=len(before.item_ids))
    c = content_vectors(features, factors.items, positives, content.regularisation)
    rated = np.bincount(before.item, minlength=len(before.item_ids)) > 0
    return Parts(factors.users, fold_in(before, c, ials, device), np.where(rated[:, None], factors.items, c), c)
