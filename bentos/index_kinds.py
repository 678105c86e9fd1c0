"""Kinds of index, each with the parameters that make it: how it is built, asked, counted and checked.

Here are the base of all kinds and those without lists: Flat, SQ8 and HNSW-IP. Everything is built by one thread with
fixed seeds, so equal vectors give equal bytes. Next module: `bentos.index_lists`, the inverted files.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

import faiss
import msgspec
import numpy as np
from numpy.typing import NDArray

BLAS_FROM: Final = 20
"""Queries from which FAISS may use matrix products while it builds: four times faster, but rounded differently."""
BLOCK: Final = 65_536
"""Rows that are compared at once."""
SCATTERED: Final = 8
"""Measured: 100 to 160 ns for a vector somewhere in memory, 9 to 20 ns for the next one."""
OTHER_VECTORS: Final = "holds other vectors than item_vectors.npy, or in another order"

Vectors = NDArray[np.float32]


@contextmanager
def building() -> Iterator[None]:
    """One thread and matrix products: the same bytes every time, in the least time. Never while serving."""
    before = faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold
    faiss.omp_set_num_threads(1)
    faiss.cvar.distance_compute_blas_threshold = BLAS_FROM
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before[0])
        faiss.cvar.distance_compute_blas_threshold = before[1]


def statistics() -> Any:
    """FAISS' counters, of the whole process."""
    return faiss.cvar


def reset_statistics() -> None:
    """Let FAISS count distance computations from zero."""
    statistics().indexIVF_stats.reset()
    statistics().hnsw_stats.reset()


