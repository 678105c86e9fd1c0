"""The catalogue: one row per item of a model, in id order, as an Arrow table.

Training writes it into the bundle, services take titles from it, the gate takes the tail from it. Next module:
`bentos.bundle`, which stores it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

SCHEMA: Final = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("genres", pa.list_(pa.field("item", pa.string())), nullable=False),
        pa.field("year", pa.int32(), nullable=True),
        pa.field("popularity", pa.int64(), nullable=False),
        pa.field("recent_popularity", pa.int64(), nullable=False),
        pa.field("last_interaction_us", pa.int64(), nullable=False),
        pa.field("tail", pa.bool_(), nullable=False),
    ]
)
"""popularity: positives before the cut; recent_popularity: those of the last 30 days before it; last_interaction_us: 0
when there was none; tail: outside the head."""

RECENT_RANK: Final = 10
RECENT_LEAST: Final = 200
"""See `recent_suffices`."""


def catalogue_table(
    item_ids: Sequence[str],
    titles: Sequence[str],
    genres: Sequence[Sequence[str]],
    years: Sequence[int | None],
    popularity: Sequence[int] | np.ndarray,
    recent_popularity: Sequence[int] | np.ndarray,
    last_interaction_us: Sequence[int] | np.ndarray,
    tail: Sequence[bool] | np.ndarray,
) -> pa.Table:
    """The catalogue of these columns, row i describing item i. `ValueError` when `problem` finds one."""
    columns: list[Sequence[object]] = [item_ids, titles, genres, years, popularity, recent_popularity]  # type: ignore[list-item]
    columns += [last_interaction_us, tail]  # type: ignore[list-item]
    lengths = {field.name: len(column) for field, column in zip(SCHEMA, columns, strict=True)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the catalogue's columns differ in length: {lengths}")
    arrays = [pa.array(column, type=field.type) for field, column in zip(SCHEMA, columns, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=SCHEMA)
    if (reason := problem(table, item_ids)) is not None:
        raise ValueError(reason)
    return table


def by_popularity(table: pa.Table) -> NDArray[np.int64]:
    """Row numbers, the most popular item first, equal ones in id order; shape (items,)."""
    return np.argsort(-table.column("popularity").to_numpy(), kind="stable").astype(np.int64)


def by_recent_popularity(table: pa.Table) -> NDArray[np.int64]:
    """Row numbers, the most popular item of the last 30 days first, equal ones by all-time popularity, then by id."""
    recent, ever = (table.column(name).to_numpy() for name in ("recent_popularity", "popularity"))
    return np.lexsort((-ever, -recent)).astype(np.int64)


def recent_suffices(recent: NDArray[np.number]) -> bool:
    """Whether popularity of the last 30 days, shape (items,), is known well enough to go by: the tenth of its items has
    `RECENT_LEAST` positives. With fewer, chance decides the order, and all-time popularity is better
    (docs/decisions/0010).
    """
    return len(recent) >= RECENT_RANK and int(np.partition(recent, -RECENT_RANK)[-RECENT_RANK]) >= RECENT_LEAST


def problem(table: pa.Table, item_ids: Sequence[str]) -> str | None:
    """Why `table` is not the catalogue of `item_ids`, or None when it is."""
    if not table.schema.equals(SCHEMA):
        return f"the schema is {table.schema.names}, not that of a catalogue"
    empty = [field.name for field in SCHEMA if not field.nullable and table.column(field.name).null_count]
    if empty:
        return f"null values in {', '.join(empty)}"
    if table.column("item_id").to_pylist() != list(item_ids):
        return "the items or their order differ from item_ids.json"
    popularity, recent = (table.column(name).to_numpy() for name in ("popularity", "recent_popularity"))
    if table.num_rows and (int(popularity.min()) < 0 or int(recent.min()) < 0):
        return "a negative popularity"
    if (recent > popularity).any():
        return "a recent popularity above the popularity"
    return None
