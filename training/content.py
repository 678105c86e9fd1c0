"""What an item is about, mapped into the space of the factors: for items that nobody has rated yet.

A ridge regression from features (genres, decade, words of the title, tags before the cut) to the item vectors of a
fitted iALS, learned on the items that have positives, the more of them the heavier. Next module: `training.hybrid`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from training.interactions import Movie
from training.layouts import Tag

# fmt: off
STOP_WORDS: Final = frozenset({
    "the", "a", "an", "of", "and", "in", "to", "on", "for", "with", "at", "by", "from", "la", "le", "les", "de", "der",
    "die", "das", "el", "il",
})
# fmt: on
_WORD: Final = re.compile(r"[a-z0-9']+")


class ContentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content model, and its share in the hybrid."""

    weight: Annotated[float, Meta(ge=0, le=1)] = 0.8
    """w: the share of the factors; 1 − w is the share of the content."""
    regularisation: Annotated[float, Meta(gt=0, le=1e6)] = 10.0
    """λ of the ridge regression."""
    least_items: Annotated[int, Meta(ge=1)] = 5
    """A word or tag that fewer items have is no feature."""


@dataclass(frozen=True)
class ItemFeatures:
    """`values` of shape (items, features), float32, rows of unit length or zero; `names` of the features."""

    values: NDArray[np.float32]
    names: list[str]


def item_features(
    item_ids: Sequence[str], movies: Mapping[str, Movie], tags: Iterable[Tag], least_items: int
) -> ItemFeatures:
    """Features of `item_ids`: genres, decade, title words, tags. An item that is not in `movies` has none."""
    tagged: dict[str, set[str]] = {}
    for tag in tags:
        tagged.setdefault(tag.item_id, set()).update(f"tag:{word}" for word in _WORD.findall(tag.tag.lower()))
    found = [_features_of(movies.get(item), tagged.get(item, set())) for item in item_ids]
    counts = Counter(name for names in found for name in names)
    kept = sorted(name for name, count in counts.items() if count >= least_items)
    column = {name: number for number, name in enumerate(kept)}
    values = np.zeros((len(item_ids), len(kept)), np.float32)
    for row, names in enumerate(found):
        values[row, [column[name] for name in names if name in column]] = 1.0
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return ItemFeatures(values / np.maximum(lengths, 1.0), kept)


def _features_of(movie: Movie | None, tags: set[str]) -> set[str]:
    if movie is None:
        return tags
    words = {f"word:{word}" for word in _WORD.findall(movie.title.lower()) if word not in STOP_WORDS}
    decade = {f"decade:{movie.year // 10 * 10}"} if movie.year else set()
    return {f"genre:{genre}" for genre in movie.genres} | decade | words | tags


def content_vectors(
    features: ItemFeatures, item_vectors: NDArray[np.float32], positives: NDArray[np.int64], regularisation: float
) -> NDArray[np.float32]:
    """F W for every item, W = argmin Σ_i √n_i |y_i − f_i W|² + λ|W|² over the items with n_i > 0 positives.

    Shapes: features (items, F), item_vectors (items, d), positives (items,); the result (items, d). A constant feature
    is added, so that an item without any has the mean vector.
    """
    design = np.hstack([features.values, np.ones((len(features.values), 1), np.float32)]).astype(np.float64)
    warm = positives > 0
    if not warm.any():
        raise ValueError("no item has a positive: there is nothing to learn the content model from")
    weight = np.sqrt(positives[warm].astype(np.float64))[:, None]
    known = design[warm]
    gram = known.T @ (weight * known) + regularisation * np.eye(design.shape[1])
    solution = np.linalg.solve(gram, known.T @ (weight * item_vectors[warm].astype(np.float64)))
    return (design @ solution).astype(np.float32)


def genre_popularity(
    item_ids: Sequence[str], movies: Mapping[str, Movie], positives: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The unpersonalised baseline for cold items: the mean popularity of the known items that share each genre.

    Shape (items,): for an item the mean over its genres of the mean positives of the items with that genre; 0 without.
    """
    by_genre: dict[str, list[float]] = {}
    for item, count in zip(item_ids, positives.tolist(), strict=True):
        for genre in movies[item].genres if item in movies and count else ():
            by_genre.setdefault(genre, []).append(count)
    means = {genre: float(np.mean(counts)) for genre, counts in by_genre.items()}
    scores = []
    for item in item_ids:
        known = [means[genre] for genre in movies[item].genres if genre in means] if item in movies else []
        scores.append(float(np.mean(known)) if known else 0.0)
    return np.array(scores)
