"""What a bundle says of itself: its version, the digest of its files, and labels that are no part of it.

Next module: `bentos.payload`, which has the files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from bentos.errors import BundleError

SCHEMA_VERSION: Final = 3
MANIFEST: Final = "manifest.json"
PAYLOAD: Final = (
    "catalogue.parquet",
    "fold_in.json",
    "index.faiss",
    "index.json",
    "item_ids.json",
    "item_vectors.npy",
    "popularity.json",
    "user_ids.json",
    "user_vectors.npy",
)


class PayloadFile(msgspec.Struct, frozen=True):
    """One payload file's checksum and size in bytes."""

    sha256: str
    bytes: int


class BundleManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a bundle says of itself. `labels` (registry number, commit, data hash…) do not enter the version."""

    schema_version: int
    name: str
    version: str
    dimension: int
    items: int
    users: int
    files: dict[str, PayloadFile]
    labels: dict[str, str]

    @property
    def tag(self) -> str:
        """`name:version`, the tag of its bento."""
        return f"{self.name}:{self.version}"


def manifest_of(
    directory: Path, name: str, shape: tuple[int, ...], users: int, labels: Mapping[str, str]
) -> BundleManifest:
    """The manifest of the payload in `directory`, whose item vectors have `shape`; it is not written."""
    files = {file: _describe(directory / file) for file in PAYLOAD}
    return BundleManifest(
        schema_version=SCHEMA_VERSION,
        name=name,
        version=payload_version(files),
        dimension=shape[1],
        items=shape[0],
        users=users,
        files=files,
        labels=dict(labels),
    )


def _describe(path: Path) -> PayloadFile:
    with path.open("rb") as source:
        return PayloadFile(hashlib.file_digest(source, "sha256").hexdigest(), path.stat().st_size)


def write_manifest(directory: Path, manifest: BundleManifest) -> None:
    """Put `manifest` in the place of the one in `directory`."""
    temporary = directory / (MANIFEST + ".new")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    temporary.replace(directory / MANIFEST)


def verify_bundle(directory: Path) -> BundleManifest:
    """Compare every file in `directory` with its checksum; `BundleError` names the one that is missing or altered."""
    manifest = complete(directory)
    for name, expected in manifest.files.items():
        found = _describe(directory / name)
        if found.bytes != expected.bytes:
            raise BundleError(directory / name, f"{found.bytes} bytes, the manifest says {expected.bytes}")
        if found.sha256 != expected.sha256:
            raise BundleError(directory / name, "its SHA-256 is not the one in the manifest")
    if payload_version(manifest.files) != manifest.version:
        raise BundleError(directory / MANIFEST, f"version {manifest.version} is not the digest of the payload")
    return manifest


def read_manifest(directory: Path) -> BundleManifest:
    """The manifest alone; `BundleError` when it is missing, unreadable, or of another schema version."""
    path = directory / MANIFEST
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=BundleManifest)
    except OSError as error:
        raise BundleError(path, f"cannot be read ({error.strerror})") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BundleError(path, f"not a manifest ({error})") from error
    if manifest.schema_version != SCHEMA_VERSION:
        raise BundleError(path, f"schema version {manifest.schema_version}, this code reads {SCHEMA_VERSION}")
    if set(manifest.files) != set(PAYLOAD):
        raise BundleError(path, f"lists {sorted(manifest.files)}, not the files of a bundle")
    return manifest


def set_label(directory: Path, key: str, value: str) -> None:
    """Set one label in the manifest; the version stays, for labels are not payload."""
    manifest = read_manifest(directory)
    write_manifest(directory, msgspec.structs.replace(manifest, labels=manifest.labels | {key: value}))


def payload_version(files: Mapping[str, PayloadFile]) -> str:
    """First 12 hex digits of the SHA-256 over names and checksums of the payload files in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name}\0{files[name].sha256}\n".encode())
    return digest.hexdigest()[:12]


def complete(directory: Path) -> BundleManifest:
    """The manifest of a directory with all the files of a bundle."""
    manifest = read_manifest(directory)
    for name in PAYLOAD:
        if not (directory / name).is_file():
            raise BundleError(directory / name, "missing")
    return manifest
