"""The index over a bundle's item vectors, whatever its kind: made, written, read and verified.

Inner product, never cosine: the norm of an item vector carries its popularity. An index proposes rows; how good they
are is said by the vectors themselves, in `bentos.retrieval`, for the distances inside an index are not scores. Next
module: `bentos.retrieval`, which searches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import faiss
import numpy as np
from numpy.typing import NDArray

from bentos.index_kinds import SQ8, Flat, HnswIp, Vectors, building
from bentos.index_lists import IvfIp, IvfL2, IvfRanged, largest_norm

METRIC: Final = "inner_product"
NEVER: Final = 2**31 - 1
Kind = Flat | SQ8 | IvfL2 | IvfRanged | IvfIp | HnswIp


@dataclass(frozen=True, eq=False)
class VectorIndex:
    """An index of some kind over `vectors` of shape (items, d), float32; `largest_norm` is M, the largest |x|."""

    kind: Kind
    vectors: Vectors
    largest_norm: float
    faiss: Any

    def __len__(self) -> int:
        return len(self.vectors)

    @property
    def exact(self) -> bool:
        """Whether what it proposes is always the best there is."""
        return isinstance(self.kind, Flat)

    @property
    def size(self) -> int:
        """Bytes of its file."""
        return int(faiss.serialize_index(self.faiss).nbytes)

    def propose(self, queries: Vectors, count: int) -> NDArray[np.int64]:
        """Rows for each of `queries` of shape (q, d), most promising first, −1 for none; shape (q, count)."""
        if not count:
            return np.empty((len(queries), 0), dtype=np.int64)
        rows: NDArray[np.int64] = self.faiss.search(self.kind.asked(queries), count)[1]
        return rows

    def with_effort(self, effort: int) -> VectorIndex:
        """The same index, which from now on searches with `effort` (nprobe, ef)."""
        kind = self.kind.with_effort(effort)
        kind.apply(self.faiss)
        return VectorIndex(kind, self.vectors, self.largest_norm, self.faiss)


def build(vectors: NDArray[np.float32], kind: Kind | None = None) -> VectorIndex:
    """An index of `kind` (exact by default) over `vectors` of shape (n, d), float32; entry i is row i."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    with building():
        made, index = (kind or Flat()).build(vectors)
    serve_alone()
    return VectorIndex(made, vectors, largest_norm(vectors), index)


def save(index: VectorIndex, path: Path) -> None:
    """Write `index` to `path`. `OSError` (disk full, say) when it cannot be written."""
    path.write_bytes(faiss.serialize_index(index.faiss).tobytes())


def load(path: Path, vectors: NDArray[np.float32], kind: Kind) -> VectorIndex:
    """Read the index of `kind` over exactly `vectors` of shape (n, d); `ValueError` says how it is not that."""
    serve_alone()
    rows, dimension = vectors.shape
    vectors = np.asarray(vectors)
    try:
        index = faiss.deserialize_index(np.frombuffer(path.read_bytes(), dtype=np.uint8))
    except RuntimeError as error:
        raise ValueError(f"not a FAISS index ({str(error).splitlines()[0][:80]})") from error
    inside = kind.asked(np.zeros((1, dimension), np.float32)).shape[1]
    if (index.ntotal, index.d) != (rows, inside):
        raise ValueError(f"holds {index.ntotal} vectors of {index.d} dimensions, not {rows} of {inside}")
    if (reason := kind.problem(index, vectors)) is not None:
        raise ValueError(reason)
    return VectorIndex(kind, vectors, largest_norm(vectors), index)


def serve_alone() -> None:
    """One thread, for services scale by processes; and no matrix products, so that a query in a batch gets the
    distances that it gets alone.
    """
    faiss.omp_set_num_threads(1)
    faiss.cvar.distance_compute_blas_threshold = NEVER
