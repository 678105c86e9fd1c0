"""The files a judgement needs besides the log: plan, catalogue, bundle manifests. Read, hashed, checked.

Next module: `analysis.judging`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from analysis.items import Items, items_of_catalogue
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


def read_inputs(plan: Path, catalogue: Path, bundles: Sequence[tuple[str, Path]], promised_sha256: str = "") -> Inputs:
    """Everything but the log; `InputError` names the file that is missing or wrong.

    `promised_sha256` is the plan's hash from before the data, in whichever case it was printed.
    """
    rules, digest = read_plan(plan)
    items, summary = read_catalogue(catalogue)
    named = tuple(read_bundle(arm, directory) for arm, directory in bundles)
    return Inputs(rules, digest, items, summary, named, promised_sha256.strip().lower().removeprefix("sha256:"))


def read_plan(path: Path) -> tuple[Plan, str]:
    """The plan and its SHA-256."""
    text = _bytes(path)
    try:
        return parse_plan(text), plan_hash(text)
    except PlanError as error:
        raise InputError(f"{path}: {error}") from error


def read_catalogue(path: Path) -> tuple[Items, CatalogueSummary]:
    """The items of a bundle's catalogue.parquet: `item_id`, `tail`, and `popularity` and `genres` where it has them."""
    import pyarrow
    import pyarrow.parquet

    text = _bytes(path)
    try:
        table = pyarrow.parquet.read_table(pyarrow.BufferReader(text))
        ids, tail = (table[name].to_pylist() for name in ("item_id", "tail"))
        if None in ids or None in tail:
            raise ValueError("an item_id or a tail is null")
        popularity, genres = (
            table[name].to_pylist() if name in table.column_names else None for name in ("popularity", "genres")
        )
        items = items_of_catalogue([str(item) for item in ids], tail, popularity, genres)
    except (pyarrow.ArrowException, KeyError, OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: no catalogue with item_id and tail: {str(error).splitlines()[0]}") from error
    outside = int(items.tail.sum())
    if not 0 < outside < len(items):
        raise InputError(f"{path}: all of its {len(items)} items are on one side of the long tail; nothing can differ")
    digest = hashlib.sha256(text).hexdigest()
    return items, CatalogueSummary(sha256=digest, items=len(items), tail_items=outside)


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
