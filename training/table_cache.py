"""What was read of a ratings file, kept as Parquet beside the downloads: a large file is parsed once.

The name of an entry is the SHA-256 of the file it came from, so it cannot be stale; one that cannot be read is made
anew. Next module: `training.split`.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from training.errors import DataError
from training.fetching import sha256_of
from training.interactions import Interactions
from training.layouts import Layout
from training.ratings import read_ratings

logger = logging.getLogger(__name__)

SCHEMA_VERSION: Final = 3
FOLDER: Final = "tables"
SCHEMA: Final = pa.schema(
    [("user", pa.int32()), ("item", pa.int32()), ("rating", pa.float32()), ("timestamp_us", pa.int64())]
)
"""Rows into the id lists, which are in the metadata as JSON, with the number of lines that were left out."""


def cached_ratings(path: Path, layout: Layout, cache: Path) -> Interactions:
    """The interactions in `path`, from the cache when it has them. `DataError` as `read_ratings`.

    A cache that cannot be written is told in the log and costs nothing but the time.
    """
    entry = cache / FOLDER / f"{sha256_of(path)[:32]}-{layout.name}-{SCHEMA_VERSION}.parquet"
    if entry.is_file():
        try:
            return _read(entry)
        except (pa.ArrowException, OSError, KeyError, msgspec.DecodeError, DataError) as error:
            logger.warning("%s: not readable (%s), made anew", entry, error)
    interactions = read_ratings(path, layout)
    try:
        _write(entry, interactions)
    except OSError as error:
        logger.warning("%s: not kept (%s)", entry, error)
    return interactions


def _write(entry: Path, interactions: Interactions) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    columns = (interactions.user, interactions.item, interactions.rating, interactions.timestamp_us)
    ids = {"users": interactions.user_ids, "items": interactions.item_ids}
    about = ids | {"repeated": interactions.repeated}
    metadata = {name: msgspec.json.encode(value) for name, value in about.items()}
    table = pa.Table.from_arrays(
        [pa.array(column, type=field.type) for column, field in zip(columns, SCHEMA, strict=True)],
        schema=SCHEMA.with_metadata(metadata),
    )
    temporary = entry.with_name(f"{entry.name}.{os.getpid()}.new")
    try:
        pq.write_table(table, temporary, compression="zstd")
        temporary.replace(entry)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _read(entry: Path) -> Interactions:
    schema = pq.read_schema(entry)
    if not schema.equals(SCHEMA):
        raise DataError(f"another schema: {schema.names}")
    users, items = (msgspec.json.decode(schema.metadata[name], type=list[str]) for name in (b"users", b"items"))
    repeated = msgspec.json.decode(schema.metadata[b"repeated"], type=int)
    # One column after the other, so that Arrow's copy of one is gone before the next comes.
    user, item, rating, timestamp_us = (pq.read_table(entry, columns=[name])[name].to_numpy() for name in SCHEMA.names)
    for rows, names in ((user, users), (item, items)):
        if len(rows) and not 0 <= int(np.min(rows)) <= int(np.max(rows)) < len(names):
            raise DataError("rows beyond the id lists")
    return Interactions(users, items, user, item, rating, timestamp_us, repeated)
