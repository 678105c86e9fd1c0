"""Two item-to-item models as references: strong, simple, and not servable by one inner product.

EASE (Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019) and item-kNN (Sarwar et al., WWW 2001)
with cosine similarity and shrinkage. Both learn a matrix items × items from the positives; a user's scores are the sum
of the rows of what the user liked. Next module: `training.evaluate`, which scores their lists.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.interactions import POSITIVE, Interactions
from training.task import Ranking, Task, top

EASE_REGULARISATION: Final = 20_000.0
NEIGHBOURS: Final = 4_000
SHRINKAGE: Final = 50.0
"""Chosen by pooled rolling origins on MovieLens-1M (docs/tuning.md)."""
BATCH_USERS: Final = 512
MOST_ITEMS: Final = 30_000
"""A matrix of so many items squared takes 3.6 GB in float32: beyond it these are no references but an outage."""


@dataclass(frozen=True)
class ItemModel:
    """`similarity` of shape (items, items), float32; `liked` of shape (users, items) as rows of item rows."""

    similarity: NDArray[np.float32]
    liked: list[NDArray[np.int32]]

    def rank(self, task: Task, fallback: NDArray[np.float64], users: list[int]) -> Ranking:
        """Sums of similarities for warm users; cold users get the `fallback` scores."""

        def scores(user: int) -> NDArray[np.floating]:
            return self.similarity[self.liked[user]].sum(0) if user in task.warm else fallback

        return Ranking({user: top(scores(user), task, user) for user in users})


def ease(interactions: Interactions, regularisation: float, at_least: float = POSITIVE) -> ItemModel:
    """B = −P / diag(P) with a zero diagonal, P = (XᵀX + λI)⁻¹, X the binary positives. `ValueError`: too many items."""
    liked, gram = _gram(interactions, at_least)
    gram[np.diag_indices_from(gram)] += regularisation
    inverse = np.linalg.inv(gram)
    similarity = inverse / -np.diag(inverse)[None, :]
    np.fill_diagonal(similarity, 0.0)
    return ItemModel(similarity.astype(np.float32), liked)


def item_knn(interactions: Interactions, neighbours: int, shrinkage: float, at_least: float = POSITIVE) -> ItemModel:
    """s_ij = |users of both| / (√(n_i n_j) + shrinkage), for each item the `neighbours` most similar ones kept."""
    liked, gram = _gram(interactions, at_least)
    norms = np.sqrt(np.diag(gram))
    scale = np.outer(norms, norms) + shrinkage
    similarity = np.divide(gram, scale, out=np.zeros_like(gram), where=scale > 0).astype(np.float32)
    np.fill_diagonal(similarity, 0.0)
    if neighbours < len(similarity):
        # Kept per column: the items that speak for a candidate. Ties at the edge go to the earlier item.
        order = np.argsort(-similarity, axis=0, kind="stable")[neighbours:]
        np.put_along_axis(similarity, order, 0.0, axis=0)
    return ItemModel(similarity, liked)


def _gram(interactions: Interactions, at_least: float) -> tuple[list[NDArray[np.int32]], NDArray[np.float64]]:
    """What each user liked, and XᵀX."""
    items = len(interactions.item_ids)
    if items > MOST_ITEMS:
        raise ValueError(f"{items:,} items: item-to-item references are bounded at {MOST_ITEMS:,}")
    positives = interactions.liked(at_least)
    order = np.argsort(positives.user, kind="stable")
    bounds = np.cumsum(np.bincount(positives.user, minlength=len(interactions.user_ids)))[:-1]
    liked = np.split(positives.item[order], bounds)
    gram = np.zeros((items, items), np.float64)
    for begin in range(0, len(liked), BATCH_USERS):
        batch = liked[begin : begin + BATCH_USERS]
        dense = np.zeros((len(batch), items), np.float32)
        for row, rows in enumerate(batch):
            dense[row, rows] = 1.0
        gram += dense.T @ dense
    return liked, gram


REFERENCES: Final[dict[str, Callable[[Interactions], ItemModel]]] = {
    "item-kNN": lambda interactions: item_knn(interactions, NEIGHBOURS, SHRINKAGE),
    "EASE": lambda interactions: ease(interactions, EASE_REGULARISATION),
}
"""By name, each with the settings chosen for it."""
