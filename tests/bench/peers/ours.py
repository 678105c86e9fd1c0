"""Our own models on a split file: what `training` fits, measured like the others. Needs the project's environment.

Next module: `tests.bench.training`, which compares them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from tests.bench.peers.split_file import Split
from training import references
from training.ials import IalsSettings, fit
from training.interactions import Interactions

Scores = Callable[[NDArray[np.int64]], NDArray[np.floating]]


def interactions(split: Split) -> Interactions:
    """The split as the room's table. Times are not in it: no model of ours reads them after the cut was made."""
    users, items = ([f"{row:08d}" for row in range(count)] for count in (split.users, split.items))
    return Interactions(users, items, split.user, split.item, split.rating, np.zeros(len(split.user), np.int64))


def ials(split: Split, threads: int, **settings: Any) -> Scores:
    """training.ials with the `[ials]` table of a configuration."""
    factors = fit(interactions(split), msgspec.convert(settings, IalsSettings), threads)
    return lambda users: factors.users[users] @ factors.items.T


def ease(split: Split, threads: int, **settings: Any) -> Scores:
    """training.references.ease."""
    return _sums(references.ease(interactions(split), **settings))


def item_knn(split: Split, threads: int, **settings: Any) -> Scores:
    """training.references.item_knn."""
    return _sums(references.item_knn(interactions(split), **settings))


def _sums(model: references.ItemModel) -> Scores:
    return lambda users: np.stack([model.similarity[model.liked[user]].sum(0) for user in users])


MODELS: dict[str, Callable[..., Scores]] = {"iALS": ials, "EASE": ease, "item-kNN": item_knn}


def environment() -> str:
    """Versions."""
    return f"torch {torch.__version__}, numpy {np.__version__}"
