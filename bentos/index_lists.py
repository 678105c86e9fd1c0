"""Inverted files: vectors in lists, of which the most promising for a query are read.

Items are ranked by inner product, and lists are made for distances. Three answers to that, because the norms of item
vectors decide which is right (they carry popularity, so they must not be normalised away):

- IVF-IP, FAISS' own: lists of similar directions, chosen by the inner product with their centroid. The plain choice.
- IVF-L2: one more dimension makes it a distance; item [x, √(M² − |x|²)], query [q, 0], M the largest norm (Bachrach et
  al., RecSys 2014). Good when norms are alike, useless when a few are far above the rest.
- IVF-ranged: lists of similar directions inside bands of norms (norm-ranging: Yan et al., NeurIPS 2018), and a list is
  chosen by what its best item may score: q · centroid + |q| · spread · radius. One more dimension carries that: item
  [x, 0], centroid [c, spread · radius], query [q, |q|].

Next module: `bentos.index`.
"""

from __future__ import annotations

from typing import Any, Final, Self

import faiss
import msgspec
import numpy as np
from numpy.typing import NDArray

from bentos.index_kinds import OTHER_VECTORS, IndexKind, Vectors, statistics, wrong_metric, wrong_type

SEED: Final = 1
ITERATIONS: Final = 10
POINTS_PER_LIST: Final = 128
"""k-means looks at so many vectors per centroid, at most."""
LEAST_PER_LIST: Final = 39
"""With fewer vectors per list centroids are badly placed, FAISS warns."""
TOLERANCE: Final = 1e-2
"""Of the computed dimension, in units of M: a square root of a difference near zero has few good bits."""
SHORTEST: Final = 1e-12
"""Norms below are taken for it when a direction is wanted."""


