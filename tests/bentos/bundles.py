"""A small bundle of made-up vectors, for tests that need one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from analysis.lists import head_mask
from bentos.bundle import BundleManifest, write_bundle
from bentos.catalogue import catalogue_table
from bentos.fold_in import FoldInSettings

FOLD_IN = FoldInSettings(
    dimension=8, unobserved_weight=0.1, regularisation=1.0, regularisation_exponent=0.5, positive=4.0
)


def synthetic_bundle(
    directory: Path,
    *,
    name: str = "champion",
    users: int = 50,
    items: int = 40,
    seed: int = 1,
    fold_in: FoldInSettings | None = FOLD_IN,
    columns: Mapping[str, Any] | None = None,
) -> BundleManifest:
    """Users u0000…, items i0000…, eight dimensions, popularity falling with the id; `columns` of the catalogue may be
    given (those of `bentos.catalogue.catalogue_table`).
    """
    rng = np.random.default_rng(seed)
    digits = max(4, len(str(items - 1)))
    ids = [f"i{number:0{digits}d}" for number in range(items)]
    popularity = np.arange(items, 0, -1) * 10
    catalogue: dict[str, Any] = {
        "item_ids": ids,
        "titles": [f"Film {each}" for each in ids],
        "genres": [["Drama"]] * items,
        "years": [1990] * items,
        "popularity": popularity,
        "recent_popularity": popularity // 2,
        "last_interaction_us": np.full(items, 1_000_000),
        "tail": ~head_mask(popularity),
    }
    return write_bundle(
        directory,
        name=name,
        item_ids=ids,
        item_vectors=rng.standard_normal((items, 8), dtype=np.float32),
        user_ids=[f"u{number:04d}" for number in range(users)],
        user_vectors=rng.standard_normal((users, 8), dtype=np.float32),
        catalogue=catalogue_table(**(catalogue | dict(columns or {}))),
        fold_in=fold_in,
        labels={"data_hash": "none"},
    )
