"""Made-up vectors of any count: like the trained ones, in clusters with log-normal lengths, or Gaussian.

Which index finds the best items depends on how the lengths of the vectors are distributed (research note §3a), so what
is claimed of an index is measured on more than one of these. `als`: convex mixes of two trained vectors with 15 %
noise, so that lengths and directions stay as the model made them; the easy case for the augmented-L2 index, a hard one
for inner-product graphs. `lognormal`: clusters on the sphere, lengths log-normal; the other way round. `gaussian`: no
structure at all, the worst case, like nothing real. Next module: `training.synthetic`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

NOISE: Final = 0.15
"""Of `als`: length of the noise over the length of the mix."""
CLUSTERS: Final = 300
SPREAD: Final = 1.0
"""Of `lognormal`: length of what differs within a cluster over the length of its centre."""
LENGTH_SIGMA: Final = 0.35
"""Of `lognormal`: standard deviation of the logarithm of a length."""
BLOCK: Final = 65_536
"""Rows that are made at once: bounds the memory of what lies between."""


@dataclass(frozen=True)
class Vectors:
    """`users` (users, d) and `items` (items, d), float32, no row zero."""

    users: NDArray[np.float32]
    items: NDArray[np.float32]


def mixed(trained: NDArray[np.float32], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """`als`: α a + (1 − α) b + noise for two of the `trained` rows that are not zero; shape (count, d)."""
    parents = trained[np.linalg.norm(trained, axis=1) > 0]
    found = np.empty((count, trained.shape[1]), np.float32)
    for first in range(0, count, BLOCK):
        part = found[first : first + BLOCK]
        a, b = (parents[rng.integers(0, len(parents), len(part))] for _ in range(2))
        share = rng.random((len(part), 1), dtype=np.float32)
        part[:] = share * a + (1 - share) * b
        part += NOISE * np.linalg.norm(part, axis=1, keepdims=True) * normal(part.shape, rng)
    return found


def clustered(
    centres: NDArray[np.float32], count: int, rng: np.random.Generator, spread: float = SPREAD
) -> NDArray[np.float32]:
    """`lognormal`: row r lies around centre r mod clusters, its length log-normal; shape (count, d)."""
    found = np.empty((count, centres.shape[1]), np.float32)
    for first in range(0, count, BLOCK):
        part = found[first : first + BLOCK]
        part[:] = centres[np.arange(first, first + len(part)) % len(centres)] + spread * normal(part.shape, rng)
        lengths = np.exp(LENGTH_SIGMA * rng.standard_normal((len(part), 1), dtype=np.float32))
        part *= lengths / np.linalg.norm(part, axis=1, keepdims=True)
    return found


def on_sphere(count: int, dimension: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Rows of length 1 in every direction alike."""
    found = normal((count, dimension), rng)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    return found


def normal(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """`gaussian`: rows of length about 1."""
    return rng.standard_normal(shape, dtype=np.float32) / np.float32(shape[1] ** 0.5)
