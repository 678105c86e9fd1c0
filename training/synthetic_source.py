"""Where the vectors come from that `als` mixes: a bundle, or iALS fitted now.

Next module: `training.synthetic`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bentos.bundle import load_bundle
from training.errors import ConfigurationError
from training.ials import IalsSettings, fit
from training.interactions import Interactions
from training.synthetic_vectors import Vectors


def of_bundle(directory: Path, dimension: int | None) -> tuple[Vectors, str]:
    """The vectors of a bundle and what they are, in its dimension or projected to a smaller one.

    `ConfigurationError` for a larger one, `BundleError` for what is no bundle.
    """
    bundle = load_bundle(directory)
    users, items = np.asarray(bundle.user_vectors), np.asarray(bundle.item_vectors)
    told = f"bundle {bundle.manifest.tag}, {bundle.manifest.dimension} dimensions"
    wanted = dimension or bundle.manifest.dimension
    if wanted > bundle.manifest.dimension:
        raise ConfigurationError(f"{directory}: {told}, fewer than {wanted}. Train with more, or ask for fewer")
    if wanted < bundle.manifest.dimension:
        users, items = projected(users, items, wanted)
        told += f", projected to {wanted}"
    return Vectors(users, items), told


def of_fit(interactions: Interactions, title: str, dimension: int | None, threads: int) -> tuple[Vectors, str]:
    """Vectors of iALS fitted on `interactions`, and what they are."""
    settings = IalsSettings(dimension=dimension or IalsSettings().dimension)
    factors = fit(interactions, settings, threads)
    return Vectors(factors.users, factors.items), f"iALS-{settings.dimension} on {title}"


def projected(
    users: NDArray[np.float32], items: NDArray[np.float32], dimension: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Both in the leading principal directions of the items; shapes (users, dimension) and (items, dimension)."""
    _, basis = np.linalg.eigh(items.T.astype(np.float64) @ items)
    leading = basis[:, -dimension:].astype(np.float32)
    return users @ leading, items @ leading
