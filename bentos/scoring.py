"""The score of an item for a user: one inner product in float32, to the last bit the same wherever it is worked out.

Serving and offline evaluation both go by it. Products of whole matrices are faster, and round each sum in an order of
their own: items that are nearly equal then change places. Next module: `bentos.retrieval`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]


def scored(vectors: NDArray[np.float32], query: NDArray[np.float32]) -> Scores:
    """The inner product of every row of `vectors`, shape (n, d), with `query`, shape (d,); shape (n,).

    A row has the same bits whatever stands around it.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        scores: Scores = np.vecdot(vectors, query)
    if np.isnan(scores).any():  # a query of absurd length; such rows come last, they are not lost
        scores[np.isnan(scores)] = -np.inf
    return scores
