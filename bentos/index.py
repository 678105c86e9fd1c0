"""The FAISS index over a bundle's item vectors: exact inner product for now ("Flat").

Inner product, never cosine: the norm of an item vector carries its popularity. Building measures nothing yet; the
report names what was built and with which library. Next module: `bentos.retrieval`, which searches it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import faiss
import msgspec
import numpy as np
from numpy.typing import NDArray

KIND: Final = "Flat"
METRIC: Final = "inner_product"


class IndexReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was built: kind, number of vectors, dimension, metric, and the library's version."""

    kind: str
    n: int
    d: int
    metric: str
    faiss: str


def build(vectors: NDArray[np.float32]) -> tuple[Any, IndexReport]:
    """An index over `vectors` of shape (n, d), float32; entry i is row i."""
    rows, dimension = vectors.shape
    index = faiss.IndexFlatIP(dimension)
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    report = IndexReport(kind=KIND, n=rows, d=dimension, metric=METRIC, faiss=faiss.__version__)
    return index, report


def save(index: Any, path: Path) -> None:
    """Write `index` to `path`. `OSError` (disk full, say) when it cannot be written."""
    path.write_bytes(faiss.serialize_index(index).tobytes())


def load(path: Path, vectors: NDArray[np.float32]) -> Any:
    """Read an index and check that it holds exactly `vectors` of shape (n, d); `ValueError` says how it does not.

    FAISS is set to one thread: services scale by processes, and one query is faster alone on one core.
    """
    faiss.omp_set_num_threads(1)
    rows, dimension = vectors.shape
    try:
        index = faiss.deserialize_index(np.frombuffer(path.read_bytes(), dtype=np.uint8))
    except RuntimeError as error:
        raise ValueError(f"not a FAISS index ({str(error).splitlines()[0][:80]})") from error
    if (index.ntotal, index.d) != (rows, dimension):
        raise ValueError(f"holds {index.ntotal} vectors of {index.d} dimensions, not {rows} of {dimension}")
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ValueError("its metric is not the inner product")
    if not isinstance(index, faiss.IndexFlat):
        raise ValueError(f"a {type(index).__name__}, not the exact index that is expected")
    if rows and not np.array_equal(index.reconstruct_n(0, rows), vectors):
        raise ValueError("holds other vectors than item_vectors.npy, or in another order")
    return index
