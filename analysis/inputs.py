"""The files a judgement needs besides the log: plan, catalogue, bundle manifests. Read, hashed, checked.

Next module: `analysis.judging`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from analysis.judging import Inputs
from analysis.plan import CONTROL, SHADOW, Plan, PlanError, parse_plan, plan_hash
from analysis.report.result import BundleSummary, CatalogueSummary

ARMS = ("primary", SHADOW, CONTROL)


class InputError(Exception):
    """A file that cannot be used; the text names it and what is wrong."""


class _Manifest(msgspec.Struct, frozen=True):
    """What is read of a bundle's manifest (the whole of it belongs to `bentos.bundle`)."""

    name: str
    version: str


def read_inputs(plan: Path, catalogue: Path, bundles: Sequence[tuple[str, Path]]) -> Inputs:
    """Everything but the log; `InputError` names the file that is missing or wrong."""
    rules, digest = read_plan(plan)
    tail, summary = read_catalogue(catalogue)
    return Inputs(rules, digest, tail, summary, tuple(read_bundle(arm, directory) for arm, directory in bundles))


def read_plan(path: Path) -> tuple[Plan, str]:
    """The plan and its SHA-256."""
    text = _bytes(path)
    try:
        return parse_plan(text), plan_hash(text)
    except PlanError as error:
        raise InputError(f"{path}: {error}") from error


def read_catalogue(path: Path) -> tuple[frozenset[str], CatalogueSummary]:
    """The ids of the long tail, from the columns `item_id` and `tail` of a bundle's catalogue.parquet."""
    import pyarrow
    import pyarrow.parquet

    text = _bytes(path)
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(text), columns=["item_id", "tail"])
        items, tail = table["item_id"].to_pylist(), table["tail"].to_pylist()
    except (pyarrow.ArrowException, KeyError, OSError) as error:
        raise InputError(f"{path}: no catalogue with item_id and tail: {str(error).splitlines()[0]}") from error
    found = frozenset(str(item) for item, is_tail in zip(items, tail, strict=True) if is_tail)
    if not found or len(found) == len(items):
        raise InputError(f"{path}: all of its {len(items)} items are on one side of the long tail; nothing can differ")
    digest = hashlib.sha256(text).hexdigest()
    return found, CatalogueSummary(sha256=digest, items=len(items), tail_items=len(found))


def read_bundle(arm: str, directory: Path) -> BundleSummary:
    """Name and version of the bundle that `arm` is said to serve."""
    if arm not in ARMS:
        raise InputError(f"--bundle {arm}=…: no such arm; there are {', '.join(ARMS)}")
    path = directory / "manifest.json"
    text = _bytes(path)
    try:
        manifest = msgspec.json.decode(text, type=_Manifest)
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: no manifest of a bundle: {error}") from error
    return BundleSummary(arm=arm, name=manifest.name, version=manifest.version, sha256=hashlib.sha256(text).hexdigest())


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