class IndexKind(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every kind can do; `vectors` have shape (items, d), `queries` (q, d), float32."""

    @property
    def name(self) -> str:
        """Flat, SQ8, IVF-L2, …"""
        return str(self.__struct_config__.tag)

    @property
    def parameters(self) -> str:
        """The parameters for a reader; "" when there are none."""
        fields = ((name, getattr(self, name)) for name in self.__struct_fields__)
        return ", ".join(f"{name} {value:g}" for name, value in fields)

    @property
    def effort(self) -> int:
        """What recall is bought with: nprobe or ef; 0 when there is nothing to set."""
        return 0

    @property
    def most_effort(self) -> int:
        """The most that is tried of it."""
        return 0

    def with_effort(self, effort: int) -> Self:  # noqa: ARG002 - for the kinds that have one
        """The same kind, searching with another effort."""
        return self

    def apply(self, index: Any) -> None:
        """Let `index` search with this kind's effort."""

    def build(self, vectors: Vectors) -> tuple[Self, Any]:
        """A FAISS index whose entry i is row i of `vectors`, and this kind with the numbers it ended with."""
        raise NotImplementedError

    def asked(self, queries: Vectors) -> Vectors:
        """What the FAISS index is asked for `queries`."""
        return queries

    @property
    def weight(self) -> int:
        """What one distance computation costs, in terms of one of vectors that lie side by side."""
        return 1

    def computations(self, items: int, asked: int) -> float:
        """Distance computations since `reset_statistics`, during which the index was asked so often."""
        return float(items * asked)

    def problem(self, index: Any, vectors: Vectors) -> str | None:
        """Why `index` is not of this kind over exactly `vectors`, or None when it is."""
        raise NotImplementedError


class Flat(IndexKind, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="Flat", tag_field="kind"):
    """Every vector is compared: exact. Computations: one per item."""

    def build(self, vectors: Vectors) -> tuple[Self, Any]:
        """See `IndexKind`."""
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        return self, index

    def problem(self, index: Any, vectors: Vectors) -> str | None:
        """See `IndexKind`; the vectors are compared value by value."""
        wrong = wrong_type(index, faiss.IndexFlat) or wrong_metric(index, faiss.METRIC_INNER_PRODUCT)
        return wrong or wrong_vectors(index, vectors)


class SQ8(IndexKind, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="SQ8", tag_field="kind"):
    """Every vector is compared, in eight bits per dimension. Computations: one per item, on a quarter of the bytes."""

    def build(self, vectors: Vectors) -> tuple[Self, Any]:
        """See `IndexKind`."""
        eight = faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexScalarQuantizer(vectors.shape[1], eight, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
        return self, index

    def problem(self, index: Any, vectors: Vectors) -> str | None:
        """See `IndexKind`; every vector must be what is stored, to one step of the eight bits."""
        wrong = wrong_type(index, faiss.IndexScalarQuantizer) or wrong_metric(index, faiss.METRIC_INNER_PRODUCT)
        if wrong or index.sq.qtype != faiss.ScalarQuantizer.QT_8bit:
            return wrong or "its codes are not of eight bits"
        step = faiss.vector_to_array(index.sq.trained)[vectors.shape[1] :] / 255
        for first in range(0, len(vectors), BLOCK):
            part = vectors[first : first + BLOCK]
            if not (np.abs(index.reconstruct_n(first, len(part)) - part) <= step + np.abs(part) * 1e-5).all():
                return OTHER_VECTORS
        return None


class HnswIp(IndexKind, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="HNSW-IP", tag_field="kind"):
    """A graph of near neighbours by inner product (Malkov and Yashunin, 2018). Computations: as FAISS counts them."""

    m: int = 32
    """Links per vector; twice as many on the lowest level."""
    ef_construction: int = 80
    ef: int = 16
    """Candidates that a search keeps; never fewer than are fetched."""

    @property
    def effort(self) -> int:
        """See `IndexKind`."""
        return self.ef

    @property
    def most_effort(self) -> int:
        """See `IndexKind`."""
        return 1024

    def with_effort(self, effort: int) -> Self:
        """See `IndexKind`."""
        return msgspec.structs.replace(self, ef=effort)

    def apply(self, index: Any) -> None:
        """See `IndexKind`."""
        index.hnsw.efSearch = self.ef

    def build(self, vectors: Vectors) -> tuple[Self, Any]:
        """See `IndexKind`. One thread: insertion by several gives another graph every time."""
        index = faiss.IndexHNSWFlat(vectors.shape[1], self.m, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = self.ef_construction
        index.add(vectors)
        self.apply(index)
        return self, index

    @property
    def weight(self) -> int:
        """See `IndexKind`; each vector lies somewhere else, behind a link that was just read."""
        return SCATTERED

    def computations(self, items: int, asked: int) -> float:  # noqa: ARG002
        """See `IndexKind`."""
        return float(statistics().hnsw_stats.ndis)

    def problem(self, index: Any, vectors: Vectors) -> str | None:
        """See `IndexKind`; the vectors are compared, the links are not: a wrong one would only cost recall."""
        wrong = wrong_type(index, faiss.IndexHNSWFlat) or wrong_metric(index, faiss.METRIC_INNER_PRODUCT)
        if wrong:
            return wrong
        graph = index.hnsw
        if (graph.nb_neighbors(1), graph.efConstruction, graph.efSearch) != (self.m, self.ef_construction, self.ef):
            found = f"m {graph.nb_neighbors(1)}, ef_construction {graph.efConstruction}, ef {graph.efSearch}"
            return f"a graph of {found}, not of {self.parameters}"
        storage = faiss.downcast_index(index.storage)
        return wrong_type(storage, faiss.IndexFlat) or wrong_vectors(storage, vectors)


def wrong_type(index: Any, expected: type) -> str | None:
    """A sentence when `index` is not of the FAISS class `expected`."""
    return None if isinstance(index, expected) else f"a {type(index).__name__}, not a {expected.__name__}"


def wrong_metric(index: Any, expected: int) -> str | None:
    """A sentence when `index` has another metric."""
    if index.metric_type == expected:
        return None
    return f"its metric is not {'the inner product' if expected == faiss.METRIC_INNER_PRODUCT else 'L2'}"


def wrong_vectors(flat: Any, vectors: Vectors) -> str | None:
    """A sentence when `flat`, an IndexFlat, does not hold exactly `vectors`."""
    same = not len(vectors) or np.array_equal(flat.reconstruct_n(0, len(vectors)), vectors)
    return None if same else OTHER_VECTORS
