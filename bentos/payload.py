"""The payload files of a bundle: written together, read each checked by itself and against the others.

`BundleError` names the file. Checksums say that a file is the one that was written; these checks say that what was
written fits together, and above all that the index, which answers, holds the vectors that the bundle says it holds.
Next module: `bentos.retrieval`.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bentos import catalogue as catalogues
from bentos import index as indexes
from bentos.errors import BundleError
from bentos.fold_in import FoldInSettings
from bentos.index import VectorIndex
from bentos.index_report import IndexReport


def write(
    directory: Path,
    item_ids: list[str],
    item_vectors: NDArray[np.float32],
    user_ids: list[str],
    user_vectors: NDArray[np.float32],
    catalogue: pa.Table,
    fold_in: FoldInSettings | None,
) -> None:
    """Write the payload files but the index into `directory`. `OSError` when it cannot be done."""
    np.save(directory / "item_vectors.npy", np.ascontiguousarray(item_vectors))
    np.save(directory / "user_vectors.npy", np.ascontiguousarray(user_vectors))
    (directory / "item_ids.json").write_bytes(msgspec.json.encode(item_ids))
    (directory / "user_ids.json").write_bytes(msgspec.json.encode(user_ids))
    pq.write_table(catalogue, directory / "catalogue.parquet", compression="zstd")
    order = catalogues.by_popularity(catalogue)
    (directory / "popularity.json").write_bytes(msgspec.json.encode([item_ids[row] for row in order]))
    (directory / "fold_in.json").write_bytes(msgspec.json.encode(fold_in, order="sorted"))


def write_index(directory: Path, index: VectorIndex, report: IndexReport) -> None:
    """Write the index and its report into `directory`. `OSError` when it cannot be done."""
    indexes.save(index, directory / "index.faiss")
    (directory / "index.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))


def read_ids(path: Path, count: int) -> list[str]:
    """`count` ids, distinct, not empty and ascending as strings."""
    ids = _list_of_ids(path)
    if len(ids) != count:
        raise BundleError(path, f"{len(ids)} ids, the manifest says {count}")
    if ids != sorted(set(ids)) or not all(ids):
        raise BundleError(path, "the ids are not distinct, ascending and non-empty")
    return ids


def read_vectors(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Vectors of `shape`, float32 and finite, memory-mapped."""
    try:
        vectors: NDArray[np.float32] = np.load(path, mmap_mode="r" if shape[0] else None, allow_pickle=False)
    except Exception as error:  # a damaged header is evaluated as Python and may fail in any way
        raise BundleError(path, f"not a .npy file ({error})") from error
    if vectors.dtype != np.dtype("<f4"):
        raise BundleError(path, f"dtype {vectors.dtype}, not float32")
    if vectors.shape != shape:
        raise BundleError(path, f"shape {vectors.shape}, the manifest says {shape}")
    if not np.isfinite(vectors).all():
        raise BundleError(path, "values that are not finite")
    return vectors


def read_catalogue(path: Path, item_ids: list[str]) -> pa.Table:
    """The catalogue of `item_ids`, in their order."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BundleError(path, f"not a Parquet file ({error})") from error
    if (reason := catalogues.problem(table, item_ids)) is not None:
        raise BundleError(path, reason)
    return table


def read_popularity(path: Path, item_ids: list[str], catalogue: pa.Table) -> NDArray[np.int64]:
    """Item rows, most popular first: the order that the catalogue's counts give."""
    ids = _list_of_ids(path)
    order = catalogues.by_popularity(catalogue)
    if ids != [item_ids[row] for row in order]:
        raise BundleError(path, "not the items of item_ids.json in the order of the catalogue's popularity")
    return order


def read_fold_in(path: Path, dimension: int) -> FoldInSettings | None:
    """How to solve one more user against item vectors of `dimension`; None when the bundle says that it cannot."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=FoldInSettings | None)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(path, f"no settings of a fold-in ({error})") from error
    if found is not None and (reason := fold_in_problem(found, dimension)) is not None:
        raise BundleError(path, reason)
    return found


def fold_in_problem(settings: FoldInSettings, dimension: int) -> str | None:
    """Why `settings` do not fit item vectors of `dimension`, or None when they do."""
    halves = 1 if settings.factor_share == 1 else 2
    if dimension not in (settings.dimension, 2 * settings.dimension) or dimension < halves * settings.dimension:
        return (
            f"factors of {settings.dimension} dimensions with the share {settings.factor_share:g} do not make item "
            f"vectors of {dimension}"
        )
    return None


def read_index(path: Path, report_path: Path, vectors: NDArray[np.float32]) -> tuple[VectorIndex, IndexReport]:
    """The index over exactly `vectors`, as its report describes it, and the report."""
    try:
        report = msgspec.json.decode(report_path.read_bytes(), type=IndexReport)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(report_path, f"not a report of an index ({error})") from error
    if (reason := report.mismatch(*vectors.shape)) is not None:
        raise BundleError(report_path, reason)
    try:
        index = indexes.load(path, vectors, report.index)
    except ValueError as error:
        raise BundleError(path, str(error)) from error
    if not math.isclose(index.largest_norm, report.largest_norm, rel_tol=1e-5):
        told = f"{report.largest_norm:g}, that of item_vectors.npy is {index.largest_norm:g}"
        raise BundleError(report_path, f"it tells of a largest norm of {told}")
    return index, report


def _list_of_ids(path: Path) -> list[str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[str])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(path, f"not a list of ids ({error})") from error