class InvertedFile(IndexKind, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`nlist` lists, of which `nprobe` are read.

    Computations: one per centroid, then one per vector in the lists that are read.
    """

    nlist: int
    nprobe: int = 1

    @property
    def effort(self) -> int:
        """See `IndexKind`."""
        return self.nprobe

    @property
    def most_effort(self) -> int:
        """See `IndexKind`: beyond half of the lists nothing is saved."""
        return max(1, self.nlist // 2)

    def with_effort(self, effort: int) -> Self:
        """See `IndexKind`."""
        return msgspec.structs.replace(self, nprobe=effort)

    def apply(self, index: Any) -> None:
        """See `IndexKind`."""
        index.nprobe = self.nprobe

    def computations(self, items: int, asked: int) -> float:  # noqa: ARG002
        """See `IndexKind`."""
        return float(self.nlist * asked + statistics().indexIVF_stats.ndis)

    @property
    def metric(self) -> int:
        """FAISS' number of the metric inside."""
        return int(faiss.METRIC_INNER_PRODUCT)

    def stored(self, vectors: Vectors, bound: float) -> Vectors:  # noqa: ARG002 - for the kinds with one more dimension
        """What the lists hold for some of the vectors; `bound` is the largest norm of all."""
        return vectors

    def assigned(self, vectors: Vectors) -> tuple[Vectors, NDArray[np.int64]]:
        """Centroids as the index compares them with a query, and the list of every vector."""
        raise NotImplementedError

    def build(self, vectors: Vectors) -> tuple[Self, Any]:
        """See `IndexKind`."""
        centroids, lists = self.assigned(vectors)
        stored = np.ascontiguousarray(self.stored(vectors, largest_norm(vectors)))
        quantizer = faiss.IndexFlat(centroids.shape[1], self.metric)
        quantizer.add(centroids)
        index = faiss.IndexIVFFlat(quantizer, centroids.shape[1], len(centroids), self.metric)
        index.is_trained = True
        index.add_core(len(stored), faiss.swig_ptr(stored), None, faiss.swig_ptr(lists))
        kind = msgspec.structs.replace(self, nlist=len(centroids), nprobe=min(self.nprobe, len(centroids)))
        kind.apply(index)
        return kind, faiss.deserialize_index(faiss.serialize_index(index))

    def problem(self, index: Any, vectors: Vectors) -> str | None:
        """See `IndexKind`; every list is read. Centroids are not checked: a wrong one would only cost recall."""
        wrong = wrong_type(index, faiss.IndexIVFFlat) or wrong_metric(index, self.metric)
        if wrong:
            return wrong
        found = (index.nlist, index.quantizer.ntotal, index.nprobe)
        if found != (self.nlist, self.nlist, self.nprobe):
            return f"has {found[0]} lists, {found[1]} centroids and nprobe {found[2]}, not {self.parameters}"
        return None if self._holds(index, vectors) else OTHER_VECTORS

    def _holds(self, index: Any, vectors: Vectors) -> bool:
        """Whether the lists hold every row once, with its vector."""
        lists, bound, dimension = index.invlists, largest_norm(vectors), vectors.shape[1]
        times = np.zeros(len(vectors), dtype=np.int64)
        for number in range(index.nlist):
            if not (size := lists.list_size(number)):
                continue
            rows = faiss.rev_swig_ptr(lists.get_ids(number), size)
            codes = faiss.rev_swig_ptr(lists.get_codes(number), size * lists.code_size)
            if rows.min() < 0 or rows.max() >= len(vectors):
                return False
            expected = self.stored(vectors[rows], bound)
            found = codes.view(np.float32).reshape(expected.shape)
            # Only what was computed may differ, in the last bits, when another processor built the index.
            computed = np.abs(found[:, dimension:] - expected[:, dimension:])
            if not np.array_equal(found[:, :dimension], vectors[rows]) or (computed > TOLERANCE * bound).any():
                return False
            np.add.at(times, rows, 1)
        return bool((times == 1).all())


class IvfIp(InvertedFile, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="IVF-IP", tag_field="kind"):
    """Lists of similar directions, chosen by the inner product with their centroid."""

    def assigned(self, vectors: Vectors) -> tuple[Vectors, NDArray[np.int64]]:
        """See `InvertedFile`; spherical k-means, as FAISS trains an inverted file of this metric."""
        centroids = k_means(vectors, self.nlist, spherical=True)
        return centroids, nearest(vectors, centroids, faiss.METRIC_INNER_PRODUCT)


class IvfL2(InvertedFile, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="IVF-L2", tag_field="kind"):
    """Lists of near vectors after the reduction to distances. Valid only while no norm is above M."""

    @property
    def metric(self) -> int:
        """See `InvertedFile`."""
        return int(faiss.METRIC_L2)

    def stored(self, vectors: Vectors, bound: float) -> Vectors:
        """[x, √(M² − |x|²)]."""
        return _one_more(vectors, np.sqrt(np.maximum(bound**2 - norms(vectors).astype(np.float64) ** 2, 0)))

    def asked(self, queries: Vectors) -> Vectors:
        """[q, 0]."""
        return _one_more(queries, 0.0)

    def assigned(self, vectors: Vectors) -> tuple[Vectors, NDArray[np.int64]]:
        """See `InvertedFile`."""
        points = self.stored(vectors, largest_norm(vectors))
        centroids = k_means(points, self.nlist, spherical=False)
        return centroids, nearest(points, centroids, faiss.METRIC_L2)


class IvfRanged(
    InvertedFile, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="IVF-ranged", tag_field="kind"
):
    """Lists of similar directions inside bands of norms, chosen by what their best item may score."""

    bands: int
    """Band 1 holds the shorter half of the vectors, band 2 the shorter half of the rest, and so on."""
    spread: float = 0.5
    """How far above its centroid a list's best item is looked for, in root-mean-square distances from the centroid.

    Of m items scattered in d dimensions the best lies about √(2 ln m / d) of them above: 0.4 for 150 items and d = 64.
    Anything from 0.3 to 1 does nearly as well.
    """

    def stored(self, vectors: Vectors, bound: float) -> Vectors:  # noqa: ARG002
        """[x, 0]."""
        return _one_more(vectors, 0.0)

    def asked(self, queries: Vectors) -> Vectors:
        """[q, |q|]."""
        return _one_more(queries, norms(queries))

    def assigned(self, vectors: Vectors) -> tuple[Vectors, NDArray[np.int64]]:
        """See `InvertedFile`."""
        lengths = norms(vectors)
        band = np.searchsorted(np.quantile(lengths, 1 - 0.5 ** np.arange(1, self.bands)), lengths)
        lists, first = np.empty(len(vectors), dtype=np.int64), 0
        for number in range(self.bands):
            rows = np.flatnonzero(band == number)
            if len(rows):
                length = np.maximum(lengths[rows], SHORTEST).astype(np.float32)
                directions: Vectors = np.divide(vectors[rows], length[:, None], dtype=np.float32)
                centroids = k_means(directions, max(1, self.nlist // self.bands), spherical=True)
                lists[rows] = first + nearest(directions, centroids, faiss.METRIC_INNER_PRODUCT)
                first += len(centroids)
        lists = np.unique(lists, return_inverse=True)[1].astype(np.int64)
        means, radii = _means(vectors, lengths, lists)
        return _one_more(means, self.spread * radii), lists


def norms(vectors: Vectors) -> NDArray[np.float32]:
    """|x| of every row; infinite beyond 1e19."""
    with np.errstate(over="ignore"):
        lengths: NDArray[np.float32] = np.sqrt(np.vecdot(vectors, vectors))
    return lengths


def largest_norm(vectors: Vectors) -> float:
    """M; 0 without vectors."""
    return float(norms(vectors).max(initial=0.0))


def k_means(points: Vectors, count: int, *, spherical: bool) -> Vectors:
    """`count` centroids of `points`, or as many as they are enough for; at least one."""
    count = min(count, max(1, len(points) // LEAST_PER_LIST))
    settings = {"niter": ITERATIONS, "seed": SEED, "min_points_per_centroid": 1}
    means = faiss.Kmeans(
        points.shape[1], count, spherical=spherical, max_points_per_centroid=POINTS_PER_LIST, **settings
    )
    means.train(np.ascontiguousarray(points))
    return np.asarray(means.centroids, dtype=np.float32)


def nearest(points: Vectors, centroids: Vectors, metric: int) -> NDArray[np.int64]:
    """The number of the nearest centroid of every point."""
    index = faiss.IndexFlat(centroids.shape[1], metric)
    index.add(centroids)
    return np.ascontiguousarray(index.search(np.ascontiguousarray(points), 1)[1][:, 0])


def _means(
    vectors: Vectors, lengths: NDArray[np.float32], lists: NDArray[np.int64]
) -> tuple[Vectors, NDArray[np.float64]]:
    """The mean of every list, and the root of the mean squared distance from it. No list is empty."""
    order = np.argsort(lists, kind="stable")
    counts = np.bincount(lists)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    means = np.add.reduceat(vectors[order], starts, dtype=np.float64) / counts[:, None]
    squares = np.bincount(lists, weights=lengths.astype(np.float64) ** 2) / counts
    return means.astype(np.float32), np.sqrt(np.maximum(squares - np.square(means).sum(axis=1), 0))


def _one_more(vectors: Vectors, values: Any) -> Vectors:
    """`vectors` with one more dimension of `values`."""
    wider = np.empty((len(vectors), vectors.shape[1] + 1), dtype=np.float32)
    wider[:, :-1] = vectors
    wider[:, -1] = values
    return wider
