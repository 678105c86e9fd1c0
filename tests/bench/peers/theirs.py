"""Models that we did not write: implicit's and irspack's, by their own solvers. Needs the environment of the peers.

Each takes a split, the threads it may use and its library's own settings, and gives the scores of any users. `weights`
are the values of the matrix by stars, for every model alike: 5 stars heavier than 4, or a negative one for a dislike.
Next module: `tests.bench.peers.ours`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import scipy.sparse as sps
from implicit.cpu.als import AlternatingLeastSquares
from irspack import CosineKNNRecommender, DenseSLIMRecommender, IALSRecommender
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits

from tests.bench.peers.split_file import Split

POSITIVE = 4.0
SEED = 1
Scores = Callable[[NDArray[np.int64]], NDArray[np.floating]]
"""From rows of users to scores of shape (users, items)."""


def matrix(split: Split, weights: Mapping[str, float]) -> sps.csr_matrix:
    """Users × items, float32: 1 for each positive, or what `weights` has for its stars."""
    value = (split.rating >= POSITIVE).astype(np.float32)
    for stars, weight in weights.items():
        value[split.rating == float(stars)] = weight
    used = value != 0
    return sps.csr_matrix((value[used], (split.user[used], split.item[used])), shape=(split.users, split.items))


def implicit_als(split: Split, threads: int, weights: Mapping[str, float], **settings: Any) -> Scores:
    """implicit's ALS. It runs threads of its own and demands that the BLAS below them has one."""
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(num_threads=threads, random_state=SEED, **settings)
        model.fit(matrix(split, weights), show_progress=False)
    return lambda users: model.user_factors[users] @ model.item_factors.T


def irspack_ials(split: Split, threads: int, weights: Mapping[str, float], **settings: Any) -> Scores:
    """irspack's iALS: the objective of `training.ials` without observed dislikes."""
    return IALSRecommender(matrix(split, weights), n_threads=threads, random_seed=SEED, **settings).learn().get_score


def irspack_ease(split: Split, threads: int, weights: Mapping[str, float], **settings: Any) -> Scores:
    """irspack's DenseSLIM, which is EASE."""
    with threadpool_limits(threads):
        return DenseSLIMRecommender(matrix(split, weights), **settings).learn().get_score


def irspack_item_knn(split: Split, threads: int, weights: Mapping[str, float], **settings: Any) -> Scores:
    """irspack's item-kNN by cosine with shrinkage."""
    return CosineKNNRecommender(matrix(split, weights), n_threads=threads, normalize=True, **settings).learn().get_score


MODELS: dict[str, Callable[..., Scores]] = {
    "implicit ALS": implicit_als,
    "irspack iALS": irspack_ials,
    "irspack EASE": irspack_ease,
    "irspack item-kNN": irspack_item_knn,
}


def environment() -> str:
    """Versions, and the kernels that the BLAS chose."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("implicit", "irspack", "numpy", "scipy"))
    kernels = sorted(
        {f"{each['internal_api']} {each['architecture']}" for each in threadpool_info() if "architecture" in each}
    )
    return f"{packages}; {', '.join(kernels)}"
