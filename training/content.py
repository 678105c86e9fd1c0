"""What an item is about, mapped into the space of the factors: for items that nobody has rated yet.

A ridge regression from features (genres, decade, words of the title and pairs of them, tags before the cut) to the item
vectors of a fitted iALS, learned on the items that have positives, the more of them the heavier. A pair of words names
a series of films. Next module: `training.hybrid`.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from training.errors import TrainingError
from training.interactions import Movie
from training.layouts import Tag

# fmt: off
STOP_WORDS: Final = frozenset({
    "the", "a", "an", "of", "and", "in", "to", "on", "for", "with", "at", "by", "from", "la", "le", "les", "de", "der",
    "die", "das", "el", "il",
})
# fmt: on
TOLERANCE: Final = 1e-8
"""Relative residual at which the equations count as solved."""
MOST_STEPS: Final = 10_000
_WORD: Final = re.compile(r"[a-z0-9']+")


class ContentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content model, and its share in the hybrid; what was tried on rolling origins: docs/tuning.md."""

    weight: Annotated[float, Meta(ge=0, le=1)] = 0.95
    """w: the share of the factors; 1 − w is the share of the content."""
    regularisation: Annotated[float, Meta(gt=0, le=1e6)] = 100.0
    """λ of the ridge regression."""
    least_items: Annotated[int, Meta(ge=1)] = 2
    """A feature that fewer items have is none."""
    pair_value: Annotated[float, Meta(ge=0, le=1e3)] = 2.0
    """Of a pair of neighbouring words as a feature; all others are 1. A pair names a series; 0: no pairs."""


@dataclass(frozen=True)
class ItemFeatures:
    """`values`: a sparse matrix of shape (items, features), float64, rows in CSR; `names` of the features."""

    values: Any
    names: list[str]


def item_features(
    item_ids: Sequence[str], movies: Mapping[str, Movie], tags: Iterable[Tag], settings: ContentSettings
) -> ItemFeatures:
    """Features of `item_ids`: genres, decade, title words and pairs, tags. An item not in `movies` has only tags."""
    tagged: dict[str, set[str]] = {}
    for tag in tags:
        tagged.setdefault(tag.item_id, set()).update(f"tag:{word}" for word in _WORD.findall(tag.tag.lower()))
    found = [sorted(_features_of(movies.get(item), tagged.get(item, set()))) for item in item_ids]
    counts = Counter(name for names in found for name in names)
    kept = sorted(name for name, count in counts.items() if count >= settings.least_items)
    column = {name: number for number, name in enumerate(kept)}
    columns = [[column[name] for name in names if name in column] for names in found]
    value = np.array([settings.pair_value if name.startswith("pair:") else 1.0 for name in kept])
    flat = np.array([each for row in columns for each in row], np.int64)
    ends = np.cumsum([0, *map(len, columns)])
    return ItemFeatures(sparse.csr_array((value[flat], flat, ends), shape=(len(item_ids), len(kept))), kept)


def _features_of(movie: Movie | None, tags: set[str]) -> set[str]:
    if movie is None:
        return tags
    words = [word for word in _WORD.findall(movie.title.lower()) if word not in STOP_WORDS]
    found = {f"genre:{genre}" for genre in movie.genres} | {f"word:{word}" for word in words} | tags
    found |= {f"pair:{one} {other}" for one, other in itertools.pairwise(words)}
    return found | ({f"decade:{movie.year // 10 * 10}"} if movie.year else set())


def content_vectors(
    features: ItemFeatures, item_vectors: NDArray[np.float32], positives: NDArray[np.int64], regularisation: float
) -> NDArray[np.float32]:
    """F W for every item, W = argmin Σ_i √n_i |y_i − f_i W|² + λ|W|² over the items with n_i > 0 positives.

    Shapes: features (items, F), item_vectors (items, d), positives (items,); the result (items, d). A constant feature
    is added, so that an item without any has the mean vector. Solved by conjugate gradients, for features are many and
    sparse. `TrainingError` when they do not converge.
    """
    warm = positives > 0
    if not warm.any():
        raise ValueError("no item has a positive: there is nothing to learn the content model from")
    design = sparse.csr_array(sparse.hstack([features.values, np.ones((features.values.shape[0], 1))]))
    known = design[warm]
    weighted = known.multiply(np.sqrt(positives[warm])[:, None]).T.tocsr()
    equations = LinearOperator(
        (design.shape[1],) * 2, matvec=lambda w: weighted @ (known @ w) + regularisation * w, dtype=np.float64
    )
    diagonal = known.multiply(known).T @ np.sqrt(positives[warm]) + regularisation
    scaled = sparse.dia_array((1 / diagonal[None, :], [0]), shape=equations.shape)
    solution = np.empty((design.shape[1], item_vectors.shape[1]))
    for column, wanted in enumerate((weighted @ item_vectors[warm].astype(np.float64)).T):
        solution[:, column], failed = cg(equations, wanted, rtol=TOLERANCE, M=scaled, maxiter=MOST_STEPS)
        if failed:
            raise TrainingError(
                f"the content model did not converge in {MOST_STEPS} steps; raise content.regularisation "
                f"({regularisation:g})"
            )
    return np.asarray(design @ solution).astype(np.float32)
