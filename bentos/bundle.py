"""One model version on disk, and the only code that reads or writes it (DESIGN §4, Bundle).

The version is a digest of the payload, so equal models have equal versions and a changed byte is another model. A
bundle is written beside its place and moved there in one rename; it is read with every checksum, type, shape and
order verified, and `BundleError` names the file and the reason. Next module: `bentos.manifest`.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bentos import catalogue as catalogues
from bentos import payload
from bentos.fold_in import FoldInSettings
from bentos.index import VectorIndex
from bentos.index_choice import Choice, choose
from bentos.index_report import IndexReport
from bentos.manifest import MANIFEST, PAYLOAD, complete, manifest_of, write_manifest
from bentos.manifest import BundleManifest as BundleManifest
from bentos.manifest import payload_version as payload_version
from bentos.manifest import read_manifest as read_manifest
from bentos.manifest import set_label as set_label
from bentos.manifest import verify_bundle as verify_bundle
from bentos.seen import SeenSource
from bentos.staging import replacing_directory

REGISTERED: Final = ("mlflow_run", "model_version")
"""Labels that say where the bundle is registered."""


@dataclass(frozen=True)
class Bundle:
    """A loaded bundle. Vectors are float32, memory-mapped, rows in id order.

    `popularity` and `recent_popularity` are item rows, best first. `fold_in`: None when a user cannot be folded in.
    """

    directory: Path
    manifest: BundleManifest
    item_ids: list[str]
    item_vectors: NDArray[np.float32]
    user_ids: list[str]
    user_vectors: NDArray[np.float32]
    catalogue: pa.Table
    popularity: NDArray[np.int64]
    recent_popularity: NDArray[np.int64]
    fold_in: FoldInSettings | None
    index: VectorIndex
    index_report: IndexReport


def write_bundle(
    directory: Path,
    *,
    name: str,
    item_ids: Sequence[str],
    item_vectors: NDArray[np.float32],
    user_ids: Sequence[str],
    user_vectors: NDArray[np.float32],
    catalogue: pa.Table,
    fold_in: FoldInSettings | None,
    labels: Mapping[str, str],
    seen: SeenSource | None = None,
    chosen: Callable[[Choice, str], object] = lambda _choice, _version: None,
) -> BundleManifest:
    """Write a bundle to `directory`, replacing one that is there; nothing half-written is ever left.

    Vectors have shapes (items, d) and (users, d), float32 and finite, rows in the ascending order of their ids.
    `fold_in` says how to solve one more user against the item vectors; None when that cannot be done. The index is
    chosen by measuring (`bentos.index_choice`), with what users have `seen` left out; None: with a stand-in for that.
    `chosen` hears of the choice and of the bundle's version once the bundle is there.
    `ValueError` for input that does not fit together, `OSError` when the disk is full.
    """
    _check(item_ids, item_vectors, "item")
    _check(user_ids, user_vectors, "user")
    if item_vectors.shape[1] != user_vectors.shape[1]:
        raise ValueError(f"item vectors have {item_vectors.shape[1]} dimensions, user vectors {user_vectors.shape[1]}")
    if (reason := catalogues.problem(catalogue, item_ids)) is not None:
        raise ValueError(f"catalogue: {reason}")
    if fold_in is not None and (reason := payload.fold_in_problem(fold_in, item_vectors.shape[1])) is not None:
        raise ValueError(f"fold_in: {reason}")
    vectors = np.ascontiguousarray(item_vectors)
    choice = choose(vectors, user_vectors, seen)
    with _replacing(directory) as staging:
        payload.write(staging, list(item_ids), vectors, list(user_ids), user_vectors, catalogue, fold_in)
        payload.write_index(staging, choice.index, choice.report)
        manifest = manifest_of(staging, name, item_vectors.shape, len(user_ids), labels)
        write_manifest(staging, manifest)
    chosen(choice, manifest.version)
    return manifest


def replace_index(directory: Path, choice: Choice) -> BundleManifest:
    """Give the bundle in `directory` the index of `choice`, over its own vectors, in one rename; its new manifest.

    The version is another one when the index or its report is: then labels that say which run and registered version
    the bundle is are dropped, and `index_of` names the version that the rest comes from. `BundleError` when the bundle
    is not to be trusted, `OSError` when the disk is full.
    """
    before = verify_bundle(directory)
    with _replacing(directory) as staging:
        for name in PAYLOAD:
            shutil.copyfile(directory / name, staging / name)
        payload.write_index(staging, choice.index, choice.report)
        labels = {key: value for key, value in before.labels.items() if key not in REGISTERED}
        manifest = manifest_of(staging, before.name, (before.items, before.dimension), before.users, labels)
        if manifest.version == before.version:
            manifest = before
        else:
            manifest = msgspec.structs.replace(manifest, labels=labels | {"index_of": before.version})
        write_manifest(staging, manifest)
    return manifest


@contextmanager
def _replacing(directory: Path) -> Iterator[Path]:
    """An empty directory to fill, which then takes the place of `directory`; after an error nothing is changed."""
    try:
        with replacing_directory(directory) as staging:
            yield staging
            if directory.exists() and any(directory.iterdir()) and not (directory / MANIFEST).exists():
                raise ValueError(f"{directory} is not empty and holds no bundle; choose another directory")
    except OSError as error:
        # numpy tells neither the file nor the number of the error.
        reason = f"{error.strerror or error}: the bundle is not written. Free space or choose another place"
        raise OSError(error.errno or errno.EIO, reason, str(directory)) from error


@dataclass(frozen=True)
class Vectors:
    """What an index is chosen for: vectors (items, d) and (users, d), float32, memory-mapped, and their ids."""

    manifest: BundleManifest
    item_ids: list[str]
    item_vectors: NDArray[np.float32]
    user_ids: list[str]
    user_vectors: NDArray[np.float32]


def read_vectors(directory: Path) -> Vectors:
    """The vectors of the bundle in `directory`, whatever index it has; `BundleError` as `load_bundle`."""
    return _vectors(directory, verify_bundle(directory))


def _vectors(directory: Path, manifest: BundleManifest) -> Vectors:
    return Vectors(
        manifest,
        payload.read_ids(directory / "item_ids.json", manifest.items),
        payload.read_vectors(directory / "item_vectors.npy", (manifest.items, manifest.dimension)),
        payload.read_ids(directory / "user_ids.json", manifest.users),
        payload.read_vectors(directory / "user_vectors.npy", (manifest.users, manifest.dimension)),
    )


def load_bundle(directory: Path, *, verify: bool = True) -> Bundle:
    """Read the bundle in `directory`; `BundleError` names what is missing, altered or does not fit.

    `verify=False` skips the checksums (not the types, shapes and orders): for a bundle verified a moment ago.
    """
    manifest = verify_bundle(directory) if verify else complete(directory)
    read = _vectors(directory, manifest)
    catalogue = payload.read_catalogue(directory / "catalogue.parquet", read.item_ids)
    index, report = payload.read_index(directory / "index.faiss", directory / "index.json", read.item_vectors)
    return Bundle(
        directory=directory,
        manifest=manifest,
        item_ids=read.item_ids,
        item_vectors=read.item_vectors,
        user_ids=read.user_ids,
        user_vectors=read.user_vectors,
        catalogue=catalogue,
        popularity=payload.read_popularity(directory / "popularity.json", read.item_ids, catalogue),
        recent_popularity=catalogues.by_recent_popularity(catalogue),
        fold_in=payload.read_fold_in(directory / "fold_in.json", manifest.dimension),
        index=index,
        index_report=report,
    )


def _check(ids: Sequence[str], vectors: NDArray[np.float32], kind: str) -> None:
    if vectors.dtype != np.float32 or vectors.ndim != 2 or len(vectors) != len(ids) or not vectors.shape[1]:
        expected = f"float32 of shape ({len(ids)}, d)"
        raise ValueError(f"{kind} vectors must be {expected}, not {vectors.dtype} of shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError(f"{kind} vectors hold values that are not finite")
    if not all(isinstance(each, str) and each for each in ids) or list(ids) != sorted(set(ids)):
        raise ValueError(f"{kind} ids must be distinct, non-empty strings in ascending order")
